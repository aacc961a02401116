"""What each variant costs, beside what it gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from regard.ablate.findings import differences
from regard.ablate.record import CostRecord, RunRecord, StudyRecord
from regard.ablate.report.document import Block, Chart, Section, Table, Text
from regard.ablate.report.pareto import Point, pareto
from regard.ablate.words import metric_name, plain, signed

PEAK = "peak MiB, one image"
HEADINGS = (
    "parameters",
    "GFLOPs",
    "ms an image",
    "times the base's",
    PEAK,
    "training",
    "peak MiB, training",
    "could become",
)


def cost_section(study: StudyRecord) -> Section:
    """Return the cost table and AP against latency."""
    if not study.costs:
        return Section("Cost beside gain", [Text("Costs were not measured.")])
    metric = metric_name(study.metric)
    rows = [[v.name, _gain(study, v.name), *_row(study, v.name)] for v in study.variants if v.name in study.costs]
    caption = (
        f"Mean paired gain in {metric}, and cost. Latencies{_place(study)} are medians of repeats taken in turn in "
        "one process; their ratio to the base is the median over repeats, with the least and the greatest. Training: "
        "mean over runs. Could become: so many times as fast if the mixing of its attention cost nothing (Amdahl), "
        "measured."
    )
    headings = ["variant", f"gain in {metric}", *HEADINGS]
    peaks = sorted({row[headings.index(PEAK)] for row in rows})
    if len(peaks) == 1:  # most often it is reached in the first layers, which no variant changes
        rows = [[cell for cell, heading in zip(row, headings, strict=True) if heading != PEAK] for row in rows]
        headings.remove(PEAK)
        caption += f" Beside its weights each holds {peaks[0]} MiB at its peak, for one image."
    else:
        caption += " Peak, one image: beside the weights."
    blocks: list[Block] = [Table(caption, headings, rows)]
    points = _points(study)
    if len(points) > 1:
        wide, narrow = (pareto(points, metric, wide=is_wide) for is_wide in (True, False))
        blocks.append(Chart("pareto", wide, narrow, _reading(metric)))
    return Section("Cost beside gain", blocks)


def _place(study: StudyRecord) -> str:
    """Return on which device they were measured, where that is known."""
    devices = sorted({cost.device for cost in study.costs.values()} - {""})
    return f" on {'; '.join(devices)}" if devices else ""


def paired_ratio(cost: CostRecord, base: CostRecord) -> tuple[float, float, float]:
    """Return least, median and greatest ratio of the latencies of one repeat; NaN without any."""
    ratios = [own / other for own, other in zip(cost.latency_ms, base.latency_ms, strict=False) if other > 0]
    return (min(ratios), median(ratios), max(ratios)) if ratios else (math.nan, math.nan, math.nan)


def _row(study: StudyRecord, name: str) -> list[str]:
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
        _duration(runs),
        f"{max(run.peak_mib for run in runs):,.0f}" if runs else "–",
        f"{cost.bound:.2f}x" if cost.bound > 1 else "–",
    ]


def _gain(study: StudyRecord, name: str) -> str:
    found = list(differences(study, name, study.base.name).values())
    return "" if name == study.base.name else signed(sum(found) / len(found)) if found else "–"


def _duration(runs: Sequence[RunRecord]) -> str:
    if not runs:
        return "–"
    seconds = sum(run.seconds for run in runs) / len(runs)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _points(study: StudyRecord) -> list[Point]:
    points = []
    for variant in study.variants:
        values = [run.metrics.get(study.metric, math.nan) for run in study.finished(variant.name).values()]
        values = [value for value in values if math.isfinite(value)]
        cost = study.costs.get(variant.name)
        if values and cost and cost.latency_ms:
            mean, time = sum(values) / len(values), median(cost.latency_ms)
            points.append(Point(variant.name, variant.role, time, min(values), mean, max(values)))
    return points


def _reading(metric: str) -> str:
    return (
        f"{metric} on val against latency: up and to the left is better. Mark: mean over all finished seeds; vertical "
        "line: least to greatest of them. Dashed: what no other variant beats on both. Diamond: base; discs: variants; "
        "squares: capacity controls; triangle: noise control."
    )
