"""What a study found: a pure function of its record.

The family that is judged, and corrected for, is every variant against the base. Variants against their capacity
controls are a second question with a correction of its own. Controls against the base are shown, not judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import chdtri

from regard.ablate.power import power, seeds_needed
from regard.ablate.record import Role, StudyRecord
from regard.ablate.verdict import Judgement, judge

SPREAD_LEVEL = 0.9
"""Coverage of the limits within which the spread of paired differences is taken to lie."""


@dataclass(frozen=True)
class Outlook:
    """What the study could see, given how far its paired differences spread.

    Attributes:
        sd: standard deviation of paired differences, pooled over the comparisons of variants and capacity controls
            with the base; NaN if unknown. The noise control has an order of its own, so its differences spread wider.
        power: probability to call a true difference of the MDE at the planned seeds, at the strictest step of Holm's.
        seeds: that would give a power of 0.8; None if not even 1,000 would, or if ``sd`` is NaN.
        seeds_range: the same with ``sd`` at its lower and upper 90 % limit.
    """

    sd: float
    power: float
    seeds: int | None
    seeds_range: tuple[int | None, int | None]


@dataclass(frozen=True)
class Findings:
    """What a study found.

    Attributes:
        judgements: on every variant against the base, by name.
        controls: every capacity and noise control against the base, each by itself; their verdicts mean nothing.
        beyond: on every variant that has a capacity control, against that.
        outlook: what the study could see.
    """

    judgements: Mapping[str, Judgement]
    controls: Mapping[str, Judgement]
    beyond: Mapping[str, Judgement]
    outlook: Outlook


def analyse(study: StudyRecord) -> Findings:
    """Return what the finished runs of a study say, however many there are."""
    base = study.base.name
    variants = names_of(study, "variant")
    capacity = names_of(study, "capacity control")
    controls = [*capacity, *names_of(study, "noise control")]
    beyond = {v.controls: differences(study, v.controls, v.name) for v in study.variants if v.controls}
    judgements = judge({name: differences(study, name, base) for name in variants}, study.alpha, study.mde)
    alone = {name: judge({name: differences(study, name, base)}, study.alpha, study.mde)[name] for name in controls}
    return Findings(
        judgements=judgements,
        controls=alone,
        beyond=judge(beyond, study.alpha, study.mde),
        outlook=_outlook(study, [*judgements.values(), *(alone[name] for name in capacity)], max(len(variants), 1)),
    )


def names_of(study: StudyRecord, role: Role) -> list[str]:
    """Return the names of the variants that have a role."""
    return [variant.name for variant in study.variants if variant.role == role]


def differences(study: StudyRecord, variant: str, other: str, metric: str | None = None) -> dict[int, float]:
    """Return by seed how much more of the metric a variant has than another, where both have finished."""
    metric = metric or study.metric
    ours, theirs = study.finished(variant), study.finished(other)
    found = {
        seed: ours[seed].metrics.get(metric, math.nan) - theirs[seed].metrics.get(metric, math.nan)
        for seed in study.seeds
        if seed in ours and seed in theirs
    }
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def _outlook(study: StudyRecord, judgements: Sequence[Judgement], tests: int) -> Outlook:
    known = [(len(j.seeds) - 1, j.sd) for j in judgements if not math.isnan(j.sd)]
    if not known:
        return Outlook(math.nan, math.nan, None, (None, None))
    freedom = sum(own for own, _ in known)
    squares = sum(own * sd**2 for own, sd in known)
    sd = math.sqrt(squares / freedom)
    tail = (1 - SPREAD_LEVEL) / 2
    limits = [math.sqrt(squares / chdtri(freedom, own)) for own in (tail, 1 - tail)]
    few, some, many = (seeds_needed(study.mde, own, study.alpha, tests) for own in (limits[0], sd, limits[1]))
    seen = power(study.mde, sd, len(study.seeds), study.alpha, tests)
    return Outlook(sd, float(seen), some, (few, many))
