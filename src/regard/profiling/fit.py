"""Whether attention of quadratic memory fits into the machine, asked before training starts."""

from __future__ import annotations

import torch

from regard.errors import RegardError
from regard.graph.cost import row_costs
from regard.graph.detector import Detector
from regard.nn.attention import Attention
from regard.nn.capture import attention_modules
from regard.profiling.advice import NAMED, variants_for
from regard.profiling.memory import available_bytes

BYTES = 4
"""Of a float32 value; scores and their gradients are float32 in most kernels, whatever the precision around them."""

MUCH_LESS = 4
"""Times less memory that a variant has to take to be named."""


def check_attention_fits(detector: Detector, imgsz: int, batch: int, device: torch.device) -> None:
    """Check that what attention keeps for the backward pass fits into memory, even if nothing else is there.

    Attention inside a block counts as that of a row does, on a map of the size that the block returns.

    Args:
        detector: to be trained.
        imgsz: side of the input in pixels.
        batch: images of a step on this device.
        device: where it will be trained.

    Raises:
        RegardError: it cannot fit; the message says what each attention needs and what to use instead.
    """
    if not any(isinstance(module, Attention) for module in detector.modules()):
        return
    needs: dict[str, int] = {}
    instead: dict[str, None] = {}  # a set that keeps its order
    costs = row_costs(detector, imgsz)
    total = sum(cost.flops for cost in costs)
    for (name, layer), cost in zip(detector.named_layers(), costs, strict=True):
        height, width = cost.shape[0][1:3]
        for place, attention in attention_modules([(name, layer)]).items():
            if isinstance(attention, Attention):
                saved = attention.saved_elements(height, width)
                needs[place] = saved * BYTES * batch
                variants = variants_for([attention], height, width, total)
                instead |= {v.name: None for v in variants if MUCH_LESS * v.saved_elements < saved}
    limit = available_bytes(device)
    if sum(needs.values()) <= limit:
        return
    largest = sorted(needs, key=lambda name: -needs[name])[:NAMED]
    rows = ", ".join(f"{name} {needs[name] / 2**30:,.1f} GiB" for name in largest)
    choices = f"{' or '.join(list(instead)[:NAMED])} in their place, or " if instead else ""
    raise RegardError(
        f"attention alone would keep {sum(needs.values()) / 2**30:,.1f} GiB for the backward pass: {rows}",
        expected=f"at most the {limit / 2**30:,.1f} GiB of {device}",
        hint=f"use {choices}a smaller --imgsz or --batch",
    )
