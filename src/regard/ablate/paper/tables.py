"""The tables of a paper: verdicts with their intervals, and costs."""

from __future__ import annotations

import math
from statistics import median

from regard.ablate.folder import StudyRecord
from regard.ablate.format import interval, metric_name, p_value, percent, plain, signed, verdict_label
from regard.ablate.paper.latex import table
from regard.ablate.report.tables import paired_ratio
from regard.ablate.verdict import Results


def verdict_table(study: StudyRecord, results: Results) -> str:
    """Differences from the base with intervals, p values and verdicts, then the controls."""
    level, metric = percent(1 - study.alpha), metric_name(study.metric)
    headings = [
        "variant",
        "verdict",
        f"difference in {metric}",
        f"{level} interval",
        "p (Holm)",
        "p equivalent",
        "seeds",
    ]
    rows = []
    for name, found in results.judgements.items():
        tests = ["–", "–"] if found.reason else [p_value(found.p), p_value(found.p_equivalence)]
        label = verdict_label(found, study.mde)
        rows.append([name, label, signed(found.mean), interval(found.interval), *tests, str(len(found.seeds))])
    for name, found in results.controls.items():
        rows.append([name, "control", signed(found.mean), interval(found.interval), "–", "–", str(len(found.seeds))])
    caption = (
        f"Differences in {metric} from the base, paired by seed, on val. Helps and hurts: a two-sided paired t-test "
        f"rejects no difference at {percent(study.alpha)} over all variants (Holm). No difference larger than "
        f"{study.mde:g}: two one-sided tests reject a difference as large as that. Otherwise the study can't tell. "
        "Controls are not judged."
    )
    return table(headings, rows, caption=caption, label="tab:verdicts", text_columns=2)


def cost_table(study: StudyRecord) -> str:
    """Parameters, FLOPs, latency relative to the base, and memory of every variant."""
    base = study.costs.get(study.base.name)
    rows = []
    for variant in study.variants:
        cost = study.costs.get(variant.name)
        if cost is None:
            continue
        ratio = paired_ratio(cost, base)[1] if base and variant is not study.base else math.nan
        latency = plain(median(cost.latency_ms), 2) if cost.latency_ms else "–"
        numbers = [f"{cost.parameters:,}", f"{cost.flops / 1e9:.2f}", latency, plain(ratio, 2), f"{cost.peak_mib:.1f}"]
        rows.append([variant.name, *numbers])
    headings = ["variant", "parameters", "GFLOPs", "ms per image", "times the base's", "peak MiB"]
    devices = "; ".join(sorted({cost.device for cost in study.costs.values()} - {""}))
    caption = (
        f"Costs for one image{f' on {devices}' if devices else ''}; latencies are medians of repeats taken in turn. "
        "Times the base's: the median of the ratios of one repeat each."
    )
    return table(headings, rows, caption=caption, label="tab:costs")
