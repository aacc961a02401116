"""A figure of two models next to each other: their layers, what differs, and the FLOPs of each layer in both."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

from rich.console import Console
from rich.text import Text

from regard.visualize.plots import BLUE, INK, ORANGE, PALE, saved_figure
from regard.weights.difference import Change, Difference, LayerDifference

COLOURS: Mapping[Change, str] = {"same": INK, "added": "#009E73", "removed": ORANGE, "changed": BLUE}
MARKS: Mapping[Change, str] = {"same": "", "added": "+ ", "removed": "- ", "changed": "~ "}
WIDTH = 84
"""Columns of text in a line of the description of a layer."""
LINE = 0.55
"""Height of every further line, as a part of the height of a layer with one."""
MARGIN = 1.02
"""End of the axis of FLOPs, as a multiple of the longest bar."""


def plot_difference(found: Difference, path: str | Path) -> Path:
    """Draw the layers of both models in one column, the FLOPs of each in both as bars, and what differs next to them.

    Args:
        found: the differences.
        path: PNG file.
    """
    rows = found.layers
    texts = [_wrapped(_text(row)) for row in rows]
    heights = [1 + LINE * text.count("\n") for text in texts]
    ends = list(accumulate(heights))
    places = [end - height / 2 for end, height in zip(ends, heights, strict=True)]
    total = ends[-1] if ends else 1.0
    names = "".join([*found.names, *(row.name for row in rows), *texts])
    with saved_figure(path, (11, 1.2 + 0.24 * total), names) as figure:
        axes, notes = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.5))
        most = max((flops for row in rows for flops in row.flops), default=0) / 1e6 or 1.0
        for y, row, text in zip(places, rows, texts, strict=True):
            before, after = (flops / 1e6 for flops in row.flops)
            axes.barh(y - 0.18, before, 0.32, color=PALE)
            axes.barh(y + 0.18, after, 0.32, color=COLOURS[row.change])
            notes.text(0, y, text, va="center", fontsize=7, color=COLOURS[row.change])
        notes.set_axis_off()
        axes.set_yticks(places, [f"{MARKS[row.change]}{row.name}" for row in rows], fontsize=7)
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_color(COLOURS[row.change])
        axes.set(ylim=(total + 0.1, -0.1), xlim=(0, MARGIN * most), xlabel=f"MFLOPs at {found.costs.imgsz} px")
        axes.grid(axis="y", visible=False)
        figure.suptitle(f"{found.names[0]} → {found.names[1]}")
        figure.supxlabel("grey before, coloured after (+ added, - removed, ~ changed)", fontsize=8)
    return Path(path)


def _text(row: LayerDifference) -> str:
    module = row.after or row.before
    return f"{module}: {'; '.join(row.details)}" if row.details else module


def _wrapped(text: str) -> str:
    """The text in lines of at most `WIDTH` columns, of which Chinese letters take two."""
    return "\n".join(line.plain.rstrip() for line in Text(text).wrap(Console(), WIDTH))
