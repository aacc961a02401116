"""One row put into YOLOv8, 11, 12 and 26 by hand after any row, with any references forgotten."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hand_edits import (
    FILE,
    HandGraph,
    Place,
    all_follow,
    corrected,
    insert_by_hand,
    left_stale,
    none_follow,
    zoo_graph,
)

from regard.graph.build import check
from regard.graph.read import parse_spec, read_spec

FAMILIES = ("yolov8n", "yolo11n", "yolo12n", "yolo26n")
MODULES = ("SE", "CBAM", "SimAM", "ECA")


def shallow(name: str) -> HandGraph:
    """A stock graph by hand whose blocks are not repeated, which takes less time to build and is wired alike."""
    graph = zoo_graph(name)
    return replace(graph, header=(*graph.header[:-1], "  n: [0.01, 0.25, 1024]"))


def last_row(graph: HandGraph) -> int:
    return len(graph.rows) - 2


def stale_subsets(graph: HandGraph, after: int) -> list[tuple[Place, ...]]:
    """All ways to forget some of the references to rows behind ``after``."""
    places = [place for place, x in graph.references if x > after]
    return [subset for k in range(1, len(places) + 1) for subset in itertools.combinations(places, k)]


def check_rejected(graph: HandGraph, after: int, stale: tuple[Place, ...], module: str) -> None:
    """A file with forgotten references is rejected, and its corrected rows make it the right one."""
    wrong = insert_by_hand(graph, [after], left_stale([after], stale), module)
    found = [finding for finding in check(wrong.spec) if not finding.note]
    assert found, (after, stale)
    right = insert_by_hand(graph, [after], all_follow([after]), module).spec
    assert parse_spec(corrected(wrong.text, found), FILE) == right, (after, stale)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_stock_graph_by_hand_is_accepted(name: str) -> None:
    graph = zoo_graph(name)
    assert graph.spec == read_spec(name)
    assert check(graph.spec) == []


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("count", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_right_insertions_are_accepted(name: str, count: int) -> None:
    graph, draw = shallow(name), random.Random(name)
    rows = list(range(last_row(graph) + 1))
    for after in draw.sample(rows, count) if count else rows:
        for module in [draw.choice(MODULES)] if count else ("SE", "C2f"):
            right = insert_by_hand(graph, [after], all_follow([after]), module)
            assert check(right.spec) == [], (after, module)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("count", [3, pytest.param(0, marks=pytest.mark.slow)])
def test_every_subset_of_forgotten_references_is_rejected_with_the_corrected_rows(name: str, count: int) -> None:
    graph, draw = shallow(name), random.Random(name)
    cases = [(after, stale) for after in range(last_row(graph) + 1) for stale in stale_subsets(graph, after)]
    for after, stale in draw.sample(cases, count) if count else cases:
        check_rejected(graph, after, stale, draw.choice(MODULES))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("count", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_nothing_shifted_is_rejected(name: str, count: int) -> None:
    graph, draw = shallow(name), random.Random(name)
    rows = range(last_row(graph))
    for after in draw.sample(rows, count) if count else rows:
        wrong = insert_by_hand(graph, [after], lambda _place, _x: 0)
        stays = insert_by_hand(graph, [after], none_follow([after])).spec
        found = [finding for finding in check(wrong.spec) if not finding.note]
        assert found, after
        assert parse_spec(corrected(wrong.text, found), FILE) == stays, after


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reference_that_passes_what_was_inserted_gets_a_note(name: str) -> None:
    graph = zoo_graph(name)
    p3 = read_spec(name).index("p3")
    (found,) = check(insert_by_hand(graph, [p3], none_follow([p3])).spec)
    assert found.note
    assert found.what == "reads p3, not p3.se: intended?"
