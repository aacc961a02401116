"""Receptive fields: on how many pixels of the input a value of each layer depends.

They are measured by what is not a number: a column of the input is set to NaN, and every value that depends on it
becomes NaN, through convolutions and pooling. Masks do not stop NaN, so in attention modules the values that depend on
NaN are those that change with the numbers in its place. Each value of a layer depends on as many columns of the input
as the columns of one period of its stride reach values in it, which for convolutions is the formula of Araujo et al.,
Computing Receptive Fields of Convolutional Neural Networks, Distill 2019.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from regard.graph.cost import check_imgsz
from regard.graph.detector import Detector
from regard.nn.capture import attention_modules


@torch.no_grad()
def receptive_fields(detector: Detector, imgsz: int) -> dict[str, float | None]:
    """Measure the width of the receptive field of each layer in pixels.

    Args:
        detector: unchanged.
        imgsz: side of the image; fields of up to about twice this width are measured.

    Returns:
        By layer name; None where a value depends on the whole image, as after global pooling or self-attention, or on
        more than could be measured. The detection head is left out.

    Raises:
        RegardError: ``imgsz`` is not a multiple of the largest stride.

    Example:
        >>> import regard
        >>> model = regard.insert(regard.load("odd-one-out"), "SE", after="p4")
        >>> found = receptive_fields(model, 128)
        >>> found["stem"], found["p4.se"]
        (6.0, None)
    """
    check_imgsz(detector, imgsz)
    copied, period, width = copy.deepcopy(detector).eval(), detector.max_stride, 2 * imgsz
    weight = next(copied.parameters())
    random = torch.Generator().manual_seed(0)
    columns = torch.rand(period, 3, period, width, generator=random).to(weight)
    for i in range(period):
        columns[i, :, :, width // 2 + i] = torch.nan
    found: dict[str, float | None] = {}
    for module in attention_modules(copied.named_layers()).values():
        module.forward = _by_change(module.forward, random)
    handles = [
        layer.register_forward_hook(_remember(found, name, width)) for name, layer in list(copied.named_layers())[:-1]
    ]
    copied.raw(columns)
    for handle in handles:
        handle.remove()
    return found


def _by_change(forward: Callable[..., Tensor], random: torch.Generator) -> Callable[..., Tensor]:
    """A forward pass in which NaN reaches the values that change with what is in its place."""

    def changed(x: Tensor | list[Tensor], *rest: Any) -> Tensor:
        maps = [x] if isinstance(x, Tensor) else x
        if not any(bool(one.isnan().any()) for one in maps):
            return forward(x, *rest)
        results = []
        for _ in range(2):
            filled = [torch.where(m.isnan(), torch.randn(m.shape, generator=random).to(m), m) for m in maps]
            results.append(forward(filled[0] if isinstance(x, Tensor) else filled, *rest))
        a, b = results
        return torch.where(a != b, torch.nan, a)

    return changed


def _remember(found: dict[str, float | None], name: str, width: int) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            touched = output.isnan().any(2).any(1)  # (columns, width of the map)
            stride = width / touched.shape[1]
            at_edge = bool(touched[:, 0].any() or touched[:, -1].any())
            found[name] = None if at_edge else float(touched.sum()) * stride / len(touched)

    return hook
