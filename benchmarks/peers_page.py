"""The table of ``peers.py`` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from statistics import median
from typing import Any

import regard

BUSY = 3.0
"""Load average above which other work was running in addition to the benchmark, which makes up to 2.6 on two cores."""


def page(peers: str, setting: str, images: int, units: Mapping[str, str], kept: Mapping[str, Any]) -> str:
    """The results as Markdown.

    Args:
        peers: names and versions of what was compared.
        setting: weights and machine.
        images: N, for times per image.
        units: of each row of the table.
        kept: what the checks found, and the rounds of each row.
    """
    rounds: Mapping[str, list[dict[str, dict[str, float]]]] = kept["rounds"]
    loads = [run["load"]["before"] for runs in rounds.values() for run in runs]
    busy = ", so other work was running" if max(loads) > BUSY else ""
    lines = [
        f"# regard {regard.__version__} compared with {peers}, {date.today()}",
        "",
        f"{setting},",
        "both sides in turn in every round. A ratio is theirs / ours: the median over the rounds, least and greatest;",
        "the CPU ratio is that of processor time. Per image: the whole process on",
        f"{2 * images} images less that on {images}, divided by {images}. Load average before each measurement:",
        f"{min(loads):.1f} to {max(loads):.1f}{busy}.",
        f"Command: `python benchmarks/peers.py --images {images} --rounds {max(map(len, rounds.values()))}`.",
        "",
        "| what | ours | theirs | ratio | least to greatest | CPU ratio | rounds |",
        "|---|--:|--:|--:|---|--:|--:|",
    ]
    for name, runs in rounds.items():
        cpu = median(run["theirs"]["cpu"] / run["ours"]["cpu"] for run in runs)
        pairs = [(run["ours"]["value"], run["theirs"]["value"]) for run in runs]
        lines.append(_line(name, units[name], pairs, f"{cpu:.2f}"))
        if name.startswith("validation"):
            memory = [(run["ours"]["megabytes"], run["theirs"]["megabytes"]) for run in runs]
            lines.append(_line("peak memory in validation", "MB", memory, ""))
    return "\n".join(lines + _checks(kept["found"])) + "\n"


def _checks(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    lines = [
        "",
        "Ultralytics cannot open YOLOv5's checkpoints: in its rows theirs is its own yolov5n, untrained, which finds",
        "nothing, on as many threads (left to itself it takes one on two cores).",
        "",
        f"- First run ever, which compiles the model: {found['first run ever, with compiling']['value']:.1f} s.",
    ]
    for size in (640, 320):
        seen = found[f"detections at {size}"]
        lines += [
            f"- Detections of YOLOv5 at {size}: {seen['detections']}, of which {seen['without_counterpart']} without a",
            f"  counterpart among ours, or the other way round. Boxes differ by at most {seen['pixels']:.3f} pixels",
            f"  (YOLOv5 rounds its own to whole ones), scores by {seen['score']:.6f}.",
        ]
    ap = found["AP on the data by one evaluator"]
    lines.append(f"- AP of both by one evaluator: ours {ap['ours']:.5f}, theirs {ap['theirs']:.5f}.")
    measured = found["--precision auto"]
    used = "bfloat16" if measured["lower"] else "float32"
    measures = f"AP {measured['float32']:.4f} in float32, {measured['bfloat16']:.4f} in bfloat16"
    return [*lines, f"- `--precision auto` used {used}" + (f": {measures}." if measured["float32"] else ".")]


def _line(name: str, unit: str, pairs: list[tuple[float, float]], cpu: str) -> str:
    ours, theirs = (median(values) for values in zip(*pairs, strict=True))
    ratios = [theirs / ours for ours, theirs in pairs]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return (
        f"| {name} | {ours:.3g} {unit} | {theirs:.3g} {unit} | {median(ratios):.2f} | {spread} | {cpu} | {len(pairs)} |"
    )
