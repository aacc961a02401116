"""The figures of a report: the forest plot's axis, the frontier, bands, ticks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_study import fake_study

from regard.ablate.report.figures import Point, band, frontier, standing_alone, tick_text
from regard.ablate.report.forest_plot import ForestRow, forest
from regard.ablate.verdict import judge


def ticks(differences: dict[str, dict[int, float]], mde: float) -> list[float]:
    """Values on the axis, after checking that no ring is outside."""
    rows = [ForestRow(name, "", found, "helps") for name, found in judge(differences, 0.05, mde).items()]
    svg = forest(rows, mde, "AP", wide=True)
    groups = re.findall(r'<g id="\w+-seeds-\d+">(.*?)\n   </g>', svg, re.DOTALL)
    rings = [float(x) for group in groups for x in re.findall(r'<use [^>]* x="([\d.]+)"', group)]
    assert len(rings) == sum(map(len, differences.values()))
    assert all(280 <= x <= 655 for x in rings)
    return [float(text.replace("−", "-")) for text in re.findall(r">([+−]?[\d.]+)</text>", svg) if len(text) < 6]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_side_without_anything_is_short(sign: int) -> None:
    found = sorted(sign * tick for tick in ticks({"a": {0: sign * 0.48, 1: sign * 0.5, 2: sign * 0.49}}, 0.05))
    assert found[0] >= -0.2
    assert found[-1] >= 0.4


def test_the_band_of_what_does_not_matter_fits() -> None:
    found = ticks({"a": {0: 0.001, 1: 0.002, 2: 0.0}}, 0.02)
    assert (min(found), max(found)) == (-0.02, 0.02)


def test_an_interval_of_two_seeds_does_not_squeeze_the_rest() -> None:
    """Its 95 % interval reaches to 0.12: shown as an arrow at three times the greatest difference."""
    assert max(ticks({"a": {0: 0.0, 1: 0.02}}, 0.001)) <= 0.08


def test_without_a_finished_pair() -> None:
    assert ticks({"a": {}}, 0.01) == [-0.01, 0, 0.01]


def test_band_over_seeds(tmp_path: Path) -> None:
    runs = fake_study(tmp_path).runs[:2]
    rows = ([{"epoch": 1.0, "val/ap": 0.2}, {"epoch": 2.0, "val/ap": 0.6}], [{"epoch": 1.0, "val/ap": 0.4}])
    curves = [replace(run, curve=curve) for run, curve in zip(runs, rows, strict=True)]
    expected = [(1.0, 0.2, pytest.approx(0.3), 0.4), (2.0, 0.6, 0.6, 0.6)]
    assert band(curves, "val/ap") == expected


def test_frontier() -> None:
    points = [Point(n, "variant", ms, ap, ap, ap) for n, ms, ap in (("a", 2, 0.3), ("b", 1, 0.2), ("c", 3, 0.25))]
    assert [point.name for point in frontier(points)] == ["b", "a"]
    assert [point.name for point in frontier([*points, Point("d", "variant", 1, 0, 0.3, 1)])] == ["d"]


def test_ticks() -> None:
    values = [-0.02, 0, 0.02, 0.04]
    assert [tick_text(v, values, sign=True) for v in values] == ["−0.02", "0", "+0.02", "+0.04"]
    assert [tick_text(v, [5, 10, 15]) for v in (5, 10)] == ["5", "10"]


def test_hostile_names_stay_text() -> None:
    name = '<b>"A&B"</b>$x$'
    (row,) = (ForestRow(name, "", found, "helps") for found in judge({name: {0: 0.1, 1: 0.2}}, 0.05, 0.01).values())
    for svg in (forest([row], 0.01, "AP", wide=False), standing_alone(forest([row], 0.01, "AP", wide=True))):
        root = ElementTree.fromstring(svg)
        assert any(name == text.text for text in root.iter("{http://www.w3.org/2000/svg}text"))
        assert name in root.attrib["aria-label"]
