"""Looking at what a layer attends to in one image: the map of an attention layer, or a gradient map of any layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.backend import as_input, inference
from regard.data.letterbox import letterbox_rect, restore_boxes
from regard.errors import RegardError, nearest
from regard.graph.detector import Detector
from regard.nn.capture import attention_modules, capture
from regard.nn.gate import Gated
from regard.prediction.sources import Frame, Source, frames, is_single_image
from regard.types import AttentionMap, LetterboxTransform
from regard.visualize.gradient import GradientMap, gradient_map
from regard.visualize.place import Point, cell_at, check_point, to_input

Kind = Literal["map", "gradient"]


@dataclass(frozen=True)
class AttentionLayer:
    """One entry of the list of what can be looked at: its name, class, input channels and input pixels per cell."""

    name: str
    module: str
    channels: int
    stride: int


@dataclass(frozen=True)
class View:
    """What one layer attends to in one image.

    Attributes:
        layer: its name.
        module: its class.
        map: the weights it used, or the gradient map of a detection.
        image: (H, W, 3) uint8 RGB, the original.
        placement: how the image lies on the network's input.
        input_size: (height, width) of the input in pixels.
        query: x, y in pixels of the original image, or None for the best detection's gradient map.
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
        """What is seen, in one line."""
        of = f"{self.layer}  ({self.module}"
        if isinstance(self.map, AttentionMap) and self.map.kind == "channel":
            return f"{of}, {self.map.weights.shape[1]} channels)"
        rows, columns = (self.map.weights if isinstance(self.map, AttentionMap) else self.map.cam).shape[-2:]
        of += f", {rows} x {columns} positions)"
        if isinstance(self.map, GradientMap):
            return f"{of}: what '{self.names[self.map.class_id]}' of score {self.map.score:.2f} rests on"
        return f"{of}, query at {self.query[0]:g}, {self.query[1]:g}" if self.map.kind == "rows" and self.query else of

    @property
    def box_xyxy(self) -> NDArray[np.float32] | None:
        """The detection of a gradient map, (4,) in pixels of the original image."""
        if isinstance(self.map, AttentionMap):
            return None
        return restore_boxes(self.map.box_xyxy.numpy(), self.placement)

    def save(self, path: str | Path) -> Path:
        """Write the picture: the image with the query, and the map per head and averaged.

        Raises:
            RegardError: the suffix names no format that can be drawn.
        """
        from regard.visualize.picture import save_picture

        return save_picture(self, Path(path))


def attend(
    model: Detector,
    image: Source,
    *,
    layer: str | int,
    query: Point | None = None,
    kind: Kind = "map",
    of_class: str | int | None = None,
    imgsz: int = 640,
) -> View:
    """Return what ``layer`` attends to in an image.

    Args:
        model: the detector; it runs in evaluation mode and is left as it was.
        image: a file, URL or (H, W, 3) uint8 RGB array.
        layer: name or index. For a "map" it has to be an attention layer; see ``attention_layers``.
        query: x, y in pixels of the original image. For a "map" the position whose row of weights is wanted, the
            centre if None; for "gradient" a point on or near the detection that is meant, the best one if None.
        kind: "map" for the weights that the layer used; "gradient" for how the score of a detection depends on the
            layer's output.
        of_class: for "gradient": consider detections of this class alone, by name or index.
        imgsz: the long side of the image is brought to this many pixels.

    Raises:
        RegardError: no such layer or class, a layer without attention, or a query outside the image.
    """
    frame = _single_frame(image)
    placed, placement = letterbox_rect(frame.image, imgsz, model.max_stride)
    if query is not None:
        check_point(query, placement.image_size)
    images = as_input(torch.from_numpy(placed).permute(2, 0, 1)[None].contiguous(), model)
    size = (images.shape[2], images.shape[3])
    if kind == "gradient":
        name, module = _any_layer(model, layer)
        at = None if query is None else to_input(query, placement)
        found: AttentionMap | GradientMap = gradient_map(
            model, images, module, point=at, class_id=_class_id(of_class, model.names)
        )
    elif kind == "map":
        name, module = _attention_layer(model, layer)
        query = query or (placement.image_size[1] / 2, placement.image_size[0] / 2)
        found = _attention_map(model, images, name, query, placement)
    else:
        raise RegardError(f"unknown kind {kind!r}", expected="map or gradient", hint=nearest(kind, ("map", "gradient")))
    inner = module.module if isinstance(module, Gated) else module
    return View(name, type(inner).__name__, found, frame.image, placement, size, query, dict(model.names))


def attention_layers(model: Detector) -> list[AttentionLayer]:
    """Return the layers of ``model`` whose attention can be looked at, in order."""
    listed = []
    for name, module in attention_modules(model.named_layers()).items():
        inside = [row.name for row in model.spec.rows if f"{name}.".startswith(f"{row.name}.")]
        facts = model.spec.facts[max(inside, key=len)]  # "p4.se" is a row of its own rather than a part of "p4"
        listed.append(AttentionLayer(name, type(module).__name__, sum(facts.in_channels), round(facts.stride)))
    return listed


def _attention_map(
    model: Detector, images: Tensor, name: str, query: Point, placement: LetterboxTransform
) -> AttentionMap:
    with inference(model), capture(model.named_layers()) as seen:
        model(images)
        given = seen.inputs[name]
        given = given if isinstance(given, Tensor) else given[0]
        cell = cell_at(query, placement, (images.shape[2], images.shape[3]), (given.shape[2], given.shape[3]))
        found = seen.map(name, cell)
    return AttentionMap(found.kind, found.weights.float().cpu(), found.queries)


def _attention_layer(model: Detector, layer: str | int) -> tuple[str, nn.Module]:
    """Return name and module of an attention layer."""
    modules = attention_modules(model.named_layers())
    if layer in modules:
        return str(layer), modules[str(layer)]
    name, module = _any_layer(model, layer, also=modules)
    if name in modules:
        return name, modules[name]
    inner = module.module if isinstance(module, Gated) else module
    inside = [other for other in modules if other.startswith(f"{name}.") and other not in model.spec.facts]
    known = inside or list(modules)
    raise RegardError(
        f"layer {name!r} ({type(inner).__name__}) has no attention to show",
        expected="one of " + ", ".join(known) if known else "a model with an attention layer: see regard insert",
        hint="a gradient map (--kind gradient) shows any layer",
    )


def _any_layer(model: Detector, layer: str | int, also: Iterable[str] = ()) -> tuple[str, nn.Module]:
    """Return name and layer of a row."""
    names = [row.name for row in model.spec.rows[:-1]]
    if isinstance(layer, str) and layer not in [*names, model.spec.rows[-1].name] and not layer.lstrip("-").isdigit():
        known = [*names, *(name for name in also if name not in names)]
        raise RegardError(
            f"no layer is called {layer!r}",
            file=model.spec.file,
            expected="one of " + ", ".join(known),
            hint=nearest(layer, known),
        )
    name = model.spec.row(layer).name
    return name, model.layer(name)


def _class_id(wanted: str | int | None, names: dict[int, str]) -> int | None:
    if wanted is None:
        return None
    by_name = {name: i for i, name in names.items()}
    if wanted in by_name:
        return by_name[str(wanted)]
    if str(wanted).isdigit() and int(wanted) in names:
        return int(wanted)
    raise RegardError(
        f"the detector has no class {wanted!r}",
        expected=f"a name, or 0 to {len(names) - 1}",
        hint=nearest(wanted, by_name),
    )


def _single_frame(image: Source) -> Frame:
    first = next(frames(image), None)  # complains of what is not there
    if first is None or not is_single_image(image):
        raise RegardError(f"{image!r} is not one picture", expected="an image file, URL or (H, W, 3) uint8 RGB array")
    return first
