"""Edits in one word."""

from __future__ import annotations

import pytest

from regard.ablate.notation import Edit, apply_insertions, apply_replacements, parse_edits, parse_variant
from regard.errors import RegardError
from regard.graph.read import read_spec


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        ("SE@sppf", [Edit("SE", "sppf")]),
        (" SE (ratio = 8) @ sppf ", [Edit("SE", "sppf", {"ratio": 8})]),
        ("A(b=[1, 2], c=x)@9", [Edit("A", "9", {"b": [1, 2], "c": "x"})]),
        ("nn.Identity@head.p4_fused", [Edit("nn.Identity", "head.p4_fused")]),
        ("SE@p4+CBAM(a=1+1)@p5", [Edit("SE", "p4"), Edit("CBAM", "p5", {"a": "1+1"})]),
        ("SE()@p4", [Edit("SE", "p4")]),
    ],
)
def test_what_is_written_is_read(text: str, edits: list[Edit]) -> None:
    assert list(parse_edits(text)) == edits


@pytest.mark.parametrize("text", ["SE", "@p4", "SE@", "SE(ratio=8@p4", "SE@p4@p5", "8@p4", "SE@p4+", "SE p4"])
def test_what_says_no_edit_is_refused(text: str) -> None:
    with pytest.raises(RegardError, match="says no edit"):
        parse_edits(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" SE (ratio = 8) @ sppf ", "SE(ratio=8)@sppf"),
        ("small=SE(ratio=8)@sppf", "small"),
        (" self-attention.2 = SE(ratio=8)@sppf", "self-attention.2"),
    ],
)
def test_a_variant_may_have_a_name_of_its_own(text: str, name: str) -> None:
    assert parse_variant(text) == (name, (Edit("SE", "sppf", {"ratio": 8}),))


@pytest.mark.parametrize("text", ["=SE@p4", "a b=SE@p4", "a=b=SE@p4", "small=", "8=SE@p4"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(RegardError, match="says no edit"):
        parse_variant(text)


def test_options_need_names() -> None:
    with pytest.raises(RegardError, match="'8' is no option"):
        parse_edits("SE(8)@p4")


def test_edits_are_applied_in_order() -> None:
    spec = read_spec("odd-one-out")
    inserted = apply_insertions(spec, parse_edits("SE(ratio=4)@p4+ECA@p3"), gate=False)
    assert [row.name for row in inserted.layers if row.name not in {r.name for r in spec.layers}] == ["p3.eca", "p4.se"]
    assert inserted.layer("p4.se").options == {"ratio": 4}
    assert inserted.layer("p4.se").gate is False
    assert apply_replacements(spec, parse_edits("C3TR@p4")).layer("p4").module == "C3TR"
