"""The page of ``multihead.py``, from its raw figures."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from kept import about, ratios, spread

OURS = "ours"
GROUPS = {
    "32": "Equal precision: float32",
    "bf16": "Equal precision: bfloat16 (autocast)",
    "shipped": "As shipped",
}

Row = Mapping[str, Any]


def page(document: Mapping[str, Any], command: str) -> str:
    """The results as Markdown."""
    rows = list(document["rows"].values())
    lines = [
        "# Multi-head self-attention in yolov5n, ours and PyTorch's",
        "",
        about(document) + f" Command: `{command}`.",
        "",
        f"The whole network at {document['settings']['imgsz']} px with the block after one layer, 4 heads, gated: one",
        "image in inference, a training step of two. A ratio is ours / theirs, below 1 where ours needs less: of times",
        "the median of paired runs, least and greatest; of memory the peak beyond what was there before the first run,",
        "each in a separate process. Theirs is `torch.nn.MultiheadAttention` as called by default, which returns",
        "the weights, and with `need_weights=False`.",
        "",
    ]
    for precision, heading in GROUPS.items():
        own = [row for row in rows if row["precision"] == precision]
        if own:
            lines += [f"## {heading}", "", *_how(own), *_table(own), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _how(rows: list[Row]) -> list[str]:
    """Describe how both sides run, where that differs."""
    said = {}
    for row in rows:
        ours, *theirs = row["how"].values()
        if any(words != ours for words in theirs):
            said[row["kind"]] = f"{row['kind']}: ours {ours}; theirs {theirs[0]}"
    return ["; ".join(said.values()) + ".", ""] if said else []


def _table(rows: list[Row]) -> list[str]:
    lines = [
        "| place | what | theirs is | ours, ms | theirs, ms | ratio of times | ours, MB | theirs, MB | ratio |",
        "|---|---|---|--:|--:|---|--:|--:|--:|",
    ]
    return lines + [_line(row, side) for row in rows for side in row["seconds"] if side != OURS]


def _line(row: Row, side: str) -> str:
    ours, theirs = row["seconds"][OURS], row["seconds"][side]
    mb, their_mb = (row["memory"][s]["megabytes"] for s in (OURS, side))
    name = "need_weights=False" if "False" in side else "the default call"
    times = f"{1e3 * median(ours):.1f} | {1e3 * median(theirs):.1f} | {spread(ratios(ours, theirs))}"
    ratio = f"{mb / their_mb:.2f}" if their_mb > 0 else "-"
    return f"| {row['level'].upper()} | {row['kind']} | {name} | {times} | {mb:.0f} | {their_mb:.0f} | {ratio} |"
