"""The page and the figure of ``swap.py``, from its raw figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
from kept import about, spread
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from regard.profiling.advice import WORTH_IT

FLOAT32 = 4
TRAINING = 2
"""Times the memory of inference that a training step needs: also the gradients of the weights and the scores."""
COLOURS = {"p3": "tab:red", "p4": "tab:orange", "p5": "tab:blue"}
MARKS = {"yolov5n": "o", "yolov5s": "s"}
PREDICTIONS = {"by_flops": "by FLOPs", "by_time": "by the time of the row alone"}

Row = Mapping[str, Any]


def written_out(row: Row) -> str:
    """What scores and weights, N x N for each head, would take if they were stored, and whether they fit."""
    needed = 2 * row["heads"] * row["positions"] ** 2 * FLOAT32
    word = ""
    if needed > row["free_bytes"]:
        word = ", does not fit"
    elif needed * TRAINING > row["free_bytes"]:
        word = ", does not fit in training"
    return f"{needed / 2**30:.2f} GiB{word}" if needed >= 2**26 else f"{needed / 2**20:.1f} MiB"


def best(row: Row) -> tuple[str, Row]:
    """The variant that made the whole network fastest."""
    return max(row["variants"].items(), key=lambda item: median(item[1]["measured"]))


def error(rows: Sequence[Row], key: str) -> float:
    """By what factor a prediction was off, in the median over all swaps: 1 is exact."""
    predicted = [v for row in rows for v in row["variants"].values() if v[key] is not None]
    off = [abs(math.log(v[key] / median(v["measured"]))) for v in predicted]
    return math.exp(median(off))


def sentences(rows: Sequence[Row]) -> list[str]:
    """In words where a cheaper variant matters, where not, and how accurate the predictions were."""
    best_of = [best(row) for row in rows]
    was = [is_faster(variant) for _, variant in best_of]
    words = [
        f"{_place(row)} ({median(v['measured']):.2f}x, {name})" for row, (name, v) in zip(rows, best_of, strict=True)
    ]
    matters, not_so = ([w for w, pay in zip(words, was, strict=True) if pay is wanted] for wanted in (True, False))
    lines = [
        f"**A cheaper variant matters** (the best makes the whole network at least {WORTH_IT:.2f}x as fast in the "
        f"median, and faster in every repeat) at {', '.join(matters) or 'none of the places'}. **It does not** at "
        f"{', '.join(not_so) or 'none of them'}.",
    ]
    predicted = [max(median(row["bound_time"]), row["bound_flops"]) >= WORTH_IT for row in rows]
    lines.append(
        f"`regard cost` advises a swap where either bound is at least {WORTH_IT:.2f}x: it does at {sum(predicted)} of "
        f"{len(rows)} places, at {sum(t and w for t, w in zip(predicted, was, strict=True))} of them rightly, and does "
        f"not at {sum(w and not t for t, w in zip(predicted, was, strict=True))} where a swap makes the model faster."
    )
    above = [v for row in rows for v in row["variants"].values() if _exceeds(row, v)]
    count = sum(len(row["variants"]) for row in rows)
    lines.append(
        f"Of {count} swaps the speed-up predicted by FLOPs is off by a factor of {error(rows, 'by_flops'):.2f} in the "
        f"median, that by the row's own time by {error(rows, 'by_time'):.2f}; {len(above)} went beyond the bound by "
        "time (their least ratio above its greatest)."
    )
    return lines


def is_faster(variant: Row) -> bool:
    """Whether a variant made the whole network faster in every repeat, and by enough in the median."""
    return median(variant["measured"]) >= WORTH_IT and min(variant["measured"]) > 1


def _exceeds(row: Row, variant: Row) -> bool:
    return min(variant["measured"]) > max(row["bound_time"])


def _place(row: Row) -> str:
    return f"{row['model']} {row['level'].upper()} at {row['imgsz']}"


def page(document: Mapping[str, Any], command: str) -> str:
    """The results as Markdown."""
    rows = list(document["rows"].values())
    lines = [
        "# Global attention replaced by cheaper variants: predicted and measured",
        "",
        about(document)
        + " Other programs used the machine: times are processor time." * ("clock" in document.get("settings", {}))
        + f" Command: `{command}`.",
        "",
        *(line for sentence in sentences(rows) for line in (sentence, "")),
        "![Measured and predicted speed-up](swap.png)",
        "",
        "A gated `MultiHeadSelfAttention` (4 heads) is placed after the layer and is replaced there; all else stays.",
        "One image, float32, PyTorch as `regard cost` runs it. A speed-up is the whole network's time with global",
        "attention over that with the variant: the median of paired runs, least and greatest. The bound leaves the",
        "mixing out and nothing else. *By FLOPs* is the network's FLOPs before over after; *by time* exchanges the",
        "measured time of the row alone (- where that alone took longer than the network,",
        "as when memory runs short). The fused kernel never stores N x N: the column says what it would take to write",
        "it out, and whether that would fit into the memory that was free.",
        "",
        "## Places",
        "",
        "| network | px | N | N x N written out | plain, ms | global, ms | bound by FLOPs | bound by time "
        "| best variant | its speed-up |",
        "|---|--:|--:|---|--:|--:|--:|---|---|---|",
    ]
    for row in rows:
        name, figures = best(row)
        lines.append(
            f"| {row['model']} {row['level'].upper()} | {row['imgsz']} | {row['positions']:,} | {written_out(row)} "
            f"| {row['plain_milliseconds']:.1f} | {row['milliseconds']:.1f} | {row['bound_flops']:.2f} "
            f"| {spread(row['bound_time'])} | {name} | {spread(figures['measured'])} |"
        )
    lines += ["", "## Swaps", "", "| network | px | variant | ms | by FLOPs | by time | measured |"]
    lines += ["|---|--:|---|--:|--:|--:|---|", *(line for row in rows for line in _swaps(row))]
    return "\n".join(lines) + "\n"


def _swaps(row: Row) -> list[str]:
    place = f"| {row['model']} {row['level'].upper()} | {row['imgsz']} |"
    lines = [
        f"{place} {name} | {v['milliseconds']:.1f} | {v['by_flops']:.2f} | {_by_time(v)} | {spread(v['measured'])} |"
        for name, v in sorted(row["variants"].items(), key=lambda item: -median(item[1]["measured"]))
    ]
    return lines + [f"{place} {name} | | | | not measured: {why} |" for name, why in row["skipped"].items()]


def _by_time(variant: Row) -> str:
    return "-" if variant["by_time"] is None else f"{variant['by_time']:.2f}"


def draw(document: Mapping[str, Any], file: Path) -> None:
    """Write the measured speed-ups over both predictions."""
    rows = list(document["rows"].values())
    figure, panels = plt.subplots(1, 2, figsize=(10, 5), sharex=True, sharey=True, layout="constrained")
    for axes, (key, words) in zip(panels, PREDICTIONS.items(), strict=True):
        for row in rows:
            predicted = [v for v in row["variants"].values() if v[key] is not None]
            x, y = [v[key] for v in predicted], [median(v["measured"]) for v in predicted]
            look = {"color": COLOURS[row["level"]], "marker": MARKS[row["model"]]}
            axes.scatter(x, y, s=12 + row["imgsz"] / 20, alpha=0.6, linewidths=0, **look)
        axes.axline((1, 1), (2, 2), color="grey", linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlabel=f"predicted speed-up {words}")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
            axis.set_major_formatter(FormatStrFormatter("%g"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(which="major", alpha=0.3)
    panels[0].set_ylabel("speed-up of the whole network, measured")
    for level, colour in COLOURS.items():
        panels[0].scatter([], [], color=colour, label=level.upper())
    for model, mark in MARKS.items():
        panels[0].scatter([], [], color="grey", marker=mark, label=model)
    panels[0].legend(title="size of a mark: pixels", fontsize=8, title_fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)
    plt.close(figure)
