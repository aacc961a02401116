"""A sheet to draw a chart on, in pixels from the upper left corner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from regard.ablate.report.markup import Markup, tag
from regard.ablate.report.style import CHARTS, LIGHT

MARGIN = 14
"""Pixels around a chart that stands alone."""

LETTER = 7.2
"""Pixels that a letter of a chart is wide, on the safe side."""


@dataclass(frozen=True)
class Scale:
    """From values between ``low`` and ``high`` to pixels between ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def kept(self, value: float) -> float:
        """Return the pixel of a value, moved to the nearer end if it lies outside."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, most: int) -> list[float]:
        """Return round values within, about ``most`` of them."""
        values = MaxNLocator(nbins=most, steps=[1, 2, 5, 10]).tick_values(self.low, self.high)
        margin = 1e-9 * (self.high - self.low)
        return [float(v) for v in values if self.low - margin <= v <= self.high + margin]


class Sheet:
    """Collects the parts of a chart.

    Args:
        width: of the chart in pixels.
        height: likewise.
        says: the chart in words, for those who do not see it.
    """

    def __init__(self, width: float, height: float, says: str) -> None:
        self.width, self.height, self.says = width, height, says
        self._parts: list[Markup] = []

    def text(self, x: float, y: float, text: str, class_: str | None = None, **attributes: str | float) -> None:
        """Write, from ``x`` on at base line ``y``; ``text_anchor`` may say otherwise."""
        self._add("text", text, x=x, y=y, class_=class_, **attributes)

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = "--line", width: float = 1) -> None:
        """Draw a straight line."""
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=f"var({colour})", stroke_width=width)

    def rectangle(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Draw a filled rectangle."""
        self._add("rect", x=x, y=y, width=max(width, 0), height=max(height, 0), fill=f"var({colour})")

    def dot(self, x: float, y: float, radius: float, colour: str, hollow: bool = False) -> None:
        """Draw a disc, or a ring."""
        ink = f"var({colour})"
        fill, stroke, width = ("none", ink, 1.4) if hollow else (ink, None, None)
        self._add("circle", cx=x, cy=y, r=radius, fill=fill, stroke=stroke, stroke_width=width)

    def polygon(self, points: Iterable[tuple[float, float]], colour: str, opacity: float = 1) -> None:
        """Fill an area."""
        self._add("polygon", points=_written(points), fill=f"var({colour})", fill_opacity=opacity)

    def path(self, points: Iterable[tuple[float, float]], colour: str, width: float = 2, dash: str = "") -> None:
        """Draw through points."""
        self._add(
            "polyline",
            points=_written(points),
            fill="none",
            stroke=f"var({colour})",
            stroke_width=width,
            stroke_linejoin="round",
            stroke_dasharray=dash or None,
        )

    def mark(self, shape: str, x: float, y: float, colour: str, size: float = 5.5) -> None:
        """Draw a "disc", a "square", a "diamond" or a "triangle"."""
        if shape == "disc":
            self.dot(x, y, size, colour)
        elif shape == "square":
            self.rectangle(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8, colour)
        else:
            reach = 1.25 * size
            lower = [(x, y + reach)] if shape == "diamond" else []
            right = y if shape == "diamond" else y + 0.9 * size
            self.polygon([(x, y - reach), (x + reach, right), *lower, (x - reach, right)], colour)

    def markup(self) -> Markup:
        """Return the chart."""
        return tag(
            "svg",
            *self._parts,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            width=self.width,
            height=self.height,
            role="img",
            aria_label=self.says,
        )

    def _add(self, name: str, *children: str, **attributes: str | float | None) -> None:
        rounded = {key: round(v, 2) if isinstance(v, float) else v for key, v in attributes.items()}
        self._parts.append(tag(name, *children, **rounded))


def standing_alone(svg: str) -> str:
    """Return the markup of a chart as the text of a file of its own, dark on light.

    It has a ground of its own and its colours written out: it may be shown on a dark page, and not all that draw SVG
    know variables.
    """
    size = re.search(r' width="([\d.]+)" height="([\d.]+)"', svg)
    assert size
    width, height = (float(side) + 2 * MARGIN for side in size.groups())
    colours = dict(re.findall(r"(--\w+):(#\w+)", LIGHT))
    area: dict[str, float] = {"x": -MARGIN, "y": -MARGIN, "width": width, "height": height}
    whole = tag(
        "svg",
        tag("style", Markup(CHARTS)),
        tag("rect", fill="var(--ground)", **area),
        Markup(svg),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=" ".join(f"{value:g}" for value in area.values()),
        width=width,
        height=height,
    )
    return re.sub(r"var\((--\w+)\)", lambda found: colours[found[1]], whole) + "\n"


def tick_text(value: float, ticks: Sequence[float], sign: bool = False) -> str:
    """Return a tick's value with as many digits as tell it from its neighbours."""
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    digits = next((d for d in range(7) if abs(round(step, d) - step) < 1e-9 * step + 1e-12), 6)
    if abs(value) < step / 1e6:
        return "0"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def _written(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
