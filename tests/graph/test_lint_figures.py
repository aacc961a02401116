"""How often the wiring check is right on drawn files; ``python tests/graph/edited_graphs.py`` prints the figures."""

from __future__ import annotations

import random

import pytest
from edited_graphs import Edited, bases, draw_cases, edited, measure, outcome, report


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_refusals_are_right_and_every_proposed_row_builds(count: int) -> None:
    counts, wrong = measure(draw_cases(seed=count, count=count))
    print(report(counts))
    shown = [(fault, case.graph.text, result.message) for fault, case, result in wrong]
    assert counts["refused rightly"] >= 0.97 * counts["refused"], shown
    assert counts["refused rightly"] >= 0.9 * counts["wrong"], shown
    assert counts["proposal builds"] == counts["proposed"], shown
    assert counts["proposal is what was meant"] >= 0.8 * counts["proposed"], shown


def test_the_measure_sees_a_false_alarm_and_a_missed_error() -> None:
    """A right file taken for a wrong one, and the other way round, are counted as such."""
    cases = [case for case in draw_cases(seed=3, count=12) if outcome(case).refused]
    assert cases
    as_right = [Edited(case.kind, case.graph, {}, idle=False) for case in cases[:3]]
    counts, wrong = measure(iter(as_right))
    assert counts["refused rightly"] == 0
    assert {fault for fault, *_ in wrong} == {"false alarm"}


def test_bases_and_edits_are_drawn_reproducibly() -> None:
    first, second = (edited(random.Random(5), *next(bases(random.Random(4)))) for _ in range(2))
    assert first == second
