"""Figures of a report, drawn by matplotlib as SVG whose text remains text: gain against cost and curves here.

An SVG file has its colours on a white ground. In the page the same colours become CSS variables, so that the figure
follows the reader's light or dark scheme. Colours after Okabe and Ito, distinguishable in all common kinds of colour
blindness, with a contrast of at least 4.5:1 where they colour text.
"""

from __future__ import annotations

import io
import math
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from regard.ablate.folder import RunRecord
from regard.ablate.schema import Role

LIGHT = {
    "ground": "#ffffff", "raised": "#f5f6f8", "line": "#d9dde3", "ink": "#1b1f24", "muted": "#59626e",
    "helps": "#0062a3", "hurts": "#b34700", "same": "#4d5661", "unknown": "#6b6f76", "failed": "#a3175c",
    "variant": "#0072b2", "control": "#c67a00", "noise": "#7a828d", "band": "#e7ebf0",
}  # fmt: skip
DARK = {
    "ground": "#14171b", "raised": "#1d2126", "line": "#363c45", "ink": "#e8eaed", "muted": "#a3acb8",
    "helps": "#6cbcf0", "hurts": "#ff9a57", "same": "#c3cad3", "unknown": "#a3a8b0", "failed": "#ff8cc0",
    "variant": "#56b4e9", "control": "#e69f00", "noise": "#8d96a3", "band": "#262c34",
}  # fmt: skip
NAMES = {colour: f"var(--{name})" for name, colour in LIGHT.items()}
FONTS = "system-ui,-apple-system,'Segoe UI','Helvetica Neue',Arial,sans-serif"

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "regard",
    "text.parse_math": False,
    "text.usetex": False,
    "font.size": 12,
    "axes.labelsize": 13,
    "text.color": LIGHT["muted"],
    "axes.edgecolor": LIGHT["line"],
    "axes.labelcolor": LIGHT["ink"],
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": LIGHT["line"],
    "lines.solid_capstyle": "butt",
}
STRONG: dict[str, Any] = {"color": LIGHT["ink"], "weight": "bold", "size": 13}

LETTER = 7.2
"""Upper bound of the mean width of a letter in pixels."""
LINE = 16
"""Smallest distance between two names in pixels."""

MARKS: Mapping[Role, tuple[str, str]] = {
    "base": ("D", LIGHT["ink"]),
    "variant": ("o", LIGHT["variant"]),
    "capacity control": ("s", LIGHT["control"]),
    "noise control": ("^", LIGHT["noise"]),
}

Band = list[tuple[float, float, float, float]]
"""Epoch, least, mean and greatest value over seeds."""


@dataclass(frozen=True)
class Point:
    """One variant: milliseconds per image, and least, mean and greatest value of the metric over seeds."""

    name: str
    role: Role
    milliseconds: float
    low: float
    mean: float
    high: float


def frontier(points: Sequence[Point]) -> list[Point]:
    """Select the points that no other beats or equals in both respects, fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.milliseconds, -p.mean)):
        if not best or point.mean > best[-1].mean:
            best.append(point)
    return best


def pareto(points: Sequence[Point], metric: str, *, wide: bool) -> str:
    """Draw the metric of every variant against its latency, and the line along those that nothing beats."""
    width, height = (820, 420) if wide else (400, 400)
    with rc_context(STYLE):
        canvas, ax = draw_axes(width, height, 56, width - 16, 30, 46)
        x = _padded([p.milliseconds for p in points])
        y = _padded([value for p in points for value in (p.low, p.high)])
        ax.set(xlim=x, ylim=y, xlabel="milliseconds per image (median)")
        ax.annotate(metric, (0, 1), (-56, 14), xycoords="axes fraction", textcoords="offset pixels", **STRONG)
        ax.grid(axis="y")
        set_ticks(ax, "x", *x, 6 if wide else 4)
        set_ticks(ax, "y", *y, 5)
        best = frontier(points)
        across = [*(p.milliseconds for p in best), x[1]]
        along = [*(p.mean for p in best), best[-1].mean]
        ax.plot(across, along, color=LIGHT["muted"], lw=1.3, ls=(0, (4, 4)), drawstyle="steps-post", zorder=1)
        for point in points:
            marker, colour = MARKS[point.role]
            ax.vlines(point.milliseconds, point.low, point.high, colour, lw=1.4)
            ax.plot(point.milliseconds, point.mean, marker, color=colour, ms=10, mew=0, zorder=3)
        _write_names(ax, points, width)
        text = "; ".join(f"{p.name}: {p.milliseconds:.2f} ms, {metric} {p.mean:.3f}" for p in points)
        return to_svg(canvas, f"{metric} against milliseconds per image. {text}")


def _write_names(ax: Axes, points: Sequence[Point], width: int) -> None:
    """Write each name next to its point, moved down until it does not overlap those above."""
    written: list[tuple[float, float, float]] = []
    most = 40 if width > 500 else 16
    for point in sorted(points, key=lambda p: -p.mean):
        name = shortened(point.name, most)
        x, up = ax.transData.transform((point.milliseconds, point.mean))
        length = LETTER * len(name)
        is_left = x + 12 + length > width
        start, base = x - 12 - length if is_left else x + 12, up
        for left, right, line in sorted(written, key=lambda w: -w[2]):
            if left < start + length and start < right and abs(base - line) < LINE:
                base = line - LINE
        written.append((start, start + length, base))
        arrow: dict[str, Any] = {"arrowstyle": "-", "color": LIGHT["muted"], "lw": 0.8, "shrinkA": 0, "shrinkB": 4}
        ax.annotate(
            name,
            (point.milliseconds, point.mean),
            (-12 if is_left else 12, base - up),
            textcoords="offset pixels",
            ha="right" if is_left else "left",
            va="center",
            color=LIGHT["ink"],
            size=13,
            arrowprops=arrow if up - base > 12 else None,
        )


def band(runs: Sequence[RunRecord], column: str) -> Band:
    """Spread of a column of the runs' curves at each epoch that any of them has."""
    by_epoch: dict[float, list[float]] = {}
    for run in runs:
        for row in run.curve:
            value = row.get(column, math.nan)
            if math.isfinite(value):
                by_epoch.setdefault(row["epoch"], []).append(value)
    return [(epoch, min(v), sum(v) / len(v), max(v)) for epoch, v in sorted(by_epoch.items())]


def curves(bands: Mapping[str, Band], base: str, axis: str) -> list[str]:
    """Draw the learning curve of each variant in a separate figure, with the base behind it, on shared axes.

    Args:
        bands: of the base and of every variant.
        base: the base's name.
        axis: name of the metric.
    """
    points = [point for own in bands.values() for point in own]
    if not points:
        return []
    first, last = min(p[0] for p in points), max(p[0] for p in points)
    x, y = (first, max(last, first + 1)), _padded([value for p in points for value in (p[1], p[3])], 0.03)
    return [_curve(own, bands.get(base, []), name, axis, x, y) for name, own in bands.items() if name != base and own]


def _curve(own: Band, base: Band, name: str, axis: str, x: tuple[float, float], y: tuple[float, float]) -> str:
    with rc_context(STYLE):
        canvas, ax = draw_axes(340, 230, 44, 328, 46, 36)
        ax.set(xlim=x, ylim=y)
        ax.grid(axis="y")
        set_ticks(ax, "y", *y, 4)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        ax.annotate("epoch", (1, 0), (0, -30), xycoords="axes fraction", textcoords="offset pixels", ha="right")
        for line, colour in ((base, LIGHT["noise"]), (own, LIGHT["variant"])):
            epochs, low, mean, high = zip(*line, strict=True) if line else ((), (), (), ())
            ax.fill_between(epochs, low, high, color=colour, alpha=0.22, lw=0)
            ax.plot(epochs, mean, color=colour, lw=2, marker="o" if len(line) == 1 else None)
        pixels: dict[str, Any] = {"xycoords": "figure pixels", "va": "center"}
        canvas_height = canvas.bbox.height
        ax.annotate(axis, (0, canvas_height - 28), **pixels)
        for place, label, colour, style in (
            (0, shortened(name, 32), LIGHT["variant"], STRONG), (286, "base", LIGHT["noise"], {})
        ):  # fmt: skip
            ax.annotate("■", (place, canvas_height - 10), color=colour, **pixels)
            ax.annotate(label, (place + 14, canvas_height - 10), **pixels, **style)
        text = f"{axis} of {name} over {len(own)} epochs, ending at {own[-1][2]:.3f}"
        return to_svg(canvas, text + (f", the base at {base[-1][2]:.3f}" if base else ""))


def standing_alone(svg: str, colours: Mapping[str, str] = LIGHT) -> str:
    """A figure of the page as a separate file, with its light colours on white, or those of another scheme."""
    svg = re.sub(r"var\(--(\w+)\)", lambda found: colours[found[1]], svg)
    ground = f'<rect width="100%" height="100%" fill="{colours["ground"]}"/>'
    return re.sub(r"(<svg[^>]*>)", rf"\1{ground}", svg, count=1) + "\n"


def tick_text(value: float, ticks: Sequence[float], sign: bool = False) -> str:
    """Format a tick with as many digits as distinguish it from its neighbours."""
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    digits = next((d for d in range(7) if abs(round(step, d) - step) < 1e-9 * step + 1e-12), 6)
    if abs(value) < step / 1e6:
        return "0"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def draw_axes(width: float, height: float, left: float, right: float, top: float, bottom: float) -> tuple[Canvas, Axes]:
    """A canvas of a size in pixels and axes in it, without a frame."""
    canvas = Canvas(figsize=(width / 72, height / 72), dpi=72)
    place = (left / width, bottom / height, (right - left) / width, (height - top - bottom) / height)
    ax = canvas.add_axes(place, frameon=False)
    ax.set_axisbelow(True)
    return canvas, ax


def set_ticks(ax: Axes, which: str, low: float, high: float, most: int, *, sign: bool = False) -> list[float]:
    """Put about ``most`` ticks at round values within the limits."""
    margin = 1e-9 * (high - low)
    values = MaxNLocator(nbins=most, steps=[1, 2, 5, 10]).tick_values(low, high)
    ticks = [float(value) for value in values if low - margin <= value <= high + margin]
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([tick_text(value, ticks, sign) for value in ticks]))
    return ticks


def _padded(values: Sequence[float], fraction: float = 0.08) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = fraction * (high - low) or 0.05 * abs(high) or 0.1
    return low - margin, high + margin


def shortened(text: str, letters: int) -> str:
    """A text of at most so many letters; "…" replaces what is left out."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def to_svg(canvas: Canvas, text: str) -> str:
    """The drawing as an element for the page: colours as CSS variables, ids unique to it, described in words."""
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's fonts draw the text
        canvas.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = re.sub(r"\s*<(metadata|style).*?</\1>|\s*<!--.*?-->", "", file.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", FONTS, svg[svg.index("<svg") :].strip())
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda found: NAMES.get(found[0], found[0]), svg)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>i{zlib.crc32(svg.encode()):x}-", svg)
    width, height = canvas.bbox.size
    head = f'<svg role="img" aria-label="{escape(text)}" width="{width:g}" height="{height:g}" '
    return head + re.sub(r'^<svg | (width|height)="[\d.]+pt"', "", svg, count=3)
