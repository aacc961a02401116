"""Statistics of paired differences: t intervals, tests of difference and equivalence, Holm, power, image bootstrap.

Both runs of a pair share one seed, so the effect of the seed on both cancels. `estimate` and `Estimate` work on the
last axis, seeds, and on any number of leading ones; NaN marks a missing pair. Differences that all agree to the last
digit carry no information about their spread: they get no interval, and no test rejects.

- Equivalence: two one-sided tests, Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657.
- Correction for several tests: Holm 1979, Scand. J. Stat. 6:65.
- Power: with D the true difference and s the standard deviation of paired differences, t over n pairs follows the
  noncentral t distribution with n - 1 degrees of freedom and noncentrality D sqrt(n) / s.
- Bootstrap over images: Efron 1979, Ann. Statist. 7:1. The detectors stay as they are, so it shows nothing about
  another seed: it is shown next to the interval over seeds and does not replace it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ncfdtr, stdtr, stdtrit

Float = NDArray[np.float64]

NO_SPREAD = 1e-12
"""Largest standard deviation that is rounding."""

ENOUGH = 0.8
"""Power that is usually asked for."""

MOST = 1000
"""Largest number of seeds that is considered."""

DRAWS = 1000
"""Default number of bootstrap draws."""


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
        """Lower and upper end of the t interval; NaN where ``sd`` is.

        Args:
            level: of coverage, in 0..1.
        """
        reach = stdtrit(self._freedom, (1 + np.asarray(level)) / 2) * self.error
        return self.mean - reach, self.mean + reach

    def p_difference(self) -> Float:
        """Two-sided p value of "the true difference is 0"; 1 where ``sd`` is NaN."""
        return _known(2 * stdtr(self._freedom, -np.abs(self.mean / self.error)))

    def p_equivalence(self, margin: float) -> Float:
        """p value of "the true difference is ``margin`` or more, up or down"; 1 where ``sd`` is NaN."""
        return _known(stdtr(self._freedom, (np.abs(self.mean) - margin) / self.error))

    @property
    def _freedom(self) -> NDArray[np.int64]:
        return np.maximum(self.pairs - 1, 1)


def estimate(differences: Float) -> Estimate:
    """Compute mean and spread over the last axis of (..., seeds) differences; NaN marks a missing pair.

    Example:
        >>> paired = estimate(np.array([1.0, 2.0, 3.0]))
        >>> float(paired.mean), float(paired.sd), round(float(paired.p_difference()), 4)
        (2.0, 1.0, 0.0742)
    """
    there = ~np.isnan(differences)
    pairs = there.sum(axis=-1)
    mean = np.where(there, differences, 0).sum(axis=-1) / np.where(pairs, pairs, np.nan)
    squares = np.where(there, differences - mean[..., None], 0) ** 2
    sd = np.sqrt(squares.sum(axis=-1) / np.where(pairs > 1, pairs - 1, np.nan))
    return Estimate(pairs, mean, np.where(sd > NO_SPREAD, sd, np.nan))


def holm(p_values: Float) -> Float:
    """Adjust p values (..., tests) over the last axis, so that any false rejection has the stated level.

    Step-down: the smallest times the number of tests, the next times one less ..., never below an earlier one, at
    most 1. Valid however the tests depend on each other, as they do through the shared base.

    Example:
        >>> holm(np.array([0.01, 0.04])).tolist()
        [0.02, 0.04]
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


def power(
    difference: float, sd: float, pairs: int | NDArray[np.int64], alpha: float, tests: int = 1
) -> NDArray[np.float64]:
    """Compute the probability that the two-sided paired t-test rejects, given the true difference.

    Args:
        difference: in units of the metric.
        sd: true standard deviation of the paired differences.
        pairs: number of pairs; below 2 the power is 0.
        alpha: level over all tests.
        tests: number of tests that share it. Each is computed at alpha / tests, the strictest step of Holm's, so with
            several the true power is at least the result.
    """
    pairs = np.asarray(pairs)
    freedom = np.maximum(pairs - 1, 1)
    if sd <= 0:
        return np.where((pairs > 1) & (difference != 0), 1.0, 0.0)
    shift = abs(difference) * np.sqrt(pairs) / sd
    threshold = stdtrit(freedom, 1 - alpha / tests / 2)
    rejects = 1 - ncfdtr(1, freedom, shift**2, threshold**2)  # both sides at once: the square of t is an F
    # Far in the tail SciPy has no value; the power is 1 there to all digits, or the level where nothing differs.
    rejects = np.where(np.isnan(rejects), shift > threshold, rejects)
    return np.where(pairs > 1, np.clip(rejects, 0, 1), 0.0)


def seeds_needed(difference: float, sd: float, alpha: float, tests: int = 1, enough: float = ENOUGH) -> int | None:
    """Find the fewest seeds that give the power ``enough``; None if not even 1,000 do. See `power`.

    Example:
        >>> seeds_needed(difference=0.5, sd=1, alpha=0.05)
        34
    """
    pairs = np.arange(2, MOST + 1)
    sufficient = np.flatnonzero(power(difference, sd, pairs, alpha, tests) >= enough)
    return int(pairs[sufficient[0]]) if sufficient.size else None


def draw_images(images: int, draws: int = DRAWS, seed: int = 0) -> NDArray[np.int64]:
    """Draw images with replacement: (draws, images) how often each was drawn, ``images`` times per draw."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / max(images, 1)), size=draws)


def image_interval(variant: NDArray[np.float64], base: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Compute the percentile interval of the difference of fixed detectors on drawn images, averaged over seeds.

    Args:
        variant: (seeds, draws) the metric on each draw; NaN where a draw has no labelled box.
        base: the same for the base, with the same seeds and draws.
        level: of coverage, in 0..1.

    Returns:
        Lower and upper end; NaN without seeds, or if no draw has a labelled box.
    """
    if not len(variant):
        return np.nan, np.nan
    difference = (variant - base).mean(axis=0)
    known = difference[~np.isnan(difference)]
    if not known.size:
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high
