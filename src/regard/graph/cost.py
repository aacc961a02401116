"""What each row of a detector costs at a given input size: output shape, parameters, FLOPs and activation memory."""

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
from regard.nn.mixing import Mixing

Shapes = tuple[tuple[int, ...], ...]

MOST_PIXELS = 65536
"""Largest side of an input: far beyond any photograph, and still small enough to multiply."""

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
        mixing_flops: the part of ``flops`` in which attention multiplies queries, keys and values.
        saved_elements: values that the row keeps for the backward pass; an estimate.
    """

    shape: Shapes
    parameters: int
    flops: int
    mixing_flops: int
    saved_elements: int


def check_imgsz(detector: Detector, imgsz: int) -> None:
    """Check that an input size suits the detector.

    Raises:
        RegardError: it is not a multiple of the largest stride, or out of all proportion.
    """
    stride = detector.max_stride
    if not stride <= imgsz <= MOST_PIXELS or imgsz % stride:
        nearest = min(max(stride, round(imgsz / stride) * stride), MOST_PIXELS // stride * stride)
        expected = f"a multiple of {stride} up to {MOST_PIXELS}, such as {nearest}"
        raise RegardError(f"image size {imgsz}", expected=expected)


def row_costs(detector: Detector, imgsz: int) -> list[RowCost]:
    """Return the cost of every row for one square image of side ``imgsz``.

    Raises:
        RegardError: ``imgsz`` is not a multiple of the largest stride.
    """
    check_imgsz(detector, imgsz)
    try:  # without memory or arithmetic; a user's own module may not bear it
        measured = _measure(copy.deepcopy(detector).to("meta"), torch.zeros(1, 3, imgsz, imgsz, device="meta"))
    except (RuntimeError, NotImplementedError):
        images = torch.zeros(1, 3, imgsz, imgsz, device=next(detector.parameters()).device)
        measured = _measure(detector, images)
    return [_row_cost(layer, *row) for layer, row in zip(detector.model, measured, strict=True)]


def mixing_of(layer: nn.Module) -> Mixing | None:
    """Return the layer of a row, gated or not, in which positions exchange values; None where they do not."""
    inner = layer.module if isinstance(layer, Gated) else layer
    return inner if isinstance(inner, Mixing) else None


def attention_of(layer: nn.Module) -> Attention | None:
    """Return the module of the catalogue that a row holds, gated or not; None where it holds another layer."""
    inner = layer.module if isinstance(layer, Gated) else layer
    return inner if isinstance(inner, Attention) else None


def _row_cost(layer: nn.Module, shape: Shapes, flops: int, saved: int) -> RowCost:
    """Return what was measured in a row, or what an attention module says of itself, for counters miss much of it."""
    parameters = sum(p.numel() for p in layer.parameters())
    attention = attention_of(layer)
    height, width = shape[0][1:3]
    if attention is None:
        mixing = mixing_of(layer)
        return RowCost(shape, parameters, flops, mixing.mixing_flops(height, width) if mixing else 0, saved)
    gate = math.prod(shape[0]) if isinstance(layer, Gated) else 0
    return RowCost(
        shape,
        parameters,
        attention.flops(height, width) + GATE_FLOPS * gate,
        attention.mixing_flops(height, width),
        attention.saved_elements(height, width) + gate,
    )


def _measure(detector: Detector, images: Tensor) -> list[tuple[Shapes, int, int]]:
    """Return of every row the output shapes, the FLOPs that torch counts, and the values kept for the backward pass."""
    shapes: list[Shapes] = []
    totals = [(0, 0)]
    kept: dict[int, Tensor] = {p.untyped_storage()._cdata: p for p in detector.state_dict().values()}
    known = sum(t.untyped_storage().nbytes() for t in kept.values())

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    def record(_layer: nn.Module, _inputs: object, output: Tensor | list[Tensor]) -> None:
        maps = [output] if isinstance(output, Tensor) else output
        shapes.append(tuple(tuple(x.shape[1:]) for x in maps))
        saved = sum(t.untyped_storage().nbytes() for t in kept.values()) - known
        totals.append((counter.get_total_flops(), saved // images.element_size()))

    hooks = [layer.register_forward_hook(record) for layer in detector.model]
    was_training = detector.training
    counter = FlopCounterMode(display=False)
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.enable_grad(), counter:
            detector.eval().raw(images)
    finally:
        detector.train(was_training)
        for hook in hooks:
            hook.remove()
    steps = [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(totals)]
    return [(shape, *step) for shape, step in zip(shapes, steps, strict=True)]
