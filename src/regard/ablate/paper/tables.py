"""The tables of a paper: verdicts with their intervals, and costs."""

from __future__ import annotations

import math
from statistics import median

from regard.ablate.digits import mean_and_interval, p_value, percent, plain
from regard.ablate.folder import StudyRecord
from regard.ablate.format import verdict_label
from regard.ablate.paper.latex import table
from regard.ablate.plan import BASE, NOISE
from regard.ablate.report.forest_plot import Words
from regard.ablate.report.tables import paired_ratio
from regard.ablate.schema import metric_name
from regard.ablate.verdict import Judgement, Results


def verdict_table(study: StudyRecord, results: Results, words: Words = str, between: str = " ") -> str:
    """Differences from the base with intervals, p values and verdicts, then the controls.

    Args:
        study: the study.
        results: its verdicts.
        words: translates headings, verdicts and sentences.
        between: what is between two sentences.
    """
    level, metric = percent(1 - study.alpha), metric_name(study.metric)
    headings = [
        words("variant"),
        words("verdict"),
        words(f"difference in {metric}"),
        words(f"{level} interval"),
        "p (Holm)",
        words("p equivalent"),
        words("seeds"),
    ]
    rows = []
    for name, found in results.judgements.items():
        tests = ["–", "–"] if found.reason else [p_value(found.p), p_value(found.p_equivalence)]
        label = words(verdict_label(found, study.mde))
        rows.append([name, label, *_numbers(found, words), *tests, str(len(found.seeds))])
    for name, found in results.controls.items():
        numbers = [*_numbers(found, words), "–", "–", str(len(found.seeds))]
        rows.append([shown_name(study, name, words), words("control"), *numbers])
    caption = (
        words(f"Differences in {metric} from the base, paired by seed, on val."),
        words(
            f"Helps and hurts: a two-sided paired t-test rejects no difference at {percent(study.alpha)} over all "
            "variants (Holm)."
        ),
        words(f"No difference larger than {study.mde:g}: two one-sided tests reject a difference as large as that."),
        words("Otherwise the study can't tell."),
        words("Controls are not judged."),
    )
    return table(headings, rows, caption=between.join(caption), label="tab:verdicts", text_columns=2)


def cost_table(study: StudyRecord, words: Words = str, between: str = " ") -> str:
    """Parameters, FLOPs, latency relative to the base, and memory of every variant; see `verdict_table`."""
    base = study.costs.get(study.base.name)
    rows = []
    for variant in study.variants:
        cost = study.costs.get(variant.name)
        if cost is None:
            continue
        ratio = paired_ratio(cost, base)[1] if base and variant is not study.base else math.nan
        latency = plain(median(cost.latency_ms), 2) if cost.latency_ms else "–"
        numbers = [f"{cost.parameters:,}", f"{cost.flops / 1e9:.2f}", latency, plain(ratio, 2), f"{cost.peak_mib:.1f}"]
        rows.append([shown_name(study, variant.name, words), *numbers])
    headings = [words("variant"), words("parameters"), "GFLOPs", words("ms per image"), words("times the base's")]
    caption = (
        words(f"Costs for one image on {study.device}; latencies are medians of repeats taken in turn.")
        if study.device
        else words("Costs for one image; latencies are medians of repeats taken in turn."),
        words("Times the base's: the median of the ratios of one repeat each."),
    )
    return table([*headings, words("peak MiB")], rows, caption=between.join(caption), label="tab:costs")


def shown_name(study: StudyRecord, name: str, words: Words) -> str:
    """The name of a variant as a table shows it: those that a study of detectors gives itself are translated."""
    variant = next(one for one in study.variants if one.name == name)
    if variant.controls:
        return words(f"control of {variant.controls}")
    own = {("base", BASE): words("base"), ("noise control", NOISE): words("noise")}
    return own.get((variant.role, name), name)


def _numbers(judged: Judgement, words: Words) -> tuple[str, str]:
    mean, ends = mean_and_interval(judged.mean, judged.interval)
    return mean, words(ends)
