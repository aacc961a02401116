"""The capacity control: plain residual convolutions as large as what a variant inserts, at the same place.

A variant that beats the base may owe that to nothing but its further parameters. Its control has as many of them, or
as many FLOPs, in layers that nobody would call attention, behind the same gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from regard.ablate.notation import Edit, apply_insertions
from regard.graph.cost import GATE_FLOPS, RowCost, row_costs
from regard.graph.detector import Detector
from regard.graph.spec import ModelSpec
from regard.nn.gate import Gated
from regard.nn.residual import residual_flops, residual_parameters

MODULE = "ResidualConvolutions"

FARTHEST = 2.0
"""Times larger or smaller than the variant's insertion that a control may be and still be called one."""


@dataclass(frozen=True)
class Control:
    """What stands in for a variant's insertions.

    Attributes:
        edits: insertions of convolutions, one for each of the variant's; empty where none comes near.
        note: how near they come, in words.
        added: parameters that the variant's own insertions add.
    """

    edits: tuple[Edit, ...]
    note: str
    added: int


def capacity_control(base: Detector, variant: Detector, edits: tuple[Edit, ...], match: str, imgsz: int) -> Control:
    """Return the control of a variant.

    Args:
        base: without the insertions.
        variant: with them.
        edits: the insertions.
        match: "parameters" or "flops".
        imgsz: side of the input in pixels, which FLOPs depend on.
    """
    wanted = got = 0
    controls: list[Edit] = []
    costs = dict(zip((row.name for row in variant.spec.layers), row_costs(variant, imgsz), strict=True))
    inserted = _inserted(base.spec, edits)
    total = sum(costs[name].parameters for name in inserted)
    for edit, name in zip(edits, inserted, strict=True):
        cost, is_gated = costs[name], isinstance(variant.layer(name), Gated)
        if cost.shape != costs[variant.spec.layer(name).inputs[0]].shape:
            return Control((), f"{name} changes the shape of its map, which residual convolutions cannot", total)
        size = _size_of(cost, match)
        gate = GATE_FLOPS * math.prod(cost.shape[0]) if match == "flops" else 1
        goal = (cost.flops if match == "flops" else cost.parameters) - is_gated * gate
        hidden = matching_width(size, goal)
        controls.append(Edit(MODULE, edit.layer, {"hidden": hidden}))
        wanted, got = wanted + goal, got + size(hidden)
    told = f"{got:,} {match.replace('flops', 'FLOPs')} for {wanted:,}"
    if not wanted or not 1 / FARTHEST <= got / wanted <= FARTHEST:
        return Control((), f"no convolutions are as small: {told} at least, so the base is its control", total)
    return Control(tuple(controls), f"{told} ({got / wanted - 1:+.1%})", total)


def matching_width(size: Callable[[int], int], wanted: int) -> int:
    """Return the width, 1 or more, whose size is nearest to ``wanted``; sizes grow with the width."""
    low, high = 1, 2
    while size(high) < wanted:
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= wanted else (low, middle)
    return min((low, high), key=lambda width: abs(size(width) - wanted))


def _size_of(cost: RowCost, match: str) -> Callable[[int], int]:
    """Return what convolutions of a width cost in the place of a row, without their gate."""
    channels, height, width = cost.shape[0]
    if match == "parameters":
        return lambda hidden: residual_parameters(channels, hidden)
    return lambda hidden: residual_flops(channels, hidden, height, width)


def _inserted(spec: ModelSpec, edits: tuple[Edit, ...]) -> list[str]:
    """Return the names of the layers that the edits insert, in their order."""
    names = []
    for edit in edits:
        before = {row.name for row in spec.layers}
        spec = apply_insertions(spec, (edit,), gate=True)
        names += [row.name for row in spec.layers if row.name not in before]
    return names
