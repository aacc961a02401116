"""docs/results/performance.md, from the raw figures of ``scale.py`` and ``roofline.py``, as far as there are any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from kept import about, spread

FLAT = 1.25
"""The cost of an image counts as flat if the greatest count has at most so many times that of the middle one."""
WORDS = {
    "load": "load labels",
    "check": "check the data",
    "epoch": "training epoch",
    "around": "training, around the epoch",
    "val": "validation",
    "predict": "predict in a folder",
}
SCALE, ROOFLINE = "performance-scale.json", "performance-roofline.json"

Document = Mapping[str, Any]


def page_of(folder: Path) -> str:
    """The page, with a section for each of the raw files that lie in a folder."""
    found = {name: json.loads((folder / name).read_text()) for name in (SCALE, ROOFLINE) if (folder / name).is_file()}
    lines = ["# Performance: growth with the data, several processes, and the machine's limits", ""]
    if SCALE in found:
        lines += [*scale_section(found[SCALE]), *processes_section(found[SCALE])]
    if ROOFLINE in found:
        lines += roofline_section(found[ROOFLINE])
    lines += ["## GPU", "", "Not measured: there was no GPU in the machine.", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def scale_section(document: Document) -> list[str]:
    """The cost of an image at each count."""
    settings = document["settings"]
    counts: list[int] = settings["counts"]
    lines = [
        "## Growth with the number of images",
        "",
        about(document) + " Command: `python benchmarks/scale.py`.",
        "",
        f"Drawn scenes as JPEGs of 128 px; {settings['model']} at {settings['imgsz']} px, so that the work outside the",
        "network is visible. One process, no cache of images, each stage and count in a fresh process after a warm-up",
        f"on {counts[0]} images: milliseconds per image, and the most memory of the process. What a stage needs once,",
        "for any number of images, is included in the left columns too.",
        "",
        "| stage |"
        + "".join(f" {n:,} images, ms |" for n in counts)
        + f" {counts[-1]:,} / {counts[1]:,} |"
        + "".join(f" peak at {n:,}, MB |" for n in counts),
        "|---|" + "--:|" * (2 * len(counts) + 1),
    ]
    growth = {}
    for key, words in WORDS.items():
        rows = [next((r for r in document["rows"].values() if _has(r, key, n)), None) for n in counts]
        if any(row is None for row in rows):
            continue
        each = [1e3 * median(row["seconds"][key]) / row["count"] for row in rows if row]
        growth[words] = each[-1] / each[1]
        cells = [f"{value:.2f}" for value in each] + [f"{growth[words]:.2f}"]
        cells += [f"{row['peak']:,.0f}" for row in rows if row]
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    steep = [words for words, ratio in growth.items() if ratio > FLAT]
    verdict = f"grows by more than {FLAT}x: {', '.join(steep)}" if steep else f"grows nowhere by more than {FLAT}x"
    return [*lines, "", f"From {counts[1]:,} to {counts[-1]:,} images the cost of an image {verdict}.", ""]


def _has(row: Document, key: str, count: int) -> bool:
    return row.get("count") == count and key in row.get("seconds", ())


def processes_section(document: Document) -> list[str]:
    """How much two processes train compared with one."""
    rows = [row for name, row in document["rows"].items() if name.startswith("ddp")]
    if not rows:
        return []
    count, imgsz = document["settings"]["ddp"]
    one, two, beside = ([row[key] for row in rows] for key in ("one", "two", "beside"))
    efficiency = [b / (2 * a) for a, b in zip(one, two, strict=True)]
    limit = [b / (2 * a) for a, b in zip(one, beside, strict=True)]
    return [
        "## Two processes",
        "",
        f"yolov5n, {count} images at {imgsz} px, batch 32, each process with half the cores as threads, no loader",
        f"processes; images per second in training epochs, {len(rows)} round(s) in turn. Efficiency is the rate over",
        "twice that of one process, the median of paired rounds, least and greatest. Two separate runs,",
        "which do not communicate, show what the machine allows.",
        "",
        "| what | images/s | efficiency |",
        "|---|--:|---|",
        f"| one process | {median(one):.1f} | 1 |",
        f"| two processes, one training | {median(two):.1f} | {spread(efficiency)} |",
        f"| two separate runs | {median(beside):.1f} | {spread(limit)} |",
        "",
    ]


def roofline_section(document: Document) -> list[str]:
    """Each stage with the limit of the machine that bounds it."""
    limits, stages = document["rows"]["limits"], document["rows"]["stages"]["stages"]
    lines = [
        "## Distance from the machine's limits",
        "",
        about(document) + " Command: `python benchmarks/roofline.py`.",
        "",
        "Limits, measured in turn with the stages: " + "; ".join(f"{k} {v}" for k, v in limits["words"].items()) + ".",
        "A stage's least time is what it has to compute or to move, over the limit that binds it (Williams et al.,",
        "2009); the network's is summed over its layers, each bound by arithmetic or by reading its inputs and",
        "weights and writing its output once. *Times the limit* is the median of paired repeats, least and greatest;",
        "1 would be perfect, and a cache can bring a stage below the memory's limit.",
        "",
        "| stage | ms | bound by | least, ms | times the limit |",
        "|---|--:|---|--:|---|",
    ]
    for stage in stages:
        lines.append(
            f"| {stage['name']} | {1e3 * median(stage['seconds']):.2f} | {stage['bound']} "
            f"| {1e3 * median(stage['least']):.2f} | {spread(stage['times'])} |"
        )
    return [*lines, ""]
