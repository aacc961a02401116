"""The verdict on each variant, by a rule that is fixed before the study starts.

1. HELPS or HURTS: the two-sided paired t-test over seeds, Holm-adjusted over the variants, rejects "no difference" at
   level alpha; the sign of the mean difference decides which.
2. Otherwise NO DIFFERENCE larger than the smallest one that matters: two one-sided tests, Holm-adjusted over the
   variants, reject "as large as that, or larger" at level alpha. Not where the metric of what it is compared with is
   below that difference, which it then cannot lose, nor where that model learned next to nothing: such models agree
   whatever their layers are.
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

from regard.ablate.digits import plain
from regard.ablate.folder import RunRecord, StudyRecord
from regard.ablate.schema import METRICS, Role, metric_name
from regard.ablate.statistics import Estimate, Float, estimate, holm, power, seeds_needed

SPREAD_LEVEL = 0.9
"""Coverage of the limits within which the spread of paired differences is assumed to be."""


LEAST_FREEDOM = 4
"""Degrees of freedom below which a standard deviation says too little on the power: with 4, its 90 % interval reaches
from 0.65 to 2.4 times the estimate."""

LEAST_AP = 0.01
"""AP, of whatever kind, below which a detector has learned next to nothing. Untrained ones score 0.001 or less, and up
to 0.004 at IoU 0.5; their recall and F1 are no such measure, as recall is 0.2 to 0.3."""
APS = tuple(metric for metric in METRICS if metric.startswith("ap"))

Obstacle: TypeAlias = Literal["", "untaught", "low", "few_pairs", "no_spread"]
"""Why a variant could not be tested: it is compared with a model that learned next to nothing, or whose metric is below
the smallest difference that matters; too few pairs; differences that are all the same."""


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
        untaught: the other model and its metric, where it learned next to nothing; "" otherwise.
        low: why agreement shows nothing, where the other's metric is below the MDE; "" otherwise.
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
    low: str = ""

    @property
    def obstacle(self) -> Obstacle:
        """What kept it from being tested; "" if nothing did."""
        if self.low:
            return "untaught" if self.untaught else "low"
        if len(self.seeds) < 2:
            return "few_pairs"
        return "no_spread" if np.isnan(self.sd) else ""

    @property
    def reason(self) -> str:
        """Why nothing could be tested; "" if it was."""
        match self.obstacle:
            case "untaught" | "low":
                return self.low
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
        pairs: fewest finished pairs of a variant.
        power: probability of detecting a true difference of the MDE with so many pairs, at Holm's strictest step.
        obstacles: why the power cannot be stated; empty if it can.
        seeds: that would give a power of 0.8; None if not even 1,000 would, or if ``sd`` is NaN.
        seeds_range: the same with ``sd`` at its lower and upper 90 % limit.
    """

    sd: float
    freedom: int
    pairs: int
    power: float
    obstacles: tuple[Obstacle, ...]
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
        judgements={name: _with_level(study, base, judged) for name, judged in judgements.items()},
        controls=alone,
        beyond={
            name: _with_level(study, others[name], judged)
            for name, judged in judge(beyond, study.alpha, study.mde).items()
        },
        power=_power_analysis(study, judgements, [alone[name] for name in capacity]),
    )


def _untaught(study: StudyRecord, name: str) -> str:
    """The mean of the metric of a model that learned next to nothing, in words; "" for another, or if unknown."""
    values = study.measured(name)
    if study.metric not in APS or not values or np.mean(values) >= LEAST_AP:
        return ""
    return f"{plain(float(np.mean(values)), 3)} {metric_name(study.metric)}"


def _with_level(study: StudyRecord, other: str, judged: Judgement) -> Judgement:
    """Note where the other learned next to nothing, and take back "no difference" where it could not lose as much."""
    values, untaught = study.measured(other), _untaught(study, other)
    if judged.verdict is not Verdict.NO_DIFFERENCE or not values:
        return replace(judged, untaught=untaught)
    level, metric = float(np.mean(values)), metric_name(study.metric)
    shown = plain(level, 3)
    if untaught:
        low = f"{other} has a mean {metric} of {shown}: it learned next to nothing"
    elif 0 <= level < study.mde:  # a metric that can be negative can fall further
        low = f"{other} has a mean {metric} of {shown}, below the smallest difference that matters"
    else:
        return judged
    return replace(judged, verdict=Verdict.CANT_TELL, is_small=False, untaught=untaught, low=low)


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


def _power_analysis(
    study: StudyRecord, judgements: Mapping[str, Judgement], controls: Sequence[Judgement]
) -> PowerAnalysis:
    known = [(len(j.seeds) - 1, j.sd) for j in (*judgements.values(), *controls) if not math.isnan(j.sd)]
    freedom, pairs = sum(own for own, _ in known), min((len(j.seeds) for j in judgements.values()), default=0)
    obstacles = _obstacles(study, judgements, freedom)
    if not known:
        return PowerAnalysis(math.nan, 0, pairs, math.nan, obstacles, None, (None, None))
    tests = max(len(judgements), 1)
    squares = sum(own * sd**2 for own, sd in known)
    sd = math.sqrt(squares / freedom)
    tail = (1 - SPREAD_LEVEL) / 2
    limits = [math.sqrt(squares / chdtri(freedom, own)) for own in (tail, 1 - tail)]
    few, some, many = (seeds_needed(study.mde, own, study.alpha, tests) for own in (limits[0], sd, limits[1]))
    detected = float(power(study.mde, sd, pairs, study.alpha, tests))
    return PowerAnalysis(sd, freedom, pairs, detected, obstacles, some, (few, many))


def _obstacles(study: StudyRecord, judgements: Mapping[str, Judgement], freedom: int) -> tuple[Obstacle, ...]:
    """Why the power cannot be stated: it needs the spread of every variant, known to about its double."""
    found: list[Obstacle] = ["untaught"] if _untaught(study, study.base.name) else []
    met = {judged.obstacle for judged in judgements.values()}
    found += [obstacle for obstacle in ("few_pairs", "no_spread") if obstacle in met]
    return tuple(found) if found or freedom >= LEAST_FREEDOM else ("few_pairs",)
