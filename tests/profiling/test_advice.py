"""What `regard cost` advises for every module of the catalogue, and that it names modules that can replace it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from torch import nn

import regard
from regard.nn.attention import ATTENTION
from regard.nn.counter import Cost, count_on_map
from regard.profiling import advice
from regard.profiling.advice import NAMED, Bound, Variant, advise, variants_for
from regard.profiling.catalogue import LEVELS, WITHOUT_QKV

TOTAL = 4_500_000_000
"""FLOPs of yolov5n at 640 px, about."""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], Cost]:
    """Costs on square maps, each counted once, here and by the advice."""

    @cache
    def by_name(name: str, channels: int, side: int) -> Cost:
        return count_on_map(ATTENTION[name](channels), channels, side, side)

    names = {kind: name for name, kind in ATTENTION.items()}

    def once(module: nn.Module, channels: int, height: int, width: int) -> Cost:
        assert height == width
        return by_name(names[type(module)], channels, height)

    monkeypatch.setattr(advice, "count_on_map", once)
    return by_name


@pytest.mark.parametrize("level", LEVELS)
def test_every_module_gets_advice_that_names_cheaper_modules(
    level: str, counted: Callable[[str, int, int], Cost]
) -> None:
    """Each module at one of the levels, as each call builds the whole catalogue."""
    channels, side = LEVELS[level]
    for name, kind in list(ATTENTION.items())[list(LEVELS).index(level) :: len(LEVELS)]:
        cost = counted(name, channels, side)
        found = variants_for([kind(channels)], (channels, side, side), cost.flops, TOTAL + cost.flops)
        assert name not in {v.name for v in found}
        assert {v.name for v in found} <= ATTENTION.keys()
        assert all(v.flops < cost.flops and v.speed_up > 1 for v in found)
        assert [v.flops for v in found] == sorted(v.flops for v in found)
        text = advise(Bound("p", 2.0, 2.0, (2.0, 2.0)), 0.5, found)
        for variant in found[:NAMED]:
            assert f"{variant.name} (" in text
        assert ("none here" in text) == (not found)


def test_modules_that_save_more_than_the_mixing_are_named_where_it_is_small() -> None:
    bound = Bound("p5", 1.02, 1.03, (1.0, 1.1))
    beyond = [Variant("ExternalAttention", 10, 1.08, 5), Variant("SelfAttention", 20, 1.01, 5)]
    assert "ExternalAttention (1.08x)" in advise(bound, 0.01, beyond)
    for variants in (beyond[1:], [], None):
        text = advise(bound, 0.01, variants)
        assert "1.03x" in text
        assert "Attention" not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTENTION)
def test_the_report_on_a_detector_with_it_at_three_levels(name: str) -> None:
    model = regard.load("yolov5n")
    for after in ("p3", "p4", "p5"):
        model = regard.insert(model, name, after=after)
    report = regard.cost(model, imgsz=320, repeats=1)
    mixes = any(row.mixing_flops for row in report.rows)
    assert len(report.bounds) == len(report.advice) == (3 if mixes else 0)
    for bound, text in zip(report.bounds, report.advice, strict=True):
        variants = report.variants[bound.row]
        assert variants is not None
        assert {v.name for v in variants} <= ATTENTION.keys()
        assert text.startswith(f"{bound.row}: its mixing is ")
    if ATTENTION[name].card.family not in advice.NOT_A_VARIANT and name not in WITHOUT_QKV:
        assert mixes
