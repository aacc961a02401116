"""The feature maps of a layer in one image: their mean, and the channels that vary most over the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.config import IMGSZ
from regard.data.letterbox import letterbox_rect
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.types import LetterboxTransform
from regard.visualize.gradient import evaluating
from regard.visualize.panels import Panel

MOST_CHANNELS = 12
"""Number of channels that are shown."""


@dataclass(frozen=True)
class Features:
    """Maps of a layer.

    Attributes:
        layer: name of the layer.
        panels: the mean of the absolute values over channels, then single channels.
        placement: transform from the original image to the network's input.
        input_size: (height, width) of the input in pixels.
    """

    layer: str
    panels: list[Panel]
    placement: LetterboxTransform
    input_size: tuple[int, int]


def features(model: Detector, image: NDArray[np.uint8], *, layer: str, imgsz: int = IMGSZ) -> Features:
    """Run the detector on one (H, W, 3) uint8 RGB image and record the output of ``layer``.

    Raises:
        RegardError: there is no such layer, or it is the detection head.

    Example:
        >>> import regard
        >>> from regard.data.synthetic import scene
        >>> found = features(regard.load("odd-one-out"), scene(0, "val", 0).read(), layer="p3", imgsz=128)
        >>> found.panels[0].values.shape, len(found.panels)
        ((16, 16), 13)
    """
    name = model.spec.layer(layer).name
    if name == model.spec.layers[-1].name:
        raise RegardError(f"{name!r} is the detection head, which gives no map", expected="a layer before it")
    boxed, placement = letterbox_rect(image, imgsz, model.max_stride, whole_pixels=model.whole_pixels)
    weight = next(model.parameters())
    images = torch.from_numpy(boxed).permute(2, 0, 1)[None].contiguous().to(weight.device, weight.dtype) / 255
    kept: list[Tensor] = []

    def remember(_module: nn.Module, _given: object, output: Tensor) -> None:
        kept.append(output)

    hook = model.layer(name).register_forward_hook(remember)
    try:
        with evaluating(model), torch.inference_mode():
            model(images)
    finally:
        hook.remove()
    maps = kept[0][0].float().cpu()
    chosen = maps.flatten(1).var(1).argsort(descending=True)[:MOST_CHANNELS].tolist()
    panels = [_panel("mean |x|", maps.abs().mean(0)), *(_panel(f"channel {i}", maps[i]) for i in chosen)]
    return Features(name, panels, placement, (images.shape[2], images.shape[3]))


def _panel(heading: str, values: Tensor) -> Panel:
    array = values.numpy()
    return Panel(heading, array, float(array.min()), float(array.max()))
