"""The power of a study in sentences: before it begins, in its report, in a paper, and on the screen."""

from __future__ import annotations

import math

import numpy as np

from regard.ablate.digits import percent, plain
from regard.ablate.folder import StudyRecord
from regard.ablate.schema import metric_name
from regard.ablate.statistics import ENOUGH, MOST, power, seeds_needed
from regard.ablate.verdict import LEAST_FREEDOM, SPREAD_LEVEL, Judgement, PowerAnalysis

SPREADS = (0.005, 0.01, 0.02)
"""Standard deviations of paired differences in AP as they occur: large, medium and small datasets."""


def power_lines(mde: float, metric: str, seeds: int, alpha: float, tests: int) -> list[str]:
    """Describe what a planned study could detect, for spreads of paired differences as they occur.

    Args:
        mde: smallest difference that matters, in units of the metric.
        metric: that decides.
        seeds: number of seeds planned.
        alpha: level over all tests.
        tests: number of variants that share it.
    """
    if seeds < 2:
        return ["power: none; single runs have no pairs to judge, so their differences may be chance"]
    lines = [f"power to detect a difference of {mde:g} {metric} with {seeds} seeds:"]
    for spread in SPREADS:
        detected = float(power(mde, spread, np.asarray(seeds), alpha, tests))
        needed = seeds_needed(mde, spread, alpha, tests) or f"over {MOST}"
        lines.append(f"  {detected:4.0%} if paired differences have an SD of {spread:g}; {needed} seeds give 80%")
    return lines


def needed_line(study: StudyRecord, analysis: PowerAnalysis) -> str:
    """State how many seeds are needed, and how many of them are not planned yet."""
    if math.isnan(analysis.sd):
        return "The number of seeds needed is unknown: no comparison has two finished pairs that differ."
    if "untaught" in analysis.obstacles:
        return "The number of seeds needed is unknown: the base learned next to nothing."
    metric, spread, limits = metric_name(study.metric), plain(analysis.sd, significant=2), percent(SPREAD_LEVEL)
    low, high = (f"more than {MOST:,}" if seeds is None else str(seeds) for seeds in analysis.seeds_range)
    goal = f"to detect a difference of {study.mde:g} {metric} with a probability of {percent(ENOUGH)}"
    if analysis.freedom < LEAST_FREEDOM:
        return (
            f"The number of seeds needed {goal} is uncertain: {low} to {high} within the {limits} limits of the pooled "
            f"standard deviation of paired differences, {spread} (degrees of freedom: {analysis.freedom})."
        )
    basis = f"by the pooled standard deviation of paired differences, {spread}"
    if analysis.seeds is None:
        return f"More than {MOST:,} seeds would be needed {goal}, {basis}: more of them cannot settle this."
    more = analysis.seeds - len(study.seeds)
    still = f"{more} more than planned" if more > 0 else "no more than planned"
    span = f", or {low} to {high} within the {limits} limits of that standard deviation"
    return f"About {analysis.seeds} seeds are needed {goal}, {basis}: {still}{span if low != high else ''}."


def still_needed(judgement: Judgement, analysis: PowerAnalysis) -> str:
    """State how many more pairs an undecided variant needs, by the pooled spread; "" if unknown."""
    if math.isnan(analysis.sd) or "untaught" in analysis.obstacles or analysis.freedom < LEAST_FREEDOM:
        return ""
    if analysis.seeds is None:
        return f"more than {MOST:,} seeds would be needed"
    more = analysis.seeds - len(judgement.seeds)
    return f"about {more} more seed{'s' * (more != 1)} needed" if more > 0 else "enough seeds by the pooled spread"
