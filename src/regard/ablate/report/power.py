"""What a study could detect, in the words of its report and of a paper."""

from __future__ import annotations

import math
from collections.abc import Mapping

from regard.ablate.digits import counted, plain
from regard.ablate.folder import StudyRecord
from regard.ablate.power_text import needed_line
from regard.ablate.report.document import Section, Table, Text
from regard.ablate.schema import metric_name
from regard.ablate.statistics import power
from regard.ablate.verdict import Obstacle, Results

MORE_SEEDS = (3, 5, 7, 10, 15, 20)
"""Numbers of seeds in the table of the power."""
UNKNOWN_POWER: Mapping[Obstacle, str] = {
    "untaught": "The base learned next to nothing, so the study does not show which differences it would detect "
    "between trained models.",
    "few_pairs": "The finished pairs are too few to state which differences the study would detect.",
    "no_spread": "Some differences are the same for every seed, so their spread, and with it which differences the "
    "study would detect, is unknown.",
}


def detected_lines(study: StudyRecord, results: Results) -> list[str]:
    """State what the study would detect, or why that is unknown."""
    found = results.power
    if found.obstacles:
        return [UNKNOWN_POWER[obstacle] for obstacle in found.obstacles]
    fewest = ", the fewest that a variant has," if found.pairs < len(study.seeds) else ""
    return [
        f"With {counted(found.pairs, 'paired seed')}{fewest} a true difference of {study.mde:g} "
        f"{metric_name(study.metric)} would be detected with a probability of {likely(found.power)}, by the "
        f"pooled standard deviation of paired differences, {plain(found.sd, significant=2)} "
        f"({found.freedom} degrees of freedom)."
    ]


def likely(power: float, about: str = "about ", less: str = "less than ", more: str = "more than ") -> str:
    """Format a power, rounded down; none is certain or impossible. Words for another language can be given."""
    if power < 0.01 or power > 0.99:
        return f"{less}0.01" if power < 0.01 else f"{more}0.99"
    return f"{about}{math.floor(100 * power + 1e-9) / 100:.2f}"


def power_section(study: StudyRecord, results: Results) -> Section:
    """What the study could detect, and how many seeds are needed."""
    analysis, tests, metric = results.power, max(len(results.judgements), 1), metric_name(study.metric)
    if math.isnan(analysis.sd):
        return Section("Power", [Text("Unknown: no comparison has two finished pairs that differ.")])
    lines = [*detected_lines(study, results), needed_line(study, analysis)]
    if analysis.obstacles:
        return Section("Power", [*map(Text, lines)])
    lines[0] += " It is pooled over the variants and capacity controls against the base."
    seeds = sorted({*MORE_SEEDS, len(study.seeds)})
    chances = [_chance(float(power(study.mde, analysis.sd, n, study.alpha, tests))) for n in seeds]
    caption = f"Probability of detecting a true difference of {study.mde:g} {metric}, by number of paired seeds"
    table = Table(caption, ["seeds", *map(str, seeds)], [["power", *chances]])
    return Section("Power", [*map(Text, lines), table])


def _chance(power: float) -> str:
    return likely(power, "", "< ", "> ")
