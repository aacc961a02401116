"""The forest plot: differences from the base with their intervals and the seeds behind them, as SVG and as PDF."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from regard.ablate.digits import interval, mean_and_interval
from regard.ablate.report.figures import LIGHT, STRONG, STYLE, draw_axes, set_ticks, shortened, to_svg
from regard.ablate.verdict import Judgement
from regard.system.fonts import fonts_for, missing_letters_reported

Words: TypeAlias = Callable[[str], str]
"""What translates a text of a figure or a table; `str` for English."""

REACH = 3.0
"""The axis of a forest plot ends at this multiple of the greatest difference of a seed; beyond it are arrows."""
NEAR = 1.3
"""A joint interval is shown up to this multiple of everything else."""
STUB = 0.3
"""The shorter side of the axis is at least this fraction of the longer."""


@dataclass(frozen=True)
class ForestRow:
    """One comparison of a forest plot.

    Attributes:
        name: of the variant.
        note: the verdict or the role in a few words.
        judgement: what is drawn.
        tone: its colour; "quiet" for a control, which is not judged.
    """

    name: str
    note: str
    judgement: Judgement
    tone: str


def forest(rows: Sequence[ForestRow], mde: float, axis: str, *, wide: bool) -> str:
    """Draw one row per comparison: its mean difference, its intervals and the seeds behind them.

    Args:
        rows: from top to bottom.
        mde: half the width of the band within which a difference does not matter.
        axis: label of the axis.
        wide: put names and numbers next to the intervals, rather than above them.
    """
    with rc_context(STYLE):
        text = "; ".join(
            f"{r.name}: {r.note}, {', '.join(mean_and_interval(r.judgement.mean, r.judgement.interval))}" for r in rows
        )
        return to_svg(_forest(rows, mde, axis, wide=wide), f"Differences from the base. {text}")


def forest_pdf(rows: Sequence[ForestRow], mde: float, axis: str, words: Words = str, *, boxes: bool = True) -> bytes:
    """Draw the wide figure of `forest` as a PDF file with embedded fonts, the same for the same study.

    Letters that matplotlib's own font lacks are drawn in a font of this machine.

    Args:
        rows: from top to bottom.
        mde: half the width of the band within which a difference does not matter.
        axis: label of the axis.
        words: translates the texts that are the figure's own.
        boxes: draw letters that no font has as boxes, with a warning; otherwise draw nothing.

    Returns:
        The file; nothing if a letter is missing and ``boxes`` is false.
    """
    own = "".join(
        (words("worse"), words("better"), words("no finished pair"), words("no interval"), words(interval((0.0, 1.0))))
    )
    families, missing = fonts_for(axis + own + "".join(row.name + row.note for row in rows))
    if missing and not boxes:
        return b""
    file, style = io.BytesIO(), {**STYLE, "pdf.fonttype": 42, "font.family": families}
    with rc_context(style), missing_letters_reported(missing, "forest.pdf"):
        canvas = _forest(rows, mde, axis, words, wide=True)
        canvas.savefig(file, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return file.getvalue()


def _forest(rows: Sequence[ForestRow], mde: float, axis: str, words: Words = str, *, wide: bool) -> Canvas:
    width, step, top = (820, 50, 34) if wide else (400, 112, 30)
    left, right = (280, 655) if wide else (14, 386)
    height = top + step * len(rows) + 50
    canvas, ax = draw_axes(width, height, left, right, top, 50)
    low, high = axis_ends([row.judgement for row in rows], mde)
    ax.set(xlim=(low, high), ylim=(len(rows), 0), yticks=[], xlabel=axis)
    ticks = set_ticks(ax, "x", low, high, 6 if wide else 4, sign=True)
    spans = [(0.0, float(len(rows)))] if wide else [(i + 66 / step, i + 106 / step) for i in range(len(rows))]
    for start, end in spans:
        ax.fill_betweenx((start, end), max(-mde, low), min(mde, high), color=LIGHT["band"], lw=0)
        ax.vlines(ticks, start, end, LIGHT["line"], lw=1)
        ax.vlines(0, start, end, LIGHT["ink"], lw=1.2)
    for way, label in ((-1, f"← {words('worse')}"), (1, f"{words('better')} →")):
        ax.annotate(label, (0, 0), (10 * way, 10), textcoords="offset pixels", ha="right" if way < 0 else "left")
    for i, row in enumerate(rows):
        middle = i + (0.5 if wide else 81 / step)
        _draw_row(ax, row, middle, 13 / step, words)
        _write_row(ax, row, i, step, words, wide=wide)
    return canvas


def _draw_row(ax: Axes, row: ForestRow, y: float, below: float, words: Words) -> None:
    judged, colour = row.judgement, LIGHT.get(row.tone, LIGHT["noise"])
    low, high = ax.get_xlim()
    if not judged.differences:
        ax.annotate(words("no finished pair"), (0, y), (8, -4), textcoords="offset pixels")
        return
    if not math.isnan(judged.sd):
        for ends, width in ((judged.joint, 1.4), (judged.interval, 5.0)):
            ax.plot([max(ends[0], low), min(ends[1], high)], [y, y], color=colour, lw=width)
            for end, edge, marker in ((ends[0], low, "<"), (ends[1], high, ">")):
                if not low <= end <= high:
                    ax.plot(edge, y, marker, color=colour, ms=9, mew=0, clip_on=False)
    seeds = [min(max(value, low), high) for value in judged.differences]
    ax.plot(
        seeds,
        [y + below] * len(seeds),
        "o",
        mfc="none",
        mec=colour,
        mew=1.4,
        ms=6,
        clip_on=False,
        gid=f"seeds-{int(y)}",
    )
    ax.plot(min(max(judged.mean, low), high), y, "D", color=colour, ms=9, mew=0, clip_on=False)


def _write_row(ax: Axes, row: ForestRow, index: int, step: int, words: Words, *, wide: bool) -> None:
    judged = row.judgement
    mean, ends = mean_and_interval(judged.mean, judged.interval)
    mean, reach = mean if judged.differences else "", words("no interval") if math.isnan(judged.sd) else words(ends)
    where = ax.get_yaxis_transform()  # x of the axes, y of the rows
    if wide:
        edge, span = 280 / 375, 16 / 375
        ax.text(-edge, index + 0.44, shortened(row.name, 36), transform=where, **STRONG)
        ax.text(-edge, index + 0.78, row.note, transform=where)
        ax.text(1 + span, index + 0.44, mean, transform=where, **STRONG)
        ax.text(1 + span, index + 0.78, reach if mean else "", transform=where)
        return
    ax.text(-14 / 372, index + 22 / step, shortened(row.name, 46), transform=where, **STRONG)
    ax.text(-14 / 372, index + 40 / step, row.note, transform=where)
    ax.text(-14 / 372, index + 57 / step, f"{mean} ({reach})" if mean else "", transform=where)


def axis_ends(judgements: Sequence[Judgement], mde: float) -> tuple[float, float]:
    """Choose the ends of a forest plot's axis: each side as long as it needs, but neither tiny next to the other."""
    seeds = [value for j in judgements for value in j.differences]
    ends = [end for j in judgements for end in j.interval if not math.isnan(end)]
    most = REACH * max(map(abs, seeds), default=0.0)
    kept = [*seeds, *(min(max(end, -most), most) for end in ends), -1.5 * mde, 1.5 * mde, -1e-6, 1e-6]
    joint = [end for j in judgements for end in j.joint if not math.isnan(end)]
    worse = max(-min(kept), min(-min(joint, default=0), -NEAR * min(kept)))
    better = max(max(kept), min(max(joint, default=0), NEAR * max(kept)))
    return -1.06 * max(worse, STUB * better), 1.06 * max(better, STUB * worse)
