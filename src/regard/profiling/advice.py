"""Whether a cheaper variant of an attention row is worth a try, in words, and which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regard.errors import RegardError
from regard.nn.attention import ATTENTION, Attention
from regard.profiling.bound import Bound

WORTH_IT = 1.05
"""Times as fast that the whole model has to be able to become before a swap is advised."""
NAMED = 4
"""Variants that an advice names at most."""
NOT_A_VARIANT = ("channel", "spatial", "channel and spatial", "convolution")
"""Families that do something else than let a position look at others."""


@dataclass(frozen=True)
class Variant:
    """What could stand in a row's place.

    Attributes:
        name: its YAML name.
        flops: of the attention.
        speed_up: the whole model's FLOPs over those with it.
        saved_elements: values kept for the backward pass, for one image.
    """

    name: str
    flops: int
    speed_up: float
    saved_elements: int


def variants_for(attention: Sequence[Attention], height: int, width: int, total: int) -> list[Variant]:
    """Return the cheaper modules of the catalogue, with their default options, cheapest first.

    Args:
        attention: what would be exchanged, all at once: one module, or those of a block, alike.
        height: of the map they see.
        width: of the map they see.
        total: FLOPs of the whole model.
    """
    present, now = attention[0], sum(module.flops(height, width) for module in attention)
    found = []
    for name, kind in ATTENTION.items():
        if kind is type(present) or kind.card.family in NOT_A_VARIANT:
            continue
        try:
            module = kind(present.in_channels)
        except RegardError:  # its defaults do not suit this number of channels
            continue
        flops = len(attention) * module.flops(height, width)
        if module.out_channels == present.out_channels and flops < now:
            saved = len(attention) * module.saved_elements(height, width)
            found.append(Variant(name, flops, total / (total - now + flops), saved))
    return sorted(found, key=lambda variant: variant.flops)


def advise(bound: Bound, share: float, variants: list[Variant] | None) -> str:
    """Say whether a swap could be worth it.

    Args:
        bound: of the row.
        share: of the mixing in the model's FLOPs, 0..1.
        variants: from ``variants_for``; None for a block with attention of its own, which takes no other.
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
