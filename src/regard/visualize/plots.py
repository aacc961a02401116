"""Plots of an evaluation and of a training, for screen and print.

Colours are those of Okabe and Ito (2008), which are distinguishable with any kind of colour vision; all plots are also
readable in greyscale. Figures are drawn without pyplot, so there is no global state and no window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from regard.evaluation.metrics import Metrics
from regard.system.files import atomic_write, make_folder
from regard.system.fonts import OWN_FONT, fonts_for, missing_letters_reported
from regard.system.terminal import printable

BLUE, ORANGE, INK, PALE = "#0072B2", "#D55E00", "#333333", "#B5B5B5"
CLASS_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#000000")
DASHES = ("-", "--", "-.", ":")
NAMED_CLASSES = 7
"""With more classes than this, their curves are drawn in grey and without names, behind the mean."""
LABELLED_CELLS = 30
"""With more classes than this, a confusion matrix is drawn without names and numbers."""
MOST_IN_LEGEND = 6
"""With more lines than this, a panel has no legend."""
LONGEST_NAME = 20
"""Longest class name in letters; longer ones are shortened."""
MARK = b"Software\0regard"
"""In every PNG file that is saved here."""
METRIC_PLOTS = ("pr_curve.png", "f1_curve.png", "confusion.png")
"""Files of `plot_metrics`."""
UNIT_SQUARE: dict[str, Any] = {"xlim": (0, 1), "ylim": (0, 1.02)}

STYLE: dict[Any, Any] = {
    "font.family": OWN_FONT,  # comes with matplotlib
    "text.parse_math": False,  # names of classes and layers are text
    "text.usetex": False,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


def plot_pr_curve(metrics: Metrics, path: str | Path) -> Path:
    """Plot precision over recall at IoU 0.5, interpolated as by COCO, for each class and their mean, as a PNG file."""
    recall = metrics.curves.recall_levels
    with saved_figure(path, (5.2, 4.2), _names(metrics)) as figure:
        axes = figure.add_subplot()
        labels = [f"{_short(entry.name)}  {entry.ap50:.3f}" for entry in metrics.per_class]
        mean = f"mean  {metrics.ap50:.3f}"
        _class_lines(axes, recall, metrics.curves.best_precision, labels, mean)
        axes.set(title="Precision and recall at IoU 0.5", xlabel="recall", ylabel="precision", **UNIT_SQUARE)
        _legend(axes, "AP50")
    return Path(path)


def plot_f1_curve(metrics: Metrics, path: str | Path) -> Path:
    """Plot F1 at IoU 0.5 over confidence for each class and their mean, with the best point marked, as a PNG file."""
    with saved_figure(path, (5.2, 4.2), _names(metrics)) as figure:
        axes = figure.add_subplot()
        labels = [_short(entry.name) for entry in metrics.per_class]
        _class_lines(axes, metrics.curves.confidence, metrics.curves.f1, labels, f"mean, best {metrics.f1:.3f}")
        axes.plot(metrics.confidence, metrics.f1, "o", color=BLUE, markersize=5, markeredgecolor="white", zorder=5)
        axes.set(title="F1 at IoU 0.5", xlabel="confidence", ylabel="F1", **UNIT_SQUARE)
        _legend(axes, None)
    return Path(path)


def plot_confusion(metrics: Metrics, path: str | Path) -> Path:
    """Plot the confusion matrix of labelled and detected classes, normalised per row, as a PNG file.

    The row "background" contains false positives, as fractions of all detections that match no labelled box.
    """
    counts = metrics.confusion.astype(np.float64)
    parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [*(_short(entry.name) for entry in metrics.per_class), "background"]
    named = len(names) <= LABELLED_CELLS + 1
    side = float(np.clip(1.9 + 0.42 * len(names), 4.0, 9.0)) if named else 6.0
    room = 0.07 * max(map(len, names)) if named else 0.0  # inches, for the names
    with saved_figure(path, (side + 1.2 + room, side + room), _names(metrics)) as figure:
        axes = figure.add_subplot()
        shown = axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
        axes.set(title="Confusion at confidence 0.25, IoU 0.5", xlabel="detected", ylabel="labelled")
        if not named:
            axes.set(xlabel="detected, last: background", ylabel="labelled, last: background")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        if named:
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(len(names)), names)
            _write_cells(axes, parts, metrics.confusion)
        axes.tick_params(length=0)
        bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
        bar.set_label("fraction of the row")
        bar.outline.set_visible(False)
    return Path(path)


def plot_metrics(metrics: Metrics, folder: Path) -> None:
    """Save ``pr_curve.png``, ``f1_curve.png`` and ``confusion.png`` in ``folder``, which is made if necessary."""
    make_folder(folder)
    for plot, name in zip((plot_pr_curve, plot_f1_curve, plot_confusion), METRIC_PLOTS, strict=True):
        plot(metrics, folder / name)


def plot_training(table: Mapping[str, Sequence[float]], path: str | Path) -> Path:
    """Plot the columns of a results table over epochs.

    Args:
        table: values by column name. ``epoch`` is the horizontal axis, by default the row number; the columns
            ``train/box`` and ``val/box`` share the panel ``box``; columns that contain only NaN are left out.
        path: the PNG file.
    """
    epochs = table.get("epoch", range(1, 1 + max(map(len, table.values()), default=0)))
    panels: dict[str, list[tuple[str, Sequence[float]]]] = {}
    for name, values in table.items():
        split, _, panel = name.rpartition("/")
        if name != "epoch" and not np.all(np.isnan(np.asarray(values, dtype=np.float64))):
            panels.setdefault(panel, []).append((split, values))
    columns = min(len(panels), 4) or 1
    rows = -(-len(panels) // columns) or 1
    with saved_figure(path, (2.6 * columns, 2.2 * rows), "".join(table)) as figure:
        for place, (panel, lines) in enumerate(panels.items(), start=1):
            axes = figure.add_subplot(rows, columns, place)
            _epoch_lines(axes, epochs, lines)
            axes.set_title(panel)
            if place > len(panels) - columns:
                axes.set_xlabel("epoch")
    return Path(path)


def _epoch_lines(axes: Any, epochs: Sequence[float], lines: Sequence[tuple[str, Sequence[float]]]) -> None:
    """Draw the lines of one panel of the training plot."""
    looks = zip(cycle((BLUE, ORANGE, INK, *CLASS_COLORS[:4])), cycle(DASHES), strict=False)
    known_epochs = 0
    for (name, values), (color, dash) in zip(lines, looks, strict=False):
        known = ~np.isnan(np.asarray(values, dtype=np.float64))  # some metrics are measured every few epochs only
        known_epochs = max(known_epochs, int(known.sum()))
        marker = "o" if known.sum() < 3 else None
        x, y = np.asarray(epochs)[known], np.asarray(values)[known]
        axes.plot(x, y, color=color, linestyle=dash, label=name, marker=marker, markersize=3)
    if known_epochs == 1:
        axes.margins(x=0.5)
        axes.set_xticks(np.asarray(epochs)[-1:])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    if 1 < len(lines) <= MOST_IN_LEGEND:
        axes.legend(fontsize=7, handlelength=2.4)


def _class_lines(axes: Any, x: NDArray[np.float64], y: NDArray[np.float64], labels: Sequence[str], mean: str) -> None:
    """Draw a line for each class that has labels, and their mean on top."""
    known = [i for i in range(len(y)) if not np.isnan(y[i]).any()]
    if known:
        axes.plot(x, y[known].mean(axis=0), color=BLUE, linewidth=2.4, label=mean, zorder=4)
    if len(known) > NAMED_CLASSES:
        axes.plot(x, y[known].T, color=PALE, linewidth=0.6, alpha=0.7)
        axes.plot([], [], color=PALE, label=f"{len(known)} classes")
    elif len(known) > 1:
        for place, i in enumerate(known):
            color, dash = CLASS_COLORS[place], DASHES[place % len(DASHES)]
            axes.plot(x, y[i], color=color, linestyle=dash, label=labels[i])


def _names(metrics: Metrics) -> str:
    return "".join(_short(entry.name) for entry in metrics.per_class)


def _short(name: str) -> str:
    """Shorten a long name, and show its control characters."""
    name = printable(name)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _legend(axes: Any, title: str | None) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title=title, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, alignment="left")


def _write_cells(axes: Any, parts: NDArray[np.float64], counts: NDArray[np.int64]) -> None:
    size = 9 if len(counts) <= 8 else 6
    for row, column in zip(*np.nonzero(counts), strict=True):
        part = parts[row, column]
        text = f"{part:.2f}\n{counts[row, column]}" if len(counts) <= 8 else f"{part:.2f}"[1 if part < 0.995 else 0 :]
        ink = "white" if part > 0.55 else INK
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=size, linespacing=1.1)


@contextmanager
def saved_figure(path: str | Path, inches: tuple[float, float], names: str = "") -> Iterator[Figure]:
    """Make an empty figure to draw on, and save it as a PNG file at the end of the block.

    Args:
        path: the file.
        inches: width and height.
        names: text that will be drawn, for whose letters fonts are chosen; not needed for ASCII.
    """
    path = Path(path)
    families, missing = fonts_for(names)
    with matplotlib.rc_context({**STYLE, "font.family": families}), missing_letters_reported(missing, path.name):
        figure = Figure(figsize=inches, dpi=200, layout="constrained")
        yield figure
        make_folder(path.parent)
        with atomic_write(path) as file:
            figure.savefig(file, format="png", metadata={"Software": "regard"})
