"""What the studies of this project found about each module, from their recorded results.

The effect on AP comes from ``results/*/study.json`` and ``results.csv``, judged by the rule of ``regard ablate``; the
effect on speed from ``results/swap.json`` and those of later runs. Only the names of the tasks, and findings on other
pages, are written by hand, in ``catalogue_words.py``.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from catalogue_words import ENGLISH, Words

from regard.ablate.digits import mean_and_interval
from regard.ablate.format import metric_name, verdict_label
from regard.ablate.verdict import judge

RESULTS = Path(__file__).resolve().parent / "results"
REPLACED, MODEL, SIZE, LEVELS = "MultiHeadSelfAttention", "yolov5n", 640, ("p3", "p4", "p5")
EDIT = re.compile(r"(?:(?P<label>[^=(]+)=)?(?P<module>\w+)(?:\(.*\))?@(?P<after>[\w.]+)")
Finding = tuple[str, str]
"""Part of a sentence, and the page that it is from, relative to the folder of the catalogue."""


def findings(words: Words = ENGLISH) -> dict[str, list[Finding]]:
    """All findings by module: first the effect on AP, then on speed."""
    found: dict[str, list[Finding]] = {}
    on_ap = list(_of_studies(words))
    for name, text, page in (*on_ap, *_of_swaps(words)):
        found.setdefault(name, []).append((text, f"results/{page}"))
    for name, other in words.other.items():
        found.setdefault(name, []).append(other)
    for name in found.keys() - {name for name, _, _ in on_ap}:
        found[name].append((words.unmeasured, ""))
    return found


def _of_studies(words: Words) -> Iterator[tuple[str, str, str]]:
    for folder, task in words.tasks.items():
        plan = json.loads((RESULTS / folder / "study.json").read_text(encoding="utf-8"))["plan"]
        edits = [match for text in plan["insert"] if (match := EDIT.fullmatch(text))]
        labels = {match["label"] or match[0]: match for match in edits}
        for label, found in judge(_differences(folder, plan["metric"], labels), plan["alpha"], plan["mde"]).items():
            mean, ends = mean_and_interval(found.mean, found.interval)
            text = words.verdict.format(
                verdict=words.translate(verdict_label(found, plan["mde"])),
                task=task,
                after=labels[label]["after"],
                base=plan["base"],
                amount=f"{mean} {metric_name(plan['metric'])}",
                interval=ends.replace(" to ", words.to),
                seeds=len(found.seeds),
            )
            yield labels[label]["module"], text, f"{folder}/report.md"


def _differences(folder: str, metric: str, labels: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    with (RESULTS / folder / "results.csv").open(encoding="utf-8", newline="") as file:
        runs = {(row["variant"], int(row["seed"])): float(row[metric]) for row in csv.DictReader(file)}
    base = {seed: value for (variant, seed), value in runs.items() if variant == "base"}
    return {label: {s: runs[label, s] - base[s] for s in base if (label, s) in runs} for label in labels}


def _of_swaps(words: Words) -> Iterator[tuple[str, str, str]]:
    """What each variant makes of a network with global attention at one level, by median, least and greatest ratio."""
    for file in (RESULTS / "swap.json", *sorted(RESULTS.glob("swap-*/swap.json"))):
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"].values()
        at = {r["level"]: r["variants"] for r in rows if (r["model"], r["imgsz"]) == (MODEL, SIZE)}
        for name in dict.fromkeys(name for variants in at.values() for name in variants):
            ratios = [(level, at[level][name]["measured"]) for level in LEVELS if name in at.get(level, ())]
            times = words.between[0].join(
                words.swap_time.format(
                    level=level, middle=f"{median(r):.2f}", least=f"{min(r):.2f}", most=f"{max(r):.2f}"
                )
                for level, r in ratios
            )
            text = words.swap.format(replaced=REPLACED, model=MODEL, size=SIZE, times=times)
            yield name, text, file.with_suffix(".md").relative_to(RESULTS).as_posix()
