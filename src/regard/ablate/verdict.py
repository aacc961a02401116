"""The verdict on each variant, by a rule that is fixed before the study starts.

1. HELPS or HURTS: the two-sided paired t-test over seeds, Holm-adjusted over the variants, rejects "no difference" at
   level alpha; the sign of the mean difference says which.
2. Otherwise NO DIFFERENCE larger than the smallest one that matters: two one-sided tests, Holm-adjusted over the
   variants, reject "as large as that, or larger" at level alpha.
3. Otherwise one CAN'T TELL at this budget.

Over all variants of a study, the probability of any false "helps" or "hurts" is at most alpha, and so is that of any
false "no difference". Variants that could not be tested keep their place among those that the correction counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from regard.ablate.paired import Estimate, Float, estimate, holm


class Verdict(IntEnum):
    """What the study says of a variant."""

    CANT_TELL = 0
    HELPS = 1
    HURTS = 2
    NO_DIFFERENCE = 3

    @property
    def words(self) -> str:
        """As it is printed."""
        return ("can't tell", "helps", "hurts", "no difference larger than the MDE")[self]


@dataclass(frozen=True)
class Judgement:
    """What the seeds say of one variant against another.

    Attributes:
        seeds: that both have finished.
        differences: of the metric, the variant's less the other's, one a seed.
        mean: of the differences; NaN without any.
        sd: of the differences; NaN below two or where all agree to the last digit.
        interval: that covers the true difference of this variant with probability 1 - alpha; NaN where ``sd`` is.
        joint: likewise, but all variants' intervals cover theirs with probability 1 - alpha (Bonferroni).
        p: of no difference, adjusted (Holm).
        p_alone: the same, not adjusted.
        p_equivalence: of a difference of the MDE or more, adjusted (Holm).
        verdict: by the rule.
        is_small: whether a difference of the MDE or more is excluded too.
    """

    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    sd: float
    interval: tuple[float, float]
    joint: tuple[float, float]
    p: float
    p_alone: float
    p_equivalence: float
    verdict: Verdict
    is_small: bool

    @property
    def reason(self) -> str:
        """Why nothing could be tested; "" if it was."""
        if len(self.seeds) < 2:
            return (
                f"{len(self.seeds)} finished pair{'s' * (len(self.seeds) != 1)}: no interval, at least two are needed"
            )
        if np.isnan(self.sd):
            return "the difference is the same to the last digit for every seed, so its spread is unknown"
        return ""


def decide(differences: Float, alpha: float, mde: float) -> NDArray[np.int64]:
    """Return the verdicts (..., variants), as `Verdict`, on differences (..., variants, seeds).

    Args:
        differences: NaN where a pair is missing.
        alpha: level over all variants of a study.
        mde: smallest difference that matters, in units of the metric; at 0 nothing is ever without difference.
    """
    paired = estimate(differences)
    sign = np.where(paired.mean > 0, Verdict.HELPS, Verdict.HURTS)
    rest = np.where(holm(paired.p_equivalence(mde)) <= alpha, Verdict.NO_DIFFERENCE, Verdict.CANT_TELL)
    return np.where(holm(paired.p_difference()) <= alpha, sign, rest)


def judge(differences: Mapping[str, Mapping[int, float]], alpha: float, mde: float) -> dict[str, Judgement]:
    """Return the judgement on each variant, given its paired differences by seed.

    Args:
        differences: of every variant that the correction is to count, also of those without any.
        alpha: level over all of them.
        mde: smallest difference that matters, in units of the metric.
    """
    if not differences:
        return {}
    seeds = sorted({seed for by_seed in differences.values() for seed in by_seed})
    table = np.array([[by_seed.get(seed, np.nan) for seed in seeds] for by_seed in differences.values()])
    table = table.reshape(len(differences), len(seeds))
    paired = estimate(table)
    columns = _columns(paired, alpha, mde)
    verdicts = decide(table, alpha, mde)
    return {
        name: _judgement(seeds, row, alpha, Verdict(verdict), values)
        for name, row, verdict, values in zip(differences, table, verdicts, columns.T, strict=True)
    }


def _columns(paired: Estimate, alpha: float, mde: float) -> Float:
    alone = paired.p_difference()
    ends = paired.interval(1 - alpha) + paired.interval(1 - alpha / len(paired.mean))
    tests = (holm(alone), alone, holm(paired.p_equivalence(mde)))
    return np.stack([paired.mean, paired.sd, *ends, *tests])


def _judgement(seeds: Sequence[int], row: Float, alpha: float, verdict: Verdict, values: Float) -> Judgement:
    mean, sd, low, high, joint_low, joint_high, p, alone, equivalence = values.tolist()
    there = ~np.isnan(row)
    return Judgement(
        seeds=tuple(seed for seed, is_there in zip(seeds, there, strict=True) if is_there),
        differences=tuple(row[there].tolist()),
        mean=mean,
        sd=sd,
        interval=(low, high),
        joint=(joint_low, joint_high),
        p=p,
        p_alone=alone,
        p_equivalence=equivalence,
        verdict=verdict,
        is_small=equivalence <= alpha,
    )
