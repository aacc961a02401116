"""Learning curves: a small chart for each variant, beside the base, on axes that all share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from regard.ablate.record import RunRecord
from regard.ablate.report.markup import Markup
from regard.ablate.report.svg import Scale, Sheet, tick_text

Band = list[tuple[float, float, float, float]]
"""Epoch, least, mean and greatest value over seeds."""

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 46, 36


def band(runs: Sequence[RunRecord], column: str) -> Band:
    """Return the spread over runs at each epoch that any of them has."""
    by_epoch: dict[float, list[float]] = {}
    for run in runs:
        for row in run.curve:
            value = row.get(column, math.nan)
            if math.isfinite(value):
                by_epoch.setdefault(row["epoch"], []).append(value)
    return [(epoch, min(v), sum(v) / len(v), max(v)) for epoch, v in sorted(by_epoch.items())]


def curves(bands: Mapping[str, Band], base: str, axis: str) -> list[Markup]:
    """Draw each variant's band in a chart of its own, with the base's behind it.

    Args:
        bands: of the base and of every variant.
        base: the base's name.
        axis: what is drawn, with its unit.
    """
    points = [point for own in bands.values() for point in own]
    if not points:
        return []
    first, last = min(p[0] for p in points), max(p[0] for p in points)
    low, high = min(p[1] for p in points), max(p[3] for p in points)
    x = Scale(first, max(last, first + 1), LEFT, WIDTH - RIGHT)
    y = Scale(low, high if high > low else low + 0.1, HEIGHT - BOTTOM, TOP)
    return [_chart(own, bands.get(base, []), name, axis, x, y) for name, own in bands.items() if name != base and own]


def _chart(own: Band, base: Band, name: str, axis: str, x: Scale, y: Scale) -> Markup:
    says = f"{axis} of {name} over {len(own)} epochs, ending at {own[-1][2]:.3f}"
    says += f", the base at {base[-1][2]:.3f}" if base else ""
    sheet = Sheet(WIDTH, HEIGHT, says)
    ticks = y.ticks(4)
    for value in ticks:
        sheet.line(LEFT, y(value), WIDTH - RIGHT, y(value))
        sheet.text(LEFT - 6, y(value) + 4, tick_text(value, ticks), "muted small", text_anchor="end")
    epochs = [value for value in x.ticks(5) if value == round(value)]
    for value in epochs:
        sheet.text(x(value), HEIGHT - BOTTOM + 17, f"{value:.0f}", "muted small", text_anchor="middle")
    sheet.text(WIDTH - RIGHT, HEIGHT - 5, "epoch", "muted small", text_anchor="end")
    sheet.text(0, 32, axis, "muted small")
    for line, colour in ((base, "--noise"), (own, "--variant")):
        sheet.polygon([(x(p[0]), y(p[1])) for p in line] + [(x(p[0]), y(p[3])) for p in line[::-1]], colour, 0.22)
        sheet.path([(x(p[0]), y(p[2])) for p in line], colour)
        if len(line) == 1:
            sheet.dot(x(line[0][0]), y(line[0][2]), 3, colour)
    sheet.mark("square", 6, 10, "--variant")
    sheet.text(16, 14, name if len(name) <= 32 else f"{name[:31]}…", "strong")
    sheet.mark("square", WIDTH - 44, 10, "--noise")
    sheet.text(WIDTH - 34, 14, "base", "muted")
    return sheet.markup()
