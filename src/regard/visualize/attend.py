"""What a layer attends to in one image: the weights of an attention layer, or a gradient map of any layer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.config import IMGSZ
from regard.data.dataset import class_index
from regard.data.letterbox import letterbox_rect, restore_boxes
from regard.errors import RegardError, nearest, one_of
from regard.graph.detector import Detector
from regard.nn.capture import attention_modules, capture
from regard.nn.gate import without_gate
from regard.system.interrupts import interrupts_deferred
from regard.system.scratch import scratch_folder
from regard.types import AttentionMap, LetterboxTransform
from regard.visualize.gradient import GradientMap, Point, evaluating, gradient_map

Kind = Literal["map", "gradient"]


@dataclass(frozen=True)
class AttentionLayer:
    """A layer whose attention can be shown: its name, class, number of input channels, and input pixels per cell."""

    name: str
    module: str
    channels: int
    stride: int


@dataclass(frozen=True)
class View:
    """What one layer attends to in one image.

    Attributes:
        layer: name of the layer.
        module: name of its class.
        map: the weights that it used, or the gradient map of a detection.
        image: (H, W, 3) uint8 RGB, the original image.
        placement: transform from the original image to the network's input.
        input_size: (height, width) of the input in pixels.
        query: x, y in pixels of the original image; None for the gradient map of the best detection.
        names: class names by class id.
    """

    layer: str
    module: str
    map: AttentionMap | GradientMap
    image: NDArray[np.uint8]
    placement: LetterboxTransform
    input_size: tuple[int, int]
    query: Point | None
    names: dict[int, str]

    @property
    def title(self) -> str:
        """Layer, size of the map and query or detection, in one line."""
        title = f"{self.layer}  ({self.module}"
        if isinstance(self.map, AttentionMap) and self.map.kind == "channel":
            return f"{title}, {self.map.weights.shape[1]} channels)"
        rows, columns = (self.map.weights if isinstance(self.map, AttentionMap) else self.map.cam).shape[-2:]
        title += f", {rows} x {columns} positions)"
        if isinstance(self.map, GradientMap):
            return f"{title}: gradient map of '{self.names[self.map.class_id]}' with score {self.map.score:.2f}"
        if self.map.kind == "rows" and self.query:
            title += f", query at {self.query[0]:g}, {self.query[1]:g}"
        return title

    @property
    def box_xyxy(self) -> NDArray[np.float32] | None:
        """Box of the detection of a gradient map, (4,) in pixels of the original image."""
        if isinstance(self.map, AttentionMap):
            return None
        return restore_boxes(self.map.box_xyxy.numpy(), self.placement)

    @interrupts_deferred()
    def save(self, path: str | Path) -> Path:
        """Draw the image with the query, and the map of each head and their average, as a PNG file.

        Raises:
            RegardError: ``path`` does not end in .png, or cannot be written.
        """
        from regard.visualize.attention_figure import save_figure  # not at the top: matplotlib takes long to import

        return save_figure(self, Path(path))

    @interrupts_deferred()
    def _repr_png_(self) -> bytes:
        with scratch_folder(Path(tempfile.gettempdir())) as folder:
            return self.save(folder / "view.png").read_bytes()


def attend(
    model: Detector,
    image: NDArray[np.uint8],
    *,
    layer: str | int,
    query: Point | None = None,
    kind: Kind = "map",
    of_class: str | int | None = None,
    imgsz: int = IMGSZ,
) -> View:
    """Run the detector on one (H, W, 3) uint8 RGB image and record what ``layer`` attends to; see `regard.attend`.

    Raises:
        RegardError: no such layer or class, a layer without attention, or a query outside the image.

    Example:
        >>> import regard
        >>> from regard.data.synthetic import scene
        >>> model = regard.insert(regard.load("odd-one-out"), "SE", after="p3")
        >>> view = attend(model, scene(0, "val", 0).read(), layer="p3.se", imgsz=128)
        >>> view.title
        'p3.se  (SE, 64 channels)'
    """
    boxed, placement = letterbox_rect(image, imgsz, model.max_stride, whole_pixels=model.whole_pixels)
    if query is not None:
        check_point(query, placement.image_size)
    weight = next(model.parameters())
    images = torch.from_numpy(boxed).permute(2, 0, 1)[None].contiguous().to(weight.device, weight.dtype) / 255
    size = (images.shape[2], images.shape[3])
    if kind == "gradient":
        name, module = _any_layer(model, layer)
        at = None if query is None else to_input(query, placement)
        class_id = None if of_class is None else class_index(str(of_class), list(model.names.values()))
        found: AttentionMap | GradientMap = gradient_map(model, images, module, point=at, class_id=class_id)
    elif kind == "map":
        name, module = _attention_layer(model, layer)
        query = query or (placement.image_size[1] / 2, placement.image_size[0] / 2)
        found = _attention_map(model, images, name, query, placement)
    else:
        raise RegardError(f"unknown kind {kind!r}", expected="map or gradient", hint=nearest(kind, ("map", "gradient")))
    inner = without_gate(module)
    return View(name, type(inner).__name__, found, image, placement, size, query, dict(model.names))


def attention_layers(model: Detector) -> list[AttentionLayer]:
    """List the layers of a detector whose attention can be shown, in order.

    Example:
        >>> import regard
        >>> model = regard.insert(regard.load("odd-one-out"), "SE", after="p3")
        >>> attention_layers(model)
        [AttentionLayer(name='p3.se', module='SE', channels=64, stride=8)]
    """
    listed = []
    for name, module in attention_modules(model.named_layers()).items():
        info = model.spec.info[model.spec.row_of(name).name]
        stride = round(info.stride) or model.strides[0]  # in the head, that of its first level
        listed.append(AttentionLayer(name, type(module).__name__, sum(info.in_channels), stride))
    return listed


def check_point(point: Point, image_size: tuple[int, int]) -> Point:
    """Check that ``point`` lies in an image of (height, width), and pass it on.

    Raises:
        RegardError: the point is outside.
    """
    height, width = image_size
    if not (0 <= point[0] < width and 0 <= point[1] < height):
        raise RegardError(
            f"the query {point[0]:g},{point[1]:g} lies outside the image of {width} x {height} pixels",
            expected=f"x of 0..{width - 1} and y of 0..{height - 1}, as in {width // 2},{height // 2}",
        )
    return point


def to_input(point: Point, placement: LetterboxTransform) -> Point:
    """Map a point from pixels of the original image to pixels of the network's input."""
    (x, y), scale, pad = point, placement.scale, placement.pad
    return x * scale[0] + pad[0], y * scale[1] + pad[1]


def cell_at(
    point: Point, placement: LetterboxTransform, input_size: tuple[int, int], map_size: tuple[int, int]
) -> tuple[int, int]:
    """Find the (row, column) of the cell of a layer's map that covers a point of the original image.

    Args:
        point: x, y in pixels of the original image.
        placement: transform from the original image to the input.
        input_size: (height, width) of the network's input.
        map_size: (height, width) of the layer's map.
    """
    x, y = to_input(point, placement)
    row, column = int(y * map_size[0] / input_size[0]), int(x * map_size[1] / input_size[1])
    return min(max(row, 0), map_size[0] - 1), min(max(column, 0), map_size[1] - 1)


def _attention_map(
    model: Detector, images: Tensor, name: str, query: Point, placement: LetterboxTransform
) -> AttentionMap:
    with evaluating(model), torch.inference_mode(), capture(model.named_layers()) as seen:
        model(images)
        given = seen.inputs[name]
        given = given if isinstance(given, Tensor) else given[0]
        cell = cell_at(query, placement, (images.shape[2], images.shape[3]), (given.shape[2], given.shape[3]))
        found = seen.map(name, cell)
    return replace(found, weights=found.weights.float().cpu())


def _attention_layer(model: Detector, layer: str | int) -> tuple[str, nn.Module]:
    """Find an attention layer by name or index."""
    modules = attention_modules(model.named_layers())
    if layer in modules:
        return str(layer), modules[str(layer)]
    name, module = _any_layer(model, layer, also=modules)
    if name in modules:
        return name, modules[name]
    inner = without_gate(module)
    inside = [other for other in modules if other.startswith(f"{name}.") and other not in model.spec.info]
    if len(inside) == 1:
        return inside[0], modules[inside[0]]
    known = inside or list(modules)
    raise RegardError(
        f"layer {name!r} ({type(inner).__name__}) has no attention to show",
        expected=one_of(known) if known else "a model with an attention layer: see regard insert",
        hint="a gradient map (--kind gradient; in Python: kind='gradient') works for any layer",
    )


def _any_layer(model: Detector, layer: str | int, also: Iterable[str] = ()) -> tuple[str, nn.Module]:
    """Find any layer by name or index."""
    names = [row.name for row in model.spec.layers[:-1]]
    if isinstance(layer, str) and layer not in [*names, model.spec.layers[-1].name] and not layer.lstrip("-").isdigit():
        known = [*names, *(name for name in also if name not in names)]
        raise RegardError(
            f"no layer is called {layer!r}",
            file=model.spec.file,
            expected=one_of(known),
            hint=nearest(layer, known),
        )
    name = model.spec.layer(layer).name
    return name, model.layer(name)
