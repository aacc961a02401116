"""The forest plot's axis."""

from __future__ import annotations

import re

import pytest

from regard.ablate.report.forest import ForestRow, forest
from regard.ablate.verdict import judge


def ticks(differences: dict[str, dict[int, float]], mde: float) -> list[float]:
    """Return the values on the axis, after a look that no ring is off the sheet."""
    rows = [ForestRow(name, "", found, "helps") for name, found in judge(differences, 0.05, mde).items()]
    svg = forest(rows, mde, "AP", wide=True)
    rings = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)]
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
