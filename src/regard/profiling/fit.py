"""Check before training that attention of quadratic memory fits into the machine."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from regard.errors import RegardError
from regard.graph.cost import Shapes, attention_costs, row_costs
from regard.graph.detector import Detector
from regard.nn.capture import attention_modules
from regard.nn.counter import Cost
from regard.profiling.advice import NAMED, variants_for
from regard.profiling.memory import available_bytes

MUCH_LESS = 4
"""A variant is suggested if it needs at least this many times less memory."""


def check_attention_fits(detector: Detector, imgsz: int, batch: int, device: torch.device) -> None:
    """Check that what attention keeps for the backward pass fits into memory, even if nothing else is there.

    Args:
        detector: to be trained.
        imgsz: side of the input in pixels.
        batch: images of a step on this device.
        device: where it will be trained.

    Raises:
        RegardError: they do not fit; the message lists the memory of each layer and suggests other modules.
    """
    if not attention_modules(detector.named_layers()):
        return
    counted = attention_costs(detector, imgsz)
    needs = {name: batch * cost.activation_bytes for name, (_, cost) in counted.items()}
    limit = available_bytes(device)
    if sum(needs.values()) <= limit:
        return
    largest = sorted(needs, key=lambda name: -needs[name])[:NAMED]
    instead = _much_smaller(detector, imgsz, {name: counted[name] for name in largest})
    rows = ", ".join(f"{name} {needs[name] / 2**30:,.1f} GiB" for name in largest)
    choices = f"{' or '.join(instead[:NAMED])} in their place, or " if instead else ""
    raise RegardError(
        f"attention alone would keep {sum(needs.values()) / 2**30:,.1f} GiB for the backward pass: {rows}",
        expected=f"at most the {limit / 2**30:,.1f} GiB of {device}",
        hint=f"use {choices}a smaller --imgsz or --batch",
    )


def _much_smaller(detector: Detector, imgsz: int, counted: Mapping[str, tuple[Shapes, Cost]]) -> list[str]:
    """Names of modules of the catalogue that would keep far less memory than some of these."""
    total = sum(row.flops for row in row_costs(detector, imgsz))
    modules = attention_modules(detector.named_layers())
    found: dict[str, None] = {}  # a set that keeps its order
    for name, ((shape, *_), cost) in counted.items():
        variants = variants_for([modules[name]], shape, cost.flops, total)
        found |= {v.name: None for v in variants if MUCH_LESS * v.activation_bytes < cost.activation_bytes}
    return list(found)
