"""Power against SciPy's noncentral t, and the seeds that a power takes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from regard.ablate.power import power, seeds_needed


@pytest.mark.parametrize("pairs", [2, 3, 5, 20, 200])
@pytest.mark.parametrize("tests", [1, 6])
def test_power_is_that_of_the_noncentral_t(pairs: int, tests: int) -> None:
    shift, threshold = 0.01 * np.sqrt(pairs) / 0.007, stats.t.ppf(1 - 0.05 / tests / 2, pairs - 1)
    expected = stats.nct.sf(threshold, pairs - 1, shift) + stats.nct.cdf(-threshold, pairs - 1, shift)
    assert power(0.01, 0.007, pairs, 0.05, tests) == pytest.approx(expected, abs=1e-9)
    assert power(-0.01, 0.007, pairs, 0.05, tests) == pytest.approx(expected, abs=1e-9)


def test_power_without_difference_is_the_level() -> None:
    assert power(0, 0.007, 5, 0.05) == pytest.approx(0.05)


@pytest.mark.parametrize(("difference", "sd", "pairs", "expected"), [(0.01, 0, 3, 1), (0, 0, 3, 0), (9, 1, 1, 0)])
def test_edges(difference: float, sd: float, pairs: int, expected: float) -> None:
    assert power(difference, sd, pairs, 0.05) == expected


def test_seeds_from_the_textbook() -> None:
    """Cohen 1988: a paired effect of 0.5 standard deviations at level .05 with power .8 takes 34 pairs."""
    assert seeds_needed(0.5, 1, 0.05) == 34
    assert power(0.5, 1, 34, 0.05) >= 0.8 > power(0.5, 1, 33, 0.05)


def test_seeds_beyond_count() -> None:
    assert seeds_needed(0.001, 1, 0.05) is None
    assert seeds_needed(0.01, 0, 0.05) == 2
