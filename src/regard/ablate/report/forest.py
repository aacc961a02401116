"""The forest plot: one row a comparison, its mean difference, its intervals, and the seeds behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from regard.ablate.report.document import Tone
from regard.ablate.report.markup import Markup
from regard.ablate.report.svg import Scale, Sheet, tick_text
from regard.ablate.verdict import Judgement
from regard.ablate.words import interval, signed

COLOUR = {"helps": "--helps", "hurts": "--hurts", "same": "--same", "unknown": "--unknown"}
REACH = 3.0
"""The axis ends at so many times the greatest difference of a seed; what leaves it ends in an arrow."""
NEAR = 1.3
"""Times as far as all else that a joint interval is followed."""
STUB = 0.3
"""Of the longer side of the axis, at least, is the shorter."""
WIDE, NARROW = 820, 400


@dataclass(frozen=True)
class ForestRow:
    """One comparison.

    Attributes:
        name: of the variant.
        note: the verdict or the role in a few words.
        judgement: what is drawn.
        tone: its colour; "quiet" for a control, which is not judged.
    """

    name: str
    note: str
    judgement: Judgement
    tone: Tone


def forest(rows: Sequence[ForestRow], mde: float, axis: str, *, wide: bool) -> Markup:
    """Draw the rows.

    Args:
        rows: from top to bottom.
        mde: half the width of the band within which a difference does not matter.
        axis: what is differed, with its unit.
        wide: names and numbers beside the intervals, rather than above them.
    """
    width, step, top = (WIDE, 50, 34) if wide else (NARROW, 112, 30)
    left, right = (280, width - 165) if wide else (14, width - 14)
    bottom = top + step * len(rows)
    says = "; ".join(f"{r.name}: {r.note}, {signed(r.judgement.mean)}, {interval(r.judgement.interval)}" for r in rows)
    sheet = Sheet(width, bottom + 50, f"Differences from the base. {says}")
    scale = Scale(*_ends([row.judgement for row in rows], mde), left, right)
    spans = [(top, bottom)] if wide else [(top + step * i + 66, top + step * i + 106) for i in range(len(rows))]
    _draw_ground(sheet, scale, mde, spans)
    _draw_axis(sheet, scale, axis, bottom)
    for i, row in enumerate(rows):
        above = top + step * i
        middle = above + (step / 2 if wide else 81)
        if wide:
            sheet.text(0, middle - 3, _short(row.name, 36), "strong")
            sheet.text(0, middle + 14, row.note, "muted small")
            _write_numbers(sheet, row.judgement, right + 16, middle)
        else:
            sheet.text(0, above + 22, _short(row.name, 46), "strong")
            sheet.text(0, above + 40, row.note, "muted small")
            sheet.text(0, above + 57, _numbers(row.judgement), "muted small")
        _draw_row(sheet, scale, row, middle)
    return sheet.markup()


def _draw_ground(sheet: Sheet, scale: Scale, mde: float, spans: Sequence[tuple[float, float]]) -> None:
    """Draw what lies behind the intervals, from each upper to each lower edge."""
    for top, bottom in spans:
        sheet.rectangle(scale.kept(-mde), top, scale.kept(mde) - scale.kept(-mde), bottom - top, "--band")
        for value in _ticks(sheet, scale):
            sheet.line(scale(value), top, scale(value), bottom)
        sheet.line(scale(0), top, scale(0), bottom, "--ink", 1.2)


def _draw_axis(sheet: Sheet, scale: Scale, axis: str, bottom: float) -> None:
    ticks = _ticks(sheet, scale)
    for value in ticks:
        sheet.text(scale(value), bottom + 18, tick_text(value, ticks, sign=True), "muted small", text_anchor="middle")
    sheet.text((scale.start + scale.end) / 2, bottom + 40, axis, text_anchor="middle")
    sheet.text(scale(0) - 10, 20, "← worse", "muted small", text_anchor="end")
    sheet.text(scale(0) + 10, 20, "better →", "muted small")


def _ticks(sheet: Sheet, scale: Scale) -> list[float]:
    return scale.ticks(6 if sheet.width == WIDE else 4)


def _draw_row(sheet: Sheet, scale: Scale, row: ForestRow, y: float) -> None:
    found, colour = row.judgement, COLOUR.get(row.tone, "--noise")
    if not math.isnan(found.sd):
        for (low, high), width in ((found.joint, 1.4), (found.interval, 5.0)):
            sheet.line(scale.kept(low), y, scale.kept(high), y, colour, width)
            _draw_arrows(sheet, scale, (low, high), y, colour)
    for value in found.differences:
        sheet.dot(scale.kept(value), y + 13, 3, colour, hollow=True)
    if found.differences:
        sheet.mark("diamond", scale.kept(found.mean), y, colour, 6.5)
    else:
        sheet.text(scale(0) + 8, y + 4, "no finished pair", "muted small")


def _draw_arrows(sheet: Sheet, scale: Scale, ends: tuple[float, float], y: float, colour: str) -> None:
    for value, edge, way in ((ends[0], scale.start, -1), (ends[1], scale.end, 1)):
        if not scale.low <= value <= scale.high:
            sheet.polygon([(edge + 7 * way, y), (edge - 2 * way, y - 6), (edge - 2 * way, y + 6)], colour)


def _write_numbers(sheet: Sheet, judgement: Judgement, x: float, y: float) -> None:
    if judgement.differences:
        sheet.text(x, y - 3, signed(judgement.mean), "strong")
        sheet.text(x, y + 14, _interval(judgement), "muted small")


def _numbers(judgement: Judgement) -> str:
    return f"{signed(judgement.mean)} ({_interval(judgement)})" if judgement.differences else ""


def _interval(judgement: Judgement) -> str:
    return "no interval" if math.isnan(judgement.sd) else interval(judgement.interval)


def _ends(judgements: Sequence[Judgement], mde: float) -> tuple[float, float]:
    """Return where the axis begins and ends: each side as long as it needs, but no stub beside the other."""
    seeds = [value for j in judgements for value in j.differences]
    ends = [end for j in judgements for end in j.interval if not math.isnan(end)]
    most = REACH * max(map(abs, seeds), default=0.0)
    kept = [*seeds, *(min(max(end, -most), most) for end in ends), -1.5 * mde, 1.5 * mde, -1e-6, 1e-6]
    joint = [end for j in judgements for end in j.joint if not math.isnan(end)]
    worse = max(-min(kept), min(-min(joint, default=0), -NEAR * min(kept)))
    better = max(max(kept), min(max(joint, default=0), NEAR * max(kept)))
    return -1.06 * max(worse, STUB * better), 1.06 * max(better, STUB * worse)


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
