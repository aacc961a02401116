"""How likely a study of so many seeds is to see a difference, and how many seeds it would take (noncentral t).

With D the true difference and s the standard deviation of the paired differences, t over n pairs follows the
noncentral t distribution with n - 1 degrees of freedom and noncentrality D sqrt(n) / s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ncfdtr, stdtrit

ENOUGH = 0.8
"""The power that is usually asked for."""
MOST = 1000
"""Seeds; more are not counted."""


def power(
    difference: float, sd: float, pairs: int | NDArray[np.int64], alpha: float, tests: int = 1
) -> NDArray[np.float64]:
    """Return the probability that the two-sided paired t-test rejects when the true difference is ``difference``.

    Args:
        difference: in units of the metric.
        sd: true standard deviation of the paired differences.
        pairs: number of seeds that both have finished; below 2 the power is 0.
        alpha: level over all tests.
        tests: how many share it. Each is reckoned at alpha / tests, the strictest step of Holm's, so with several
            the true power is at least what is returned.
    """
    pairs = np.asarray(pairs)
    freedom = np.maximum(pairs - 1, 1)
    if sd <= 0:
        return np.where((pairs > 1) & (difference != 0), 1.0, 0.0)
    shift = abs(difference) * np.sqrt(pairs) / sd
    threshold = stdtrit(freedom, 1 - alpha / tests / 2)
    rejects = 1 - ncfdtr(1, freedom, shift**2, threshold**2)  # both sides in one: the square of t is an F
    return np.where(pairs > 1, np.clip(rejects, 0, 1), 0.0)


def seeds_needed(difference: float, sd: float, alpha: float, tests: int = 1, enough: float = ENOUGH) -> int | None:
    """Return the fewest seeds that give the power ``enough``; None if not even 1,000 do. See `power`."""
    pairs = np.arange(2, MOST + 1)
    sufficient = np.flatnonzero(power(difference, sd, pairs, alpha, tests) >= enough)
    return int(pairs[sufficient[0]]) if sufficient.size else None
