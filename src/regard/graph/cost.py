"""Counting what each row of a detector costs at a given input size: output shape, parameters, FLOPs, activations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.config.commands import MOST_SIDE
from regard.errors import RegardError
from regard.nn.capture import attention_modules
from regard.nn.counter import Cost, Counter, hooked

if TYPE_CHECKING:  # a detector makes its summary, with these costs, by a method
    from regard.graph.detector import Detector

Shapes = tuple[tuple[int, ...], ...]

GATE_FLOPS = 3
"""Operations of a gate per element: a subtraction, a multiplication and an addition."""


@dataclass(frozen=True)
class RowCost:
    """What one row costs for one image.

    Attributes:
        shape: (C, H, W) of the output; of each level for the detection head.
        parameters: learned values.
        flops: a multiplication and an addition count as two. Convolutions and matrix products, as other tools count;
            inside attention poolings, scalings and activations too (see ``regard.nn.counter``).
        mixing_flops: the part of ``flops`` in which positions exchange values: products of queries, keys and values.
        activation_bytes: memory that the row keeps for the backward pass, in float32.
    """

    shape: Shapes
    parameters: int
    flops: int
    mixing_flops: int
    activation_bytes: int


def check_imgsz(detector: Detector, imgsz: int) -> None:
    """Check that an input size suits the detector.

    Raises:
        RegardError: it is not a multiple of the largest stride, or out of all proportion.
    """
    stride = detector.max_stride
    if not stride <= imgsz <= MOST_SIDE or imgsz % stride:
        nearest = min(max(stride, round(imgsz / stride) * stride), MOST_SIDE // stride * stride)
        expected = f"a multiple of {stride} up to {MOST_SIDE}, such as {nearest}"
        raise RegardError(f"image size {imgsz}", expected=expected)


def row_costs(detector: Detector, imgsz: int) -> list[RowCost]:
    """Count every row for one square image of side ``imgsz``.

    Raises:
        RegardError: ``imgsz`` is not a multiple of the largest stride.
    """
    counted = _counted(detector, imgsz, lambda copied: list(copied.model))
    return [
        RowCost(shape, sum(p.numel() for p in layer.parameters()), cost.flops, cost.mixing_flops, cost.activation_bytes)
        for layer, (shape, cost) in zip(detector.model, counted, strict=True)
    ]


def attention_costs(detector: Detector, imgsz: int) -> dict[str, tuple[Shapes, Cost]]:
    """Count every attention module, by layer name, also inside blocks: its output's shape, and its cost per image.

    Raises:
        RegardError: ``imgsz`` is not a multiple of the largest stride.
    """
    counted = _counted(detector, imgsz, lambda copied: list(attention_modules(copied.named_layers()).values()))
    return dict(zip(attention_modules(detector.named_layers()), counted, strict=True))


def _counted(
    detector: Detector, imgsz: int, parts: Callable[[Detector], Sequence[nn.Module]]
) -> list[tuple[Shapes, Cost]]:
    """Output shapes and costs of parts of a detector, all of which run once and in order."""
    check_imgsz(detector, imgsz)
    try:  # without memory or arithmetic; a user's own module may not run there
        copied = _without_values(detector)
        return _count(copied, torch.zeros(1, 3, imgsz, imgsz, device="meta"), parts(copied))
    except Exception:  # a user's module may raise anything there; on a real device it has run before
        like = next(detector.parameters())
        images = torch.zeros(1, 3, imgsz, imgsz, device=like.device, dtype=like.dtype)
        return _count(detector, images, parts(detector))


def _without_values(detector: Detector) -> Detector:
    """A copy on the meta device in float32, for which no value is copied."""
    tensors = [*detector.named_parameters(remove_duplicate=False), *detector.named_buffers(remove_duplicate=False)]
    memo: dict[int, Any] = {}
    for _, tensor in tensors:
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        empty = torch.empty_like(tensor, device="meta", dtype=dtype)
        known = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if known else empty
    return copy.deepcopy(detector, memo).to("meta", torch.float32)


def _count(detector: Detector, images: Tensor, parts: Sequence[nn.Module]) -> list[tuple[Shapes, Cost]]:
    counter = Counter(detector)
    began: list[Cost] = []
    found: list[tuple[Shapes, Cost]] = []

    def begin(_output: object = None) -> None:
        began.append(counter.cost)

    def end(output: Tensor | list[Tensor]) -> None:
        maps = [output] if isinstance(output, Tensor) else output
        found.append((tuple(tuple(x.shape[1:]) for x in maps), counter.cost - began.pop()))

    was_training = detector.training
    try:
        with ExitStack() as hooks, counter:
            for part in parts:
                hooks.enter_context(hooked(part, begin, end))
            detector.eval().raw(images)
    finally:
        detector.train(was_training)
    return found
