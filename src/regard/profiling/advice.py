"""Advice: whether a cheaper variant of an attention layer could speed up the model, and which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from regard.errors import RegardError
from regard.nn.attention import ATTENTION
from regard.nn.counter import count_on_map
from regard.profiling.bound import Bound

WORTH_IT = 1.05
"""Least possible speed-up of the whole model for which a replacement is advised."""
NAMED = 4
"""Largest number of variants that an advice names."""
NOT_A_VARIANT = ("channel", "spatial", "channel and spatial", "convolution")
"""Families in which positions do not attend to one another."""


@dataclass(frozen=True)
class Variant:
    """A module of the catalogue that could replace a row's attention.

    Attributes:
        name: its YAML name.
        flops: of the attention.
        speed_up: the whole model's FLOPs over those with it.
        activation_bytes: memory that it keeps for the backward pass, for one image.
    """

    name: str
    flops: int
    speed_up: float
    activation_bytes: int


def variants_for(attention: Sequence[nn.Module], shape: tuple[int, ...], now: int, total: int) -> list[Variant]:
    """Cheaper modules of the catalogue, with their default options, cheapest first.

    Args:
        attention: what would be exchanged, all at once: one module, or those of a block, alike.
        shape: (C, H, W) of the map that each reads and gives.
        now: FLOPs of all of them.
        total: FLOPs of the whole model.
    """
    found = []
    for name, kind in ATTENTION.items():
        if kind is type(attention[0]) or kind.card.family in NOT_A_VARIANT:
            continue
        try:
            module = kind(shape[0])
        except RegardError:  # its defaults do not suit this number of channels
            continue
        cost = count_on_map(module, *shape)
        flops = len(attention) * cost.flops
        if module.out_channels == shape[0] and flops < now:
            memory = len(attention) * cost.activation_bytes
            found.append(Variant(name, flops, total / (total - now + flops), memory))
    return sorted(found, key=lambda variant: variant.flops)


def advise(bound: Bound, share: float, variants: list[Variant] | None) -> str:
    """State whether a replacement could speed up the model.

    Args:
        bound: of the row.
        share: of the mixing in the model's FLOPs, 0..1.
        variants: from ``variants_for``; None for a block whose attention cannot be exchanged.
    """
    head = f"{bound.row}: its mixing is {share:.1%} of the model's FLOPs."
    best = max(bound.by_time, bound.by_flops)
    if best < WORTH_IT:
        return f"{head} No cheaper variant can make the model more than {best:.2f}x as fast: a swap is not worth it."
    could = f"{head} A cheaper variant could make the model up to {bound.by_time:.2f}x as fast by measured time"
    could += f", {bound.by_flops:.2f}x by FLOPs"
    if variants is None:
        return f"{could}; its attention is its own, and cheaper kinds would take another block, such as C3Attention."
    if not variants:
        return f"{could}; the catalogue has none here."
    named = ", ".join(f"{v.name} ({v.speed_up:.2f}x)" for v in variants[:NAMED])
    return f"{could}; cheapest by FLOPs: {named}. What they do to accuracy is another question."
