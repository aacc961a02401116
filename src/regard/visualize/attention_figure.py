"""A figure of what a layer attends to: the image with the query, followed by each map drawn over the image.

Maps are drawn in the coordinates of the original image, without the cells that cover only padding. Colours are viridis,
which is perceptually uniform and readable in greyscale; a cell that the query does not attend to stays grey.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import patheffects
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LinearLocator
from numpy.typing import NDArray

from regard.errors import RegardError
from regard.types import AttentionMap
from regard.visualize.gradient import GradientMap
from regard.visualize.panels import Panel, channels_of, map_edges, panels_of
from regard.visualize.plots import BLUE, INK, saved_figure

if TYPE_CHECKING:  # a view saves its figure by a method
    from regard.visualize.attend import View

COLOURS = "viridis"
OPACITY = 0.75
PANEL_INCHES = 3.0
"""Long side of a panel in inches."""
EDGE, HEADLINE, HEADING, BAR, BARS = 0.12, 0.32, 0.3, 0.6, 5.4
"""Inches for the margin, the headline, the heading of a panel, a colour bar with numbers, and a bar chart."""
OUTLINE = (patheffects.withStroke(linewidth=3.2, foreground="black"),)


def save_figure(view: View, path: Path) -> Path:
    """Draw ``view`` and write it as a PNG file.

    Raises:
        RegardError: ``path`` does not end in .png, or cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise RegardError(
            f"figures cannot be written as {path.suffix or 'a file without suffix'!r}", file=path, expected=".png"
        )
    channels = channels_of(view.map)
    if channels is None:
        _save_panels(view, panels_of(view.map), path)
    else:
        _save_channels(view, panels_of(view.map), channels, path)
    return path


def draw_map(axes: Any, view: View, panel: Panel) -> Any:
    """Draw one map over the faded image; the result is what a colour bar needs."""
    height, width = view.image.shape[:2]
    grey = view.image @ np.array([0.2126, 0.7152, 0.0722])
    axes.imshow(0.6 * grey + 0.4 * 255, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    seen = np.ma.masked_equal(panel.values, 0) if panel.low == 0 else panel.values
    shown = axes.imshow(
        seen,
        cmap=COLOURS,
        vmin=panel.low,
        vmax=panel.high,
        alpha=OPACITY,
        extent=map_edges(view.placement, view.input_size),
        interpolation="nearest",
    )
    axes.set(xlim=(0, width), ylim=(height, 0))
    return shown


def mark_query(axes: Any, view: View, size: float = 7) -> None:
    """Draw a ring at the query, white on black so that it is visible on any background."""
    if view.query is not None:
        ring = {"marker": "o", "markerfacecolor": "none", "linestyle": "none", "clip_on": False, "zorder": 5}
        axes.plot(*view.query, markersize=size, markeredgecolor="black", markeredgewidth=size / 2.2, **ring)
        axes.plot(*view.query, markersize=size, markeredgecolor="white", markeredgewidth=size / 5, **ring)


class _Sheet:
    """A figure whose axes are placed in inches from its upper left corner, below the headline."""

    def __init__(self, figure: Any, view: View) -> None:
        figure.set_layout_engine("none")  # all sizes are known, and the layout solver takes seconds for many panels
        self.figure = figure
        self.width, self.height = figure.get_size_inches()
        x, y = EDGE / self.width, 1 - EDGE / self.height
        figure.text(x, y, view.title, ha="left", va="top", fontsize=10, color=INK)

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        top += HEADLINE
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)


def _save_panels(view: View, panels: list[Panel], path: Path) -> None:
    """Draw the image and all panels on a grid."""
    count = 1 + len(panels)
    columns = next(n for most, n in ((3, count), (4, 2), (6, 3), (12, 4), (20, 5), (math.inf, 6)) if count <= most)
    width, height = _panel_inches(view)
    step_x, step_y = width + BAR, height + HEADING
    size = EDGE + columns * step_x, HEADLINE + math.ceil(count / columns) * step_y + EDGE
    with saved_figure(path, size, view.title) as figure:
        sheet = _Sheet(figure, view)
        _draw_image(sheet.axes(EDGE, HEADING, width, height), view)
        for place, panel in enumerate(panels, start=1):
            left, top = EDGE + place % columns * step_x, HEADING + place // columns * step_y
            axes = sheet.axes(left, top, width, height)
            _draw_panel(sheet, (left, top, width, height), axes, view, panel)
            if not isinstance(view.map, AttentionMap) or view.map.kind == "rows":
                mark_query(axes, view, 5)
                _draw_box(axes, view)


def _save_channels(view: View, panels: list[Panel], weights: NDArray[np.floating], path: Path) -> None:
    """Draw the image, the maps if there are any, and a bar for the weight of each channel."""
    width, height = _panel_inches(view)
    height = max(height, 2.0)
    left = EDGE + (1 + len(panels)) * (width + BAR) + BAR * bool(panels)
    with saved_figure(path, (left + BARS + 2 * EDGE, HEADLINE + HEADING + height + 0.5), view.title) as figure:
        sheet = _Sheet(figure, view)
        _draw_image(sheet.axes(EDGE, HEADING, width, height), view)
        for place, panel in enumerate(panels, start=1):
            box = (EDGE + place * (width + BAR), HEADING, width, height)
            _draw_panel(sheet, box, sheet.axes(*box), view, panel)
        axes = sheet.axes(left + EDGE, HEADING, BARS, height)
        axes.bar(range(len(weights)), weights, width=1.0 if len(weights) > 60 else 0.8, color=BLUE, linewidth=0)
        axes.axhline(weights.mean(), color=INK, linewidth=0.9, linestyle="--")
        axes.set(xlim=(-0.6, len(weights) - 0.4), xlabel="channel", ylabel="weight")
        axes.set_title(f"{'mean' if panels else 'weight'} of each channel; dashed: {weights.mean():.3f}, of all")
        axes.grid(False, axis="x")


def _draw_panel(sheet: _Sheet, box: tuple[float, float, float, float], axes: Any, view: View, panel: Panel) -> None:
    """Draw a map with its heading and, to its right, a narrow colour bar of exactly the same height."""
    shown = draw_map(axes, view, panel)
    axes.set_title(panel.heading)
    _bare(axes)
    left, top, width, height = box
    bar = sheet.figure.colorbar(shown, cax=sheet.axes(left + width + 0.07, top, 0.09, height))
    bar.locator = LinearLocator(3)
    bar.formatter = FuncFormatter(lambda value, _: _short(value))
    bar.update_ticks()
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=7, pad=2)


def _draw_image(axes: Any, view: View) -> None:
    height, width = view.image.shape[:2]
    axes.imshow(view.image, extent=(0, width, height, 0))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_title("image")
    _bare(axes)
    if isinstance(view.map, GradientMap):
        _draw_box(axes, view)
        axes.set_title(f"{view.names[view.map.class_id]} {view.map.score:.2f}")
    elif view.map.kind == "rows":
        axes.set_title("image and query")
    if isinstance(view.map, GradientMap) or view.map.kind == "rows":
        mark_query(axes, view)


def _draw_box(axes: Any, view: View) -> None:
    """Draw the box of the detection that a gradient map belongs to."""
    if view.box_xyxy is not None:
        left, top, right, bottom = map(float, view.box_xyxy)
        box = Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="white", linewidth=1.6)
        box.set_path_effects(list(OUTLINE))
        axes.add_patch(box)


def _panel_inches(view: View) -> tuple[float, float]:
    """Width and height of a panel in inches: the shape of the image, within limits."""
    height, width = view.image.shape[:2]
    longest = max(height, width)
    return max(PANEL_INCHES * width / longest, 1.7), max(PANEL_INCHES * height / longest, 1.0)


def _short(value: float) -> str:
    """Format a number in few characters: 0.25, 9e-4."""
    return f"{value:.2g}" if value == 0 or abs(value) >= 0.005 else f"{value:.0e}".replace("e-0", "e-")


def _bare(axes: Any) -> None:
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
