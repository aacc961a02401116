"""Capacity controls: as near as whole channels allow, at the same place, or none and said so."""

from __future__ import annotations

import pytest
from tiny_studies import tiny_plan

from regard.ablate.control import matching_width
from regard.ablate.variants import Entry, Lineup
from regard.graph.cost import GATE_FLOPS, row_costs
from regard.nn.residual import residual_parameters


@pytest.mark.parametrize("channels", [1, 8, 127])
@pytest.mark.parametrize("wanted", [0, 17, 518, 8192, 66_048])
def test_the_width_is_the_nearest_of_all(channels: int, wanted: int) -> None:
    def size(hidden: int) -> int:
        return residual_parameters(channels, hidden)

    best = min(range(1, 200), key=lambda hidden: abs(size(hidden) - wanted))
    assert abs(size(matching_width(size, wanted)) - wanted) == abs(size(best) - wanted)


def entries(**changes: object) -> tuple[Lineup, dict[str, Entry]]:
    lineup = Lineup(tiny_plan(**changes))
    return lineup, {entry.name: entry for entry in lineup.entries()}


def test_it_has_as_many_parameters_at_the_same_place() -> None:
    name = "MultiHeadSelfAttention@p4+SE(ratio=4)@p3"
    lineup, found = entries(insert=[name])
    control = found[f"control of {name}"]
    assert control.role == "capacity control"
    assert control.controls == name
    base, variant, other = (lineup.start(found[n], 0) for n in ("base", name, control.name))
    own, matched = (sum(p.numel() for p in d.parameters()) for d in (variant, other))
    plain = sum(p.numel() for p in base.parameters())
    assert abs(matched - own) / (own - plain) < 0.02
    assert [row.inputs for row in other.spec.layers] == [
        tuple(i.replace(".multiheadselfattention", X).replace(".se", X) for i in row.inputs)
        for row in variant.spec.layers
    ]
    assert other.spec.layer(f"p4{X}").gate is other.spec.layer(f"p3{X}").gate is True
    assert f"{matched - plain - 2:,} parameters for {own - plain - 2:,}" in control.note


X = ".residualconvolutions"


def test_it_can_have_as_many_flops_instead() -> None:
    lineup, found = entries(insert=["MultiHeadSelfAttention@p4"], match="flops", imgsz=128)
    totals = []
    for name in ("base", "MultiHeadSelfAttention@p4", "control of MultiHeadSelfAttention@p4"):
        detector = lineup.start(found[name], 0)
        gate = GATE_FLOPS * 128 * 8 * 8 * (name.startswith("Multi"))
        totals.append(sum(cost.flops for cost in row_costs(detector, 128)) - gate)
    base, variant, control = totals
    assert abs(control - variant) / (variant - base) < 0.02


def test_where_convolutions_cannot_be_as_small_the_base_is_the_control() -> None:
    lineup, found = entries(insert=["ECA@p4", "SimAM@p4", "SE@p4"])
    assert [name for name in found if name.startswith("control")] == ["control of SE@p4"]
    notes = lineup.notes(list(found.values()))
    assert "525 parameters for 5 at least, so the base is its control" in notes["ECA@p4"]
    assert "for 0 at least" in notes["SimAM@p4"]


def test_what_changes_the_shape_has_none() -> None:
    lineup, found = entries(insert=["Conv(out_channels=64)@p3"], gate=False)
    assert "changes the shape" in lineup.notes(list(found.values()))["Conv(out_channels=64)@p3"]


def test_one_for_the_largest_or_none_at_all() -> None:
    asked = ["SE@p4", "MultiHeadSelfAttention@p4"]
    assert list(entries(insert=asked, control="largest")[1]) == [
        "base", "SE@p4", "MultiHeadSelfAttention@p4", "control of MultiHeadSelfAttention@p4"
    ]  # fmt: skip
    lineup, found = entries(insert=[*asked, "ECA@p4"], control="largest")
    notes = lineup.notes(list(found.values()))
    assert notes["SE@p4"] == "left to the largest insertion, as control: largest asks"
    assert "parameters for" in notes["MultiHeadSelfAttention@p4"]
    assert "no convolutions are as small" in notes["ECA@p4"]
    assert list(entries(insert=asked, control="none")[1]) == ["base", *asked]
