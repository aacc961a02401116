"""Paired t, TOST and Holm against numbers worked out by hand, and against SciPy's own tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from regard.ablate.paired import estimate, holm

NAN = math.nan


def test_interval_and_p_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, sd 1, error 1/sqrt(3), t = 3.4641 with 2 degrees; tables give t(.975, 2) = 4.3027.

    With 2 degrees the distribution is closed: P(T > t) = (1 - t / sqrt(t^2 + 2)) / 2, so p = 1 - sqrt(12 / 14).
    """
    paired = estimate(np.array([1.0, 2.0, 3.0]))
    assert paired.mean == pytest.approx(2)
    assert paired.sd == pytest.approx(1)
    assert paired.interval(0.95) == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-5)
    assert paired.p_difference() == pytest.approx(1 - math.sqrt(12 / 14))


def test_equivalence_by_hand() -> None:
    """Differences -1, 0, 2 within 5: mean 1/3, sd sqrt(7/3); the nearer margin is 5, t = (1/3 - 5) / (sd / sqrt(3)).

    t^2 = (14/3)^2 / (7/9) = 28, so p = (1 - sqrt(28 / 30)) / 2.
    """
    assert estimate(np.array([-1.0, 0.0, 2.0])).p_equivalence(5) == pytest.approx((1 - math.sqrt(28 / 30)) / 2)
    assert estimate(np.array([1.0, 0.0, -2.0])).p_equivalence(5) == pytest.approx((1 - math.sqrt(28 / 30)) / 2)
    assert estimate(np.array([-1.0, 0.0, 2.0])).p_equivalence(0) > 0.5


def test_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(0.3, 1, (7, 5))
    paired = estimate(differences)
    for i, row in enumerate(differences):
        expected = stats.ttest_1samp(row, 0)
        assert paired.p_difference()[i] == pytest.approx(expected.pvalue)
        interval = expected.confidence_interval(0.9)
        assert [end[i] for end in paired.interval(0.9)] == pytest.approx([interval.low, interval.high])
        sides = [stats.ttest_1samp(row, 1.1, alternative="less"), stats.ttest_1samp(row, -1.1, alternative="greater")]
        assert paired.p_equivalence(1.1)[i] == pytest.approx(max(side.pvalue for side in sides))


def test_missing_pairs_count_for_nothing() -> None:
    full, holed = estimate(np.array([1.0, 2.0, 3.0])), estimate(np.array([1.0, NAN, 2.0, 3.0, NAN]))
    assert [*map(float, (holed.pairs, holed.mean, holed.sd))] == pytest.approx([3, float(full.mean), float(full.sd)])
    assert holed.p_difference() == full.p_difference()


@pytest.mark.parametrize("row", [[], [NAN, NAN], [0.5, NAN], [0.25, 0.25], [0.0, 0.0, 0.0], [0.1, 0.1 + 1e-16]])
def test_without_spread_nothing_is_known(row: list[float]) -> None:
    paired = estimate(np.array(row))
    assert np.isnan(paired.interval(0.95)).all()
    assert [float(paired.p_difference()), float(paired.p_equivalence(9))] == [1, 1]


def test_holm_by_hand() -> None:
    """Sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04; never below an earlier one: .02 .03 .06 .06."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])
    assert holm(np.array([0.02])) == pytest.approx([0.02])
    assert holm(np.zeros((3, 0))).shape == (3, 0)
