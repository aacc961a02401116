"""A figure of two models next to each other: their layers, what differs, and the FLOPs of each layer in both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regard.visualize.plots import BLUE, INK, ORANGE, PALE, saved_figure
from regard.weights.difference import Change, Difference, LayerDifference

COLOURS: Mapping[Change, str] = {"same": INK, "added": "#009E73", "removed": ORANGE, "changed": BLUE}
MARKS: Mapping[Change, str] = {"same": "", "added": "+ ", "removed": "- ", "changed": "~ "}
LONGEST = 70
"""Letters of the description of a layer."""


def plot_difference(found: Difference, path: str | Path) -> Path:
    """Draw the layers of both models in one column, and the FLOPs of each in both as bars, as a PNG file."""
    rows = found.layers
    names = "".join([*found.names, *(row.name + _text(row) for row in rows)])
    with saved_figure(path, (9.5, 1.2 + 0.24 * len(rows)), names) as figure:
        axes = figure.add_subplot()
        most = max((flops for row in rows for flops in row.flops), default=1) / 1e6
        for y, row in enumerate(rows):
            before, after = (flops / 1e6 for flops in row.flops)
            axes.barh(y - 0.18, before, 0.32, color=PALE)
            axes.barh(y + 0.18, after, 0.32, color=COLOURS[row.change])
            axes.text(max(before, after) + most / 60, y, _text(row), va="center", fontsize=7, color=COLOURS[row.change])
        axes.set_yticks(range(len(rows)), [f"{MARKS[row.change]}{row.name}" for row in rows], fontsize=7)
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_color(COLOURS[row.change])
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 2.1 * most), title=f"{found.names[0]} → {found.names[1]}")
        axes.set_xlabel(
            f"MFLOPs at {found.costs.imgsz} px: grey before, coloured after (+ added, - removed, ~ changed)"
        )
        axes.grid(axis="y", visible=False)
    return Path(path)


def _text(row: LayerDifference) -> str:
    module = row.after or row.before
    text = f"{module}: {'; '.join(row.details)}" if row.details else module
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
