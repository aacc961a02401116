"""1,000 simulated studies a case, with known effects: errors and coverage hold the stated level.

A study measures the base and its variants once a seed. Noise is of the size that published reruns show: paired
differences have a standard deviation of 0.005 to 0.01 AP, another for each variant, and share the base's noise. Counts
are held against the one-sided 99 % bound of the binomial distribution at the stated level.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from regard.ablate.paired import estimate
from regard.ablate.power import power
from regard.ablate.verdict import Verdict, decide

STUDIES = 1000
ALPHA = 0.05
MDE = 0.01
MOST = binom.ppf(0.99, STUDIES, ALPHA)
"""Errors in 1,000 that 99 % of honest procedures stay within: 67."""
SIZES = [(variants, seeds) for variants in (1, 2, 3, 6) for seeds in (3, 5)]


def simulate(effects: NDArray[np.float64], seeds: int, sd: tuple[float, float] = (0.005, 0.01)) -> NDArray[np.float64]:
    """Return paired differences (studies, variants, seeds)."""
    rng = np.random.default_rng((len(effects), seeds))
    spread = rng.uniform(*sd, (STUDIES, len(effects), 1))
    base_share = 0.6 * sd[0]
    base = rng.normal(0, base_share, (STUDIES, 1, seeds))
    own = rng.normal(0, np.sqrt(spread**2 - base_share**2), (STUDIES, len(effects), seeds))
    return effects[None, :, None] + own - base


@pytest.mark.parametrize(("variants", "seeds"), SIZES)
def test_false_differences(variants: int, seeds: int) -> None:
    verdicts = decide(simulate(np.zeros(variants), seeds), ALPHA, MDE)
    assert np.isin(verdicts, (Verdict.HELPS, Verdict.HURTS)).any(axis=1).sum() <= MOST


@pytest.mark.parametrize(("variants", "seeds"), SIZES)
def test_false_differences_beside_real_ones(variants: int, seeds: int) -> None:
    """Real effects are often found, which loosens the thresholds of the rest; a wrong sign is an error too."""
    effects = np.where(np.arange(variants) % 2, 0.05, 0.0)
    verdicts = decide(simulate(effects, seeds), ALPHA, MDE)
    wrong = np.where(effects > 0, verdicts == Verdict.HURTS, np.isin(verdicts, (Verdict.HELPS, Verdict.HURTS)))
    assert wrong.any(axis=1).sum() <= MOST


@pytest.mark.parametrize(("variants", "seeds"), SIZES)
def test_false_equivalence(variants: int, seeds: int) -> None:
    """At the margin itself the error is greatest; every other variant has no effect and may be called equivalent."""
    effects = np.where(np.arange(variants) % 2, 0.0, -MDE)
    verdicts = decide(simulate(effects, seeds, (0.001, 0.01)), ALPHA, MDE)
    assert (verdicts[:, effects != 0] == Verdict.NO_DIFFERENCE).any(axis=1).sum() <= MOST


@pytest.mark.parametrize(("variants", "seeds"), SIZES)
def test_intervals_cover(variants: int, seeds: int) -> None:
    effects = np.linspace(-0.02, 0.03, variants)
    paired = estimate(simulate(effects, seeds))

    def misses(level: float) -> NDArray[np.bool_]:
        low, high = paired.interval(level)
        return (effects < low) | (effects > high)

    assert misses(1 - ALPHA).sum(axis=0).max() <= MOST
    assert misses(1 - ALPHA / variants).any(axis=1).sum() <= MOST


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_power_comes_true(seeds: int) -> None:
    """Of one variant just as often as predicted, of the first of four at least as often; within the 99 % bounds."""
    for variants in (1, 4):
        predicted = float(power(MDE, 0.007, seeds, ALPHA, variants))
        helps = decide(simulate(np.full(variants, MDE), seeds, (0.007, 0.007)), ALPHA, MDE) == Verdict.HELPS
        assert helps[:, 0].sum() >= binom.ppf(0.005, STUDIES, predicted)
        assert variants > 1 or helps[:, 0].sum() <= binom.ppf(0.995, STUDIES, predicted)


def test_more_seeds_settle_more() -> None:
    effects = np.array([0.02, 0.0, -0.02])
    few, many = (decide(simulate(effects, seeds), ALPHA, MDE) for seeds in (3, 10))
    right = np.array([Verdict.HELPS, Verdict.NO_DIFFERENCE, Verdict.HURTS])
    assert ((many == right).mean(axis=0) > (few == right).mean(axis=0) + 0.2).all()
    assert (few == Verdict.CANT_TELL).mean() > 0.4
