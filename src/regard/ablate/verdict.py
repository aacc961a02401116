"""The verdict on each variant, by a rule that is fixed before the study starts.

1. HELPS or HURTS: the two-sided paired t-test over seeds, Holm-adjusted over the variants, rejects "no difference" at
   level alpha; the sign of the mean difference decides which.
2. Otherwise NO DIFFERENCE larger than the smallest one that matters: two one-sided tests, Holm-adjusted over the
   variants, reject "as large as that, or larger" at level alpha. Not where the metric of what it is compared with is
   below that difference itself: models that learned nothing agree whatever their layers are.
3. Otherwise CAN'T TELL at this budget.

Over all variants of a study, the probability of any false "helps" or "hurts" is at most alpha, and so is that of any
false "no difference". Variants that could not be tested still count in the correction. Every variant against the base
is one family of tests; variants against their capacity controls are a second question with a separate correction.
Controls against the base are shown, not judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from regard.ablate.folder import RunRecord, StudyRecord
from regard.ablate.schema import Role, metric_name
from regard.ablate.statistics import Estimate, Float, estimate, holm, power, seeds_needed

SPREAD_LEVEL = 0.9
"""Coverage of the limits within which the spread of paired differences is assumed to be."""


Obstacle: TypeAlias = Literal["", "untaught", "few_pairs", "no_spread"]
"""Why a variant could not be tested: models that learned nothing, too few pairs, differences that are all the same."""


class Verdict(IntEnum):
    """Conclusion about a variant."""

    CANT_TELL = 0
    HELPS = 1
    HURTS = 2
    NO_DIFFERENCE = 3

    @property
    def label(self) -> str:
        """The verdict as it is printed."""
        return ("can't tell", "helps", "hurts", "no difference larger than the MDE")[self]


@dataclass(frozen=True)
class Judgement:
    """Result of one variant against another, over their common seeds.

    Attributes:
        seeds: that both have finished.
        differences: of the metric, the variant's minus the other's, one per seed.
        mean: of the differences; NaN without any.
        sd: of the differences; NaN below two or if all agree to the last digit.
        interval: covers the true difference of this variant with probability 1 - alpha; NaN if ``sd`` is.
        joint: as ``interval``, but all variants' cover theirs at once with probability 1 - alpha (Bonferroni).
        p: p value of no difference, adjusted (Holm).
        p_alone: the same, not adjusted.
        p_equivalence: p value of a difference of the MDE or more, adjusted (Holm).
        verdict: by the rule.
        is_small: whether a difference of the MDE or more is excluded too.
        untaught: why agreement says nothing, where the other learned nothing; "" otherwise.
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
    untaught: str = ""

    @property
    def obstacle(self) -> Obstacle:
        """What kept it from being tested; "" if nothing did."""
        if self.untaught:
            return "untaught"
        if len(self.seeds) < 2:
            return "few_pairs"
        return "no_spread" if np.isnan(self.sd) else ""

    @property
    def reason(self) -> str:
        """Why nothing could be tested; "" if it was."""
        match self.obstacle:
            case "untaught":
                return self.untaught
            case "few_pairs":
                seeds = len(self.seeds)
                return f"{seeds} finished pair{'s' * (seeds != 1)}: no interval, at least two are needed"
            case "no_spread":
                return "the difference is the same to the last digit for every seed, so its spread is unknown"
            case _:
                return ""


def decide(differences: Float, alpha: float, mde: float) -> NDArray[np.int64]:
    """Decide on differences (..., variants, seeds): `Verdict` values (..., variants).

    Args:
        differences: NaN where a pair is missing.
        alpha: level over all variants of a study.
        mde: smallest difference that matters, in units of the metric; at 0 no variant is ever without difference.
    """
    paired = estimate(differences)
    sign = np.where(paired.mean > 0, Verdict.HELPS, Verdict.HURTS)
    rest = np.where(holm(paired.p_equivalence(mde)) <= alpha, Verdict.NO_DIFFERENCE, Verdict.CANT_TELL)
    return np.where(holm(paired.p_difference()) <= alpha, sign, rest)


def judge(differences: Mapping[str, Mapping[int, float]], alpha: float, mde: float) -> dict[str, Judgement]:
    """Judge each variant, given its paired differences by seed.

    Args:
        differences: of every variant that counts in the correction, also of those without any.
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


@dataclass(frozen=True)
class PowerAnalysis:
    """What the study could detect, given the spread of its paired differences.

    Attributes:
        sd: standard deviation of paired differences, pooled over the comparisons of variants and capacity controls
            with the base; NaN if unknown. The noise control has another order of images, so its differences vary more.
        freedom: degrees of freedom of ``sd``.
        power: probability of detecting a true difference of the MDE with the planned seeds, at Holm's strictest step.
        seeds: that would give a power of 0.8; None if not even 1,000 would, or if ``sd`` is NaN.
        seeds_range: the same with ``sd`` at its lower and upper 90 % limit.
    """

    sd: float
    freedom: int
    power: float
    seeds: int | None
    seeds_range: tuple[int | None, int | None]


@dataclass(frozen=True)
class Results:
    """Results of a study.

    Attributes:
        judgements: of every variant against the base, by name.
        controls: of every capacity and noise control against the base, each by itself; ignore their verdicts.
        beyond: of every variant that has a capacity control, against that.
        power: what the study could detect.
    """

    judgements: Mapping[str, Judgement]
    controls: Mapping[str, Judgement]
    beyond: Mapping[str, Judgement]
    power: PowerAnalysis


def analyse(study: StudyRecord) -> Results:
    """Analyse the finished runs of a study; a pure function of its record."""
    base = study.base.name
    variants = names_of(study, "variant")
    capacity = names_of(study, "capacity control")
    controls = [*capacity, *names_of(study, "noise control")]
    beyond = {v.controls: differences(study, v.controls, v.name) for v in study.variants if v.controls}
    judgements = judge({name: differences(study, name, base) for name in variants}, study.alpha, study.mde)
    alone = {name: judge({name: differences(study, name, base)}, study.alpha, study.mde)[name] for name in controls}
    others = {v.controls: v.name for v in study.variants if v.controls}
    return Results(
        judgements={name: _if_taught(study, base, judged) for name, judged in judgements.items()},
        controls=alone,
        beyond={
            name: _if_taught(study, others[name], judged)
            for name, judged in judge(beyond, study.alpha, study.mde).items()
        },
        power=_power_analysis(
            study, [*judgements.values(), *(alone[name] for name in capacity)], max(len(variants), 1)
        ),
    )


def _if_taught(study: StudyRecord, other: str, judged: Judgement) -> Judgement:
    """Take back "no difference" where the other's metric is below the MDE, so that there was none to lose."""
    values = [run.metrics.get(study.metric, math.nan) for run in study.finished(other).values()]
    if judged.verdict is not Verdict.NO_DIFFERENCE or not values or float(np.mean(values)) >= study.mde:
        return judged
    metric, level = metric_name(study.metric), f"{np.mean(values):.3f}"
    why = f"{other} has a mean {metric} of {level}, below the smallest difference that matters"
    return replace(judged, verdict=Verdict.CANT_TELL, is_small=False, untaught=f"{why}: it learned nothing yet")


def names_of(study: StudyRecord, role: Role) -> list[str]:
    """Names of the variants that have a role."""
    return [variant.name for variant in study.variants if variant.role == role]


def differences(
    study: StudyRecord, variant: str, other: str, of: Callable[[RunRecord], float] | None = None
) -> dict[int, float]:
    """Paired differences by seed, the variant's minus the other's, if both have finished.

    Args:
        study: the study.
        variant: name of a variant.
        other: name of another.
        of: value of a run; by default the metric that decides. Pairs without a number are left out.
    """
    of = of or (lambda run: run.metrics.get(study.metric, math.nan))
    ours, theirs = study.finished(variant), study.finished(other)
    pairs = {seed: of(ours[seed]) - of(theirs[seed]) for seed in study.seeds if seed in ours and seed in theirs}
    return {seed: value for seed, value in pairs.items() if math.isfinite(value)}


def _power_analysis(study: StudyRecord, judgements: Sequence[Judgement], tests: int) -> PowerAnalysis:
    known = [(len(j.seeds) - 1, j.sd) for j in judgements if not math.isnan(j.sd)]
    if not known:
        return PowerAnalysis(math.nan, 0, math.nan, None, (None, None))
    freedom = sum(own for own, _ in known)
    squares = sum(own * sd**2 for own, sd in known)
    sd = math.sqrt(squares / freedom)
    tail = (1 - SPREAD_LEVEL) / 2
    limits = [math.sqrt(squares / chdtri(freedom, own)) for own in (tail, 1 - tail)]
    few, some, many = (seeds_needed(study.mde, own, study.alpha, tests) for own in (limits[0], sd, limits[1]))
    detected = power(study.mde, sd, len(study.seeds), study.alpha, tests)
    return PowerAnalysis(sd, freedom, float(detected), some, (few, many))
