"""What paired differences say: an interval (Student's t), and tests of difference and of equivalence.

Both detectors of a pair were trained with one seed, so whatever the seed does to both cancels. Every function works on
the last axis, seeds, and on any number of leading ones; NaN marks a pair that is missing. Differences that all agree
to the last digit carry no information about their spread: they get no interval, and no test rejects.

Equivalence: two one-sided tests, Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657. Holm 1979, Scand. J. Stat. 6:65.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Float = NDArray[np.float64]

NO_SPREAD = 1e-12
"""A standard deviation up to this is rounding."""


@dataclass(frozen=True)
class Estimate:
    """Mean and spread of paired differences, arrays of one shape.

    Attributes:
        pairs: number of pairs.
        mean: NaN without any pair.
        sd: standard deviation with pairs - 1 degrees of freedom; NaN below two pairs or where there is no spread.
    """

    pairs: NDArray[np.int64]
    mean: Float
    sd: Float

    @property
    def error(self) -> Float:
        """Standard error of the mean; NaN where ``sd`` is."""
        error: Float = self.sd / np.sqrt(np.maximum(self.pairs, 1))
        return error

    def interval(self, level: float | Float) -> tuple[Float, Float]:
        """Return the lower and upper end of the t interval; NaN where ``sd`` is.

        Args:
            level: of coverage, in 0..1.
        """
        reach = stdtrit(self._freedom, (1 + np.asarray(level)) / 2) * self.error
        return self.mean - reach, self.mean + reach

    def p_difference(self) -> Float:
        """Return the two-sided p value of "the true difference is 0"; 1 where ``sd`` is NaN."""
        return _known(2 * stdtr(self._freedom, -np.abs(self.mean / self.error)))

    def p_equivalence(self, margin: float) -> Float:
        """Return the p value of "the true difference is ``margin`` or more, up or down"; 1 where ``sd`` is NaN."""
        return _known(stdtr(self._freedom, (np.abs(self.mean) - margin) / self.error))

    @property
    def _freedom(self) -> NDArray[np.int64]:
        return np.maximum(self.pairs - 1, 1)


def estimate(differences: Float) -> Estimate:
    """Return mean and spread over the last axis of (..., seeds) differences; NaN where a pair is missing."""
    there = ~np.isnan(differences)
    pairs = there.sum(axis=-1)
    mean = np.where(there, differences, 0).sum(axis=-1) / np.where(pairs, pairs, np.nan)
    squares = np.where(there, differences - mean[..., None], 0) ** 2
    sd = np.sqrt(squares.sum(axis=-1) / np.where(pairs > 1, pairs - 1, np.nan))
    return Estimate(pairs, mean, np.where(sd > NO_SPREAD, sd, np.nan))


def holm(p_values: Float) -> Float:
    """Return p values (..., tests) adjusted over the last axis, so that any false rejection has the stated level.

    Step-down: the smallest times the number of tests, the next times one less ..., never below an earlier one, at
    most 1. Valid however the tests depend on each other, as they do through the base that they share.
    """
    order = np.argsort(p_values, axis=-1)
    tests = p_values.shape[-1]
    stepped = np.take_along_axis(p_values, order, axis=-1) * np.arange(tests, 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(stepped, axis=-1), 1)
    result = np.empty_like(adjusted)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result


def _known(p_value: Float) -> Float:
    return np.where(np.isnan(p_value), 1.0, p_value)
