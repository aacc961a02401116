"""Sections that are mostly tables: cost, classes and sizes, gates, test split, runs, provenance; and the CSV file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from regard.ablate.digits import mean_and_interval, plain, signed
from regard.ablate.folder import CostRecord, RunRecord, StudyRecord
from regard.ablate.report.document import Block, Cell, Details, Plots, Section, Table, Text, Tone
from regard.ablate.report.figures import Point, band, curves, pareto
from regard.ablate.schema import METRICS, metric_name
from regard.ablate.verdict import differences
from regard.system.terminal import table_text

MEASURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "precision", "recall", "f1")
MOST_CLASSES = 30
"""Classes in the table; if there are more, those that changed most are shown."""

PEAK = "peak MiB, one image"
COST_HEADINGS = (
    "parameters",
    "GFLOPs",
    "ms per image",
    "times the base's",
    PEAK,
    "training",
    "peak MiB, training",
    "possible speed-up",
)
LAST = ("seconds", "peak_mib", "error")
"""Last columns of the CSV file."""


def cost_section(study: StudyRecord) -> Section:
    """The cost table, and the metric against latency."""
    if not study.costs:
        return Section("Cost and gain", [Text("Costs were not measured.")])
    metric = metric_name(study.metric)
    rows = [[v.name, _gain(study, v.name), *_cost_row(study, v.name)] for v in study.variants if v.name in study.costs]
    on = f" on {study.device}" if study.device else ""
    caption = (
        f"Mean paired gain in {metric}, and cost. Latencies{on} are medians of repeats taken in turn in "
        "one process; their ratio to the base is the median over repeats, with the least and the greatest. Training: "
        "mean over runs. Possible speed-up: if the mixing of its attention cost nothing (Amdahl's law), measured."
    )
    headings = ["variant", f"gain in {metric}", *COST_HEADINGS]
    peaks = sorted({row[headings.index(PEAK)] for row in rows})
    if len(peaks) == 1:  # it is usually reached in the first layers, which no variant changes
        rows = [[cell for cell, heading in zip(row, headings, strict=True) if heading != PEAK] for row in rows]
        headings.remove(PEAK)
        caption += f" In addition to its weights each needs {peaks[0]} MiB at its peak, for one image."
    else:
        caption += " Peak, one image: in addition to the weights."
    blocks: list[Block] = [Table(caption, headings, rows)]
    points = _points(study)
    if len(points) > 1:
        wide, narrow = (pareto(points, metric, wide=is_wide) for is_wide in (True, False))
        blocks.append(Plots("pareto", [wide], _reading(metric), narrow))
    return Section("Cost and gain", blocks)


def paired_ratio(cost: CostRecord, base: CostRecord) -> tuple[float, float, float]:
    """Least, median and greatest ratio of the latencies of one repeat; NaN without any."""
    ratios = [own / other for own, other in zip(cost.latency_ms, base.latency_ms, strict=False) if other > 0]
    return (min(ratios), median(ratios), max(ratios)) if ratios else (math.nan, math.nan, math.nan)


def _cost_row(study: StudyRecord, name: str) -> list[str]:
    cost, base = study.costs[name], study.costs.get(study.base.name)
    runs = list(study.finished(name).values())
    ratio = "–"
    if base and name != study.base.name:
        low, middle, high = paired_ratio(cost, base)
        ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
    return [
        f"{cost.parameters:,}",
        f"{cost.flops / 1e9:.2f}",
        plain(median(cost.latency_ms), 2) if cost.latency_ms else "–",
        ratio,
        f"{cost.peak_mib:,.1f}",
        _training_time(runs),
        f"{max(run.peak_mib for run in runs):,.0f}" if runs else "–",
        f"{cost.bound:.2f}x" if cost.bound > 1 else "–",
    ]


def _gain(study: StudyRecord, name: str) -> str:
    return "" if name == study.base.name else signed(_mean(list(differences(study, name, study.base.name).values())))


def _training_time(runs: Sequence[RunRecord]) -> str:
    if not runs:
        return "–"
    seconds = sum(run.seconds for run in runs) / len(runs)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _points(study: StudyRecord) -> list[Point]:
    points = []
    for variant in study.variants:
        values = study.measured(variant.name)
        cost = study.costs.get(variant.name)
        if values and cost and cost.latency_ms:
            mean, time = sum(values) / len(values), median(cost.latency_ms)
            points.append(Point(variant.name, variant.role, time, min(values), mean, max(values)))
    return points


def _reading(metric: str) -> str:
    return (
        f"{metric} on val against latency: the upper left is better. Mark: mean over all finished seeds; vertical "
        "line: least to greatest of them. Dashed: what no other variant beats in both. Diamond: base; discs: variants; "
        "squares: capacity controls; triangle: noise control."
    )


def curve_section(study: StudyRecord) -> Section:
    """The metric on val over the epochs, a figure per variant."""
    bands = {v.name: band(list(study.finished(v.name).values()), f"val/{study.metric}") for v in study.variants}
    drawn = curves(bands, study.base.name, f"{metric_name(study.metric)} on val")
    if not drawn:
        has_epochs = any(run.curve for run in study.runs)
        why = f"Runs record {metric_name(study.metric)} only at their end."
        return Section("Learning curves", [Text(why if has_epochs else "No finished run has any.")])
    caption = "Line: mean over finished seeds; shaded: least to greatest. All figures share their axes."
    return Section("Learning curves", [Plots("curves", drawn, caption)])


def breakdown_section(study: StudyRecord) -> Section:
    """The differences by size, by other measures and by class: described, not tested."""
    measures = [m for m in MEASURES if any(math.isfinite(run.metrics.get(m, math.nan)) for run in study.runs)]
    by_measure = {METRICS.get(m, m): _values(m, "metrics") for m in measures}
    by_class = {name: _values(name, "per_class") for run in study.runs for name in run.per_class}
    most = sorted(by_class, key=lambda name: -_greatest(study, by_class[name]))[:MOST_CLASSES]
    shown = f"the {MOST_CLASSES} of {len(by_class)} that changed most" if len(by_class) > MOST_CLASSES else "all"
    text = (
        "Mean paired differences from the base. A triangle marks those with one sign for all seeds, at least two. "
        "None of this was tested: among so many numbers some agree by chance."
    )
    blocks: list[Block] = [Text(text), _table(study, "By measure and by size of object", "measure", by_measure)]
    if by_class:
        kept = {name: of for name, of in by_class.items() if name in most}
        blocks.append(_table(study, f"AP by class ({shown})", "class", kept))
    return Section("By class and by size", blocks)


def _values(name: str, where: str) -> Callable[[RunRecord], float]:
    return lambda run: getattr(run, where).get(name, math.nan)


def _table(study: StudyRecord, caption: str, what: str, rows: Mapping[str, Callable[[RunRecord], float]]) -> Table:
    """Tabulate values of runs: the mean of the base, and the mean paired differences of the variants."""
    base = study.base.name
    others = [variant.name for variant in study.variants[1:]]
    cells: list[list[str]] = []
    for name, of in rows.items():
        level = plain(_mean([of(run) for run in study.finished(base).values()]), 3)
        cells.append([name, level, *(_delta(list(differences(study, other, base, of).values())) for other in others)])
    return Table(caption, [what, base, *others], cells)


def _delta(values: Sequence[float]) -> Cell:
    mean = _mean(values)
    agree = len(values) > 1 and (min(values) > 0 or max(values) < 0)
    tone: Tone = "" if not agree else "helps" if mean > 0 else "hurts"
    return Cell(signed(mean) + (f" {'▲' if mean > 0 else '▼'}" if agree else ""), tone)


def _greatest(study: StudyRecord, of: Callable[[RunRecord], float]) -> float:
    """The greatest mean difference of any variant."""
    found = [_mean(list(differences(study, v.name, study.base.name, of).values())) for v in study.variants[1:]]
    return max((abs(mean) for mean in found if math.isfinite(mean)), default=0.0)


def gate_section(study: StudyRecord) -> Section | None:
    """The final gates of every variant that has any; None if none has."""
    rows = []
    for variant in study.variants:
        runs = list(study.finished(variant.name).values())
        for gate in dict.fromkeys(name for run in runs for name in run.gates):
            values = [run.gates[gate] for run in runs if gate in run.gates]
            mean, ends = mean_and_interval(sum(values) / len(values), (min(values), max(values)))
            rows.append([variant.name, gate, mean, ends, str(len(values))])
    if not rows:
        return None
    text = "A gate scales what its layer adds: at 0, its initial value, the layer changes nothing."
    headings = ["variant", "gate", "mean", "over seeds", "seeds"]
    table = Table("Gates at the end of training", headings, rows, frozenset({1}))
    return Section("Gates", [Text(text), table])


def run_section(study: StudyRecord) -> Section:
    """The failed runs, and all runs on request."""
    failed = [run for run in study.runs if run.status == "failed"]
    finished = sum(run.status == "finished" for run in study.runs)
    open_runs = len(study.runs) - finished - len(failed)
    text = f"{finished} of {len(study.runs)} runs finished, {len(failed)} failed"
    blocks: list[Block] = [Text(text + (f", {open_runs} still to finish." if open_runs else "."))]
    if failed:
        whys: list[list[str]] = [[r.variant, str(r.seed), Cell(r.error or "unknown", "failed")] for r in failed]
        caption = "Failed runs: their pairs are missing above"
        blocks.append(Table(caption, ["variant", "seed", "reason"], whys, frozenset({2})))
    headings = ["variant", "seed", "status", metric_name(study.metric), "AP50", "seconds", "peak MiB"]
    rows = [_run_row(run, study.metric) for run in study.runs]
    table = Table("All runs, measured on val", headings, rows, frozenset({2}))
    return Section("Runs", [*blocks, Details("All runs", [table])])


def split_section(study: StudyRecord) -> Section:
    """What was measured on the test split, or that nothing was."""
    if not study.test:
        text = (
            "No test split was evaluated: all numbers of this report were measured on images that took part in the "
            "decisions. Everything here was measured on val."
        )
        return Section("Test split", [Text(text)])
    metric, base = study.metric, study.test.get(study.base.name, {})
    rows = []
    for name, by_seed in study.test.items():
        values = [own.get(metric, math.nan) for own in by_seed.values()]
        paired = [by_seed[s].get(metric, math.nan) - base[s].get(metric, math.nan) for s in by_seed if s in base]
        rows.append([name, plain(_mean(values), 3), "" if base is by_seed else signed(_mean(paired)), str(len(values))])
    text = (
        "Evaluated once, after the verdicts were reached on val, and no part of them: a check whether the "
        "differences are also found on images that took no part in any choice."
    )
    headings = ["variant", metric_name(metric), "mean paired difference", "seeds"]
    return Section("Test split", [Text(text), Table("On the test split, means over seeds", headings, rows)])


def provenance_section(study: StudyRecord) -> Section:
    """The plan, and where the numbers come from."""
    blocks: list[Block] = [Text(f"Seeds: {', '.join(map(str, study.seeds))}.")]
    for title, values in (("Plan", study.plan), ("Versions, hardware, git state, commands, data", study.provenance)):
        rows = [[name, value] for name, value in flat(values)]
        if rows:
            blocks.append(Details(title, [Table(title, ["", "value"], rows, frozenset({1}))]))
    models = [[v.name, v.role, v.model] for v in study.variants]
    table = Table("Models, in the study's folder", ["variant", "role", "file"], models, frozenset({1, 2}))
    return Section("Provenance", [*blocks, Details("Models", [table])])


def flat(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested mappings to dotted names with their values as text."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)))
    return rows


def _run_row(run: RunRecord, metric: str) -> list[str]:
    is_good = run.status == "finished"
    status = run.status if is_good else Cell(run.status, "failed" if run.status == "failed" else "quiet")
    numbers = [plain(run.metrics.get(name, math.nan)) for name in (metric, "ap50")]
    spent = [f"{run.seconds:.0f}", f"{run.peak_mib:.0f}"] if is_good else ["–", "–"]
    return [run.variant, str(run.seed), status, *numbers, *spent]


def to_csv(study: StudyRecord) -> str:
    """Tabulate every run, finished or not: metrics on val and test, AP by class, gates, costs and error.

    Metrics are of val; the names of those of test begin with ``test/``, and those of the variant's cost, one value
    for all of its seeds, with ``cost/``.
    """
    rows = [_csv_row(study, run) for run in study.runs]
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in LAST]
    rows = [
        {name: table_text(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows
    ]
    text = io.StringIO()
    table = csv.DictWriter(text, [*columns, *LAST], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _csv_row(study: StudyRecord, run: RunRecord) -> dict[str, object]:
    role = next((variant.role for variant in study.variants if variant.name == run.variant), "")
    row: dict[str, object] = {"variant": run.variant, "role": role, "seed": run.seed, "status": run.status}
    row |= run.metrics
    row |= {f"test/{name}": value for name, value in study.test.get(run.variant, {}).get(run.seed, {}).items()}
    row |= {f"ap/{name}": value for name, value in run.per_class.items()}
    row |= {f"gate/{name}": value for name, value in run.gates.items()}
    if cost := study.costs.get(run.variant):
        row |= {"cost/parameters": cost.parameters, "cost/flops": cost.flops, "cost/peak_mib": cost.peak_mib}
        row["cost/latency_ms"] = median(cost.latency_ms) if cost.latency_ms else ""
    return row | {"seconds": run.seconds, "peak_mib": run.peak_mib, "error": run.error}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
