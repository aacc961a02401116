"""Where the difference comes from: classes, sizes, other measures, gates. Described, not tested."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from regard.ablate.record import RunRecord, StudyRecord
from regard.ablate.report.curves import band, curves
from regard.ablate.report.document import Block, Cell, Charts, Section, Table, Text, Tone
from regard.ablate.words import METRICS, metric_name, plain, signed

MEASURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "precision", "recall", "f1")
MOST = 30
"""Classes in the table; of more those that changed most are shown."""


def curve_section(study: StudyRecord) -> Section:
    """Return the metric on val over the epochs, a chart a variant."""
    bands = {v.name: band(list(study.finished(v.name).values()), f"val/{study.metric}") for v in study.variants}
    drawn = curves(bands, study.base.name, f"{metric_name(study.metric)} on val")
    if not drawn:
        has_epochs = any(run.curve for run in study.runs)
        why = f"Runs record no {metric_name(study.metric)} by epoch, only at their end."
        return Section("Learning curves", [Text(why if has_epochs else "No finished run has any.")])
    caption = "Line: mean over finished seeds; shaded: least to greatest. All charts share their axes."
    return Section("Learning curves", [Charts("curves", drawn, caption)])


def breakdown_section(study: StudyRecord) -> Section:
    """Return the differences by size, by other measures and by class."""
    measures = [m for m in MEASURES if any(math.isfinite(run.metrics.get(m, math.nan)) for run in study.runs)]
    blocks: list[Block] = [
        Text(
            "Mean paired differences from the base. A triangle marks those that have one sign for every seed, of at "
            "least two. None of this was tested: among so many numbers some agree by chance."
        )
    ]
    by_measure = {METRICS.get(m, m): _compare(study, _measure(m)) for m in measures}
    blocks.append(_table(study, "By measure and by size of object", "measure", by_measure))
    classes = dict.fromkeys(name for run in study.runs for name in run.per_class)
    by_class = {name: _compare(study, _class(name)) for name in classes}
    if by_class:
        most = sorted(by_class, key=lambda name: -by_class[name].greatest)[:MOST]
        shown = f"the {MOST} of {len(by_class)} that changed most" if len(by_class) > MOST else "all"
        blocks.append(_table(study, f"AP by class ({shown})", "class", {n: by_class[n] for n in classes if n in most}))
    return Section("By class and by size", blocks)


def gate_section(study: StudyRecord) -> Section | None:
    """Return the final gates of every variant that has any; None if none has."""
    rows = []
    for variant in study.variants:
        runs = list(study.finished(variant.name).values())
        for gate in dict.fromkeys(name for run in runs for name in run.gates):
            values = [run.gates[gate] for run in runs if gate in run.gates]
            mean, ends = sum(values) / len(values), f"{signed(min(values))} to {signed(max(values))}"
            rows.append([variant.name, gate, signed(mean), ends, str(len(values))])
    if not rows:
        return None
    text = "A gate scales what its layer adds: at 0, where it starts, the layer changes nothing."
    headings = ["variant", "gate", "mean", "over seeds", "seeds"]
    table = Table("Gates at the end of training", headings, rows, frozenset({1}))
    return Section("Gates", [Text(text), table])


@dataclass(frozen=True)
class _Compared:
    """One measure: its mean for the base, and for each variant its differences from the base, by seed."""

    base: float
    differences: Sequence[Sequence[float]]

    @property
    def greatest(self) -> float:
        """The greatest mean difference of any variant."""
        means = [abs(_mean(own)) for own in self.differences]
        return max((mean for mean in means if math.isfinite(mean)), default=0.0)


def _compare(study: StudyRecord, of: Callable[[RunRecord], float]) -> _Compared:
    base = study.finished(study.base.name)
    found = []
    for variant in study.variants[1:]:
        own = study.finished(variant.name)
        found.append([of(own[seed]) - of(base[seed]) for seed in study.seeds if seed in own and seed in base])
    return _Compared(_mean([of(run) for run in base.values()]), found)


def _measure(name: str) -> Callable[[RunRecord], float]:
    return lambda run: run.metrics.get(name, math.nan)


def _class(name: str) -> Callable[[RunRecord], float]:
    return lambda run: run.per_class.get(name, math.nan)


def _delta(values: Sequence[float]) -> Cell:
    known = [value for value in values if math.isfinite(value)]
    mean = _mean(known)
    agree = len(known) > 1 and (all(v > 0 for v in known) or all(v < 0 for v in known))
    tone: Tone = "" if not agree else "helps" if mean > 0 else "hurts"
    return Cell(signed(mean) + (f" {'▲' if mean > 0 else '▼'}" if agree else ""), tone)


def _table(study: StudyRecord, caption: str, what: str, rows: Mapping[str, _Compared]) -> Table:
    cells: list[list[str | Cell]] = [
        [name, plain(row.base, 3), *map(_delta, row.differences)] for name, row in rows.items()
    ]
    return Table(caption, [what, study.base.name, *(v.name for v in study.variants[1:])], cells)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
