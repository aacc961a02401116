"""What each row of a detector costs at a given input size: output shape, parameters and FLOPs."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.nn.attention import Attention
from regard.nn.gate import Gated

Shapes = tuple[tuple[int, ...], ...]

GATE_FLOPS = 3
"""Of a gate, per element: a subtraction, a multiplication and an addition."""


@dataclass(frozen=True)
class RowCost:
    """What one row costs for one image.

    Attributes:
        shape: (C, H, W) of the output; of each level for the detection head.
        parameters: learned values.
        flops: a multiplication and an addition count as two. Convolutions and matrix products, as other tools count;
            all operations of attention modules, by their own formulas.
    """

    shape: Shapes
    parameters: int
    flops: int


def check_imgsz(detector: Detector, imgsz: int) -> None:
    """Check that an input size suits the detector.

    Raises:
        RegardError: it is not a multiple of the largest stride.
    """
    stride = detector.max_stride
    if imgsz < stride or imgsz % stride:
        nearest = max(stride, round(imgsz / stride) * stride)
        raise RegardError(f"image size {imgsz}", expected=f"a multiple of {stride}, such as {nearest}")


def row_costs(detector: Detector, imgsz: int) -> list[RowCost]:
    """Return the cost of every row for one square image of side ``imgsz``.

    Raises:
        RegardError: ``imgsz`` is not a multiple of the largest stride.
    """
    check_imgsz(detector, imgsz)
    try:  # without memory or arithmetic; a user's own module may not bear it
        shapes, counts = _measure(copy.deepcopy(detector).to("meta"), torch.zeros(1, 3, imgsz, imgsz, device="meta"))
    except (RuntimeError, NotImplementedError):
        shapes, counts = _measure(detector, torch.zeros(1, 3, imgsz, imgsz, device=next(detector.parameters()).device))
    parameters = [sum(p.numel() for p in layer.parameters()) for layer in detector.model]
    own = [_own_flops(layer, shape) for layer, shape in zip(detector.model, shapes, strict=True)]
    return [
        RowCost(shape, n, count if flops is None else flops)
        for shape, n, count, flops in zip(shapes, parameters, counts, own, strict=True)
    ]


def _own_flops(layer: nn.Module, shape: Shapes) -> int | None:
    """Return what an attention module says that it costs; None for any other layer."""
    if isinstance(layer, Gated):
        inner = _own_flops(layer.module, shape)
        return None if inner is None else inner + GATE_FLOPS * math.prod(shape[0])
    return layer.flops(*shape[0][1:]) if isinstance(layer, Attention) else None


def _measure(detector: Detector, images: Tensor) -> tuple[list[Shapes], list[int]]:
    """Return the output shapes of every row, and the FLOPs that torch counts in it."""
    shapes: list[Shapes] = []
    totals = [0]

    def record(_layer: nn.Module, _inputs: object, output: Tensor | list[Tensor]) -> None:
        maps = [output] if isinstance(output, Tensor) else output
        shapes.append(tuple(tuple(x.shape[1:]) for x in maps))
        totals.append(counter.get_total_flops())

    hooks = [layer.register_forward_hook(record) for layer in detector.model]
    was_training = detector.training
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            detector.eval().raw(images)
    finally:
        detector.train(was_training)
        for hook in hooks:
            hook.remove()
    return shapes, [after - before for before, after in pairwise(totals)]
