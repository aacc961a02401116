"""Whether a cheaper variant of an attention row is worth a try, in words, and which."""

from __future__ import annotations

from dataclasses import dataclass

from regard.costing.bound import Bound
from regard.errors import RegardError
from regard.graph.cost import RowCost
from regard.nn.attention import ATTENTION, Attention

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
        flops: of the row with it.
        speed_up: the whole model's FLOPs over those with it.
        saved_elements: values kept for the backward pass, for one image.
    """

    name: str
    flops: int
    speed_up: float
    saved_elements: int


def variants_for(attention: Attention, cost: RowCost, total: int) -> list[Variant]:
    """Return the cheaper modules of the catalogue, with their default options, cheapest first.

    Args:
        attention: the row's module.
        cost: of the row.
        total: FLOPs of the whole model.
    """
    height, width = cost.shape[0][1:]
    found = []
    for name, kind in ATTENTION.items():
        if kind is type(attention) or kind.card.family in NOT_A_VARIANT:
            continue
        try:
            module = kind(attention.in_channels)
        except RegardError:  # its defaults do not suit this number of channels
            continue
        flops = module.flops(height, width)
        if module.out_channels == attention.out_channels and flops < cost.flops:
            saved = module.saved_elements(height, width)
            found.append(Variant(name, flops, total / (total - cost.flops + flops), saved))
    return sorted(found, key=lambda variant: variant.flops)


def advise(bound: Bound, share: float, variants: list[Variant] | None) -> str:
    """Say whether a swap could be worth it.

    Args:
        bound: of the row.
        share: of the mixing in the model's FLOPs, 0..1.
        variants: from ``variants_for``; None for a row of another kind, for which none were sought.
    """
    head = f"{bound.row}: its mixing is {share:.1%} of the model's FLOPs."
    best = max(bound.by_time, bound.by_flops)
    if best < WORTH_IT:
        return f"{head} No cheaper variant can make the model more than {best:.2f}x as fast: a swap is not worth it."
    could = f"{head} A cheaper variant could make the model up to {bound.by_time:.2f}x as fast by measured time"
    could += f", {bound.by_flops:.2f}x by FLOPs"
    if variants is None:
        return f"{could}; it is no module of the catalogue itself, and what could be cheaper in it was not sought."
    if not variants:
        return f"{could}; the catalogue has none here."
    named = ", ".join(f"{v.name} ({v.speed_up:.2f}x)" for v in variants[:NAMED])
    return f"{could}; cheapest by FLOPs: {named}. What they do to accuracy is another question."
