"""Why one run has a lower AP than another one: nothing but chance, or other settings."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import stdev

from regard.diagnosis.case import Case
from regard.diagnosis.findings import Finding, NotChecked
from regard.diagnosis.record import TrainingRecord

SPREADS = ((2000, 0.005), (500, 0.01), (0, 0.02))
"""Standard deviation of the difference in AP of two seeds, by the least number of validation images, as it occurs."""
LAST_PART = 1 / 3
"""Part of the epochs over which AP of a run fluctuates around its level."""
MOST_LISTED = 6


def seed_noise(case: Case) -> Finding | None:
    """A difference from the second run that another seed could make as well."""
    own, other = _both(case)
    expected = _spread(case)
    if abs(own - other) > 2 * expected:
        return None
    evidence = (
        f"AP {own:.3f} against {other:.3f} of {case.against.folder}: runs that differ only in their seed are up to "
        f"{2 * expected:.3f} apart in 19 of 20 cases (standard deviation about {expected:.3f})"
    )
    return Finding(
        "seed_noise", "note", evidence, "no cause is needed; to compare models, use several seeds: regard ablate"
    )


def changed_settings(case: Case) -> Finding | None:
    """Settings that differ from those of a second run with a clearly higher AP."""
    own, other = _both(case)
    if other - own <= 2 * _spread(case):
        return None
    ours, theirs = case.run.settings, case.against.settings
    names = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)]
    if case.run.package != case.against.package:
        raise NotChecked(f"the second run is one of {case.against.package}, whose settings have other names")
    if not names:
        return None
    listed = [f"{name} {theirs.get(name, 'unset')} -> {ours.get(name, 'unset')}" for name in names[:MOST_LISTED]]
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    evidence = f"AP fell from {other:.3f} to {own:.3f}, and {', '.join(listed)}{more} changed"
    return Finding("changed_settings", "possible", evidence, "change one of them back at a time")


def _both(case: Case) -> tuple[float, float]:
    found = [run.best for run in (case.run, case.against)]
    if found[0] is None or found[1] is None:
        raise NotChecked("a run has no AP")
    return found[0][1], found[1][1]


def _spread(case: Case) -> float:
    """Standard deviation of the difference of two runs: from their fluctuation, at least what is usual."""
    try:
        images = len(case.dataset.splits.get("val", ()))
    except NotChecked:
        images = SPREADS[0][0]
    usual = next(spread for least, spread in SPREADS if images >= least)
    return max(usual, math.hypot(_fluctuation(case.run), _fluctuation(case.against)))


def _fluctuation(run: TrainingRecord) -> float:
    """Standard deviation of AP over the last epochs, from differences of neighbours, which a trend changes little."""
    values = [value for _, value in run.values("ap")]
    last = values[-max(round(LAST_PART * len(values)), 4) :]
    steps = [b - a for a, b in pairwise(last)]
    return stdev(steps) / math.sqrt(2) if len(steps) > 1 else 0.0
