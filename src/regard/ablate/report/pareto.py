"""Gain against cost: the metric of every variant over the time that an image takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regard.ablate.record import Role
from regard.ablate.report.markup import Markup
from regard.ablate.report.svg import LETTER, Scale, Sheet, tick_text

LOOK: dict[Role, tuple[str, str]] = {
    "base": ("diamond", "--ink"),
    "variant": ("disc", "--variant"),
    "capacity control": ("square", "--control"),
    "noise control": ("triangle", "--noise"),
}
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 18, 46
LINE = 16
"""Pixels that two names keep between them."""


@dataclass(frozen=True)
class Point:
    """One variant: milliseconds, and least, mean and greatest value of the metric over seeds."""

    name: str
    role: Role
    milliseconds: float
    low: float
    mean: float
    high: float


def frontier(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats or equals on both, quickest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.milliseconds, -p.mean)):
        if not best or point.mean > best[-1].mean:
            best.append(point)
    return best


def pareto(points: Sequence[Point], metric: str, *, wide: bool) -> Markup:
    """Draw the points, the line along those that nothing beats, and each one's name."""
    width, height = (800, 420) if wide else (400, 400)
    says = "; ".join(f"{p.name}: {p.milliseconds:.2f} ms, {metric} {p.mean:.3f}" for p in points)
    sheet = Sheet(width, height, f"{metric} against milliseconds an image. {says}")
    x = _scale([p.milliseconds for p in points], LEFT, width - RIGHT)
    y = _scale([v for p in points for v in (p.low, p.high)], height - BOTTOM, TOP)
    _draw_axes(sheet, x, y, metric)
    best = frontier(points)
    steps = [(x(best[0].milliseconds), y(y.low))]
    for point in best:
        steps += [(x(point.milliseconds), steps[-1][1]), (x(point.milliseconds), y(point.mean))]
    sheet.path([*steps[1:], (x(x.high), steps[-1][1])], "--muted", 1.3, "4 4")
    for point in points:
        sheet.line(x(point.milliseconds), y(point.low), x(point.milliseconds), y(point.high), LOOK[point.role][1], 1.4)
    for point in points:
        sheet.mark(LOOK[point.role][0], x(point.milliseconds), y(point.mean), LOOK[point.role][1])
    _write_names(sheet, points, x, y)
    return sheet.markup()


def _draw_axes(sheet: Sheet, x: Scale, y: Scale, metric: str) -> None:
    across, up = x.ticks(6 if sheet.width > 500 else 4), y.ticks(5)
    for value in up:
        sheet.line(x.start, y(value), x.end, y(value))
        sheet.text(x.start - 8, y(value) + 4, tick_text(value, up), "muted small", text_anchor="end")
    for value in across:
        sheet.line(x(value), y.start, x(value), y.start + 5, "--muted")
        sheet.text(x(value), y.start + 20, tick_text(value, across), "muted small", text_anchor="middle")
    sheet.text((x.start + x.end) / 2, sheet.height - 6, "milliseconds an image (median)", text_anchor="middle")
    sheet.text(0, 12, metric)


def _write_names(sheet: Sheet, points: Sequence[Point], x: Scale, y: Scale) -> None:
    """Write each name beside its point, moved down as far as it takes to be clear of those above."""
    written: list[tuple[float, float, float]] = []
    most = 40 if sheet.width > 500 else 16
    for point in sorted(points, key=lambda p: -p.mean):
        name = point.name if len(point.name) <= most else f"{point.name[: most - 1]}…"
        reach = LETTER * len(name)
        on_left = x(point.milliseconds) + 12 + reach > sheet.width
        start = x(point.milliseconds) - 12 - reach if on_left else x(point.milliseconds) + 12
        base = y(point.mean) + 4
        for left, right, line in sorted(written, key=lambda w: w[2]):
            if left < start + reach and start < right and abs(base - line) < LINE:
                base = line + LINE
        written.append((start, start + reach, base))
        if base > y(point.mean) + 12:
            sheet.line(
                x(point.milliseconds), y(point.mean), start + (reach if on_left else 0), base - 5, "--muted", 0.8
            )
        anchor = "end" if on_left else "start"
        sheet.text(start + reach if on_left else start, base, name, "halo", text_anchor=anchor)


def _scale(values: Sequence[float], start: float, end: float) -> Scale:
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.1
    return Scale(low - margin, high + margin, start, end)
