"""Draw the figures of the tutorial into docs/images/tutorial/: `python docs/make_tutorial_figures.py`.

They show what the tutorial's blocks compute, from the same image and the package's modules, and contain no words, so
that the pages of all languages share them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import regard
from regard.ablate.verdict import judge
from regard.graph.cost import row_costs
from regard.graph.spec import ModelSpec
from regard.nn.attention import ATTENTION
from regard.nn.attention.convolution import ConvolutionAsAttention
from regard.nn.attention.core import Attention
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.types import AttentionMap, LetterboxTransform
from regard.visualize.attend import View
from regard.visualize.attention_figure import draw_map, mark_query, panels_of
from regard.visualize.plots import BLUE, INK, ORANGE, PALE

IMAGES = Path(__file__).resolve().parent / "images" / "tutorial"
IMAGE = IMAGES / "cells.png"

ROWS, COLUMNS, CELL = 12, 14, 16
"""The image's cells, and their side in pixels."""
NUCLEUS, RED_CELL, GROUND, RIM = (9, 6), (5, 3), (6, 8), (5, 11)
"""(row, column) of the cells that the tutorial asks from."""
HUE = torch.tensor([[2.0, 2, 0], [0, -4, 0], [-2, 2, 0]])
MDE = 0.01
BCCD = (0.58501 - 0.58305, 0.57243 - 0.59342, 0.59535 - 0.58759)
"""AP on val with SE less without, by seed: docs/results/bccd.md."""
LEVELS, SIZES = ("p3", "p4", "p5"), (320, 640, 1280)
DPI, COLOURS = 130, 128

Cell = tuple[int, int]


def main() -> None:
    """Draw every figure."""
    for name, draw in FIGURES.items():
        path = IMAGES / name
        write(draw(), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def write(figure: Figure, path: Path) -> None:
    """Save a figure as a small PNG: of few colours, which photographs with large cells bear."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def read_image() -> NDArray[np.uint8]:
    """The image, (192, 224, 3) RGB."""
    image = cv2.imread(str(IMAGE))
    assert image is not None
    return np.asarray(image[:, :, ::-1], dtype=np.uint8)


def colour_map() -> Tensor:
    """The cells' mean colours less the image's, in units of 32: (1, 3, 12, 14), chapter 3."""
    pixels = torch.from_numpy(read_image().copy()).float()
    cells = pixels.reshape(ROWS, CELL, COLUMNS, CELL, 3).mean(dim=(1, 3))
    return ((cells - cells.mean(dim=(0, 1))) / 32).permute(2, 0, 1)[None]


def feature_map() -> Tensor:
    """Colour and contrast of the cells, each of mean 0 and spread 1: (1, 4, 12, 14), chapter 4."""
    pixels = torch.from_numpy(read_image().copy()).float()
    tiles = pixels.reshape(ROWS, CELL, COLUMNS, CELL, 3)
    contrast = pixels.mean(-1).reshape(ROWS, CELL, COLUMNS, CELL).std(dim=(1, 3))
    a = torch.cat((tiles.mean(dim=(1, 3)), contrast[..., None]), -1).reshape(-1, 4)
    return ((a - a.mean(0)) / a.std(0)).T.reshape(1, 4, ROWS, COLUMNS)


@torch.no_grad()
def with_matrices(kind: type[Attention], queries_and_keys: Tensor, **options: Any) -> MultiHead:
    """A multi-head module whose queries and keys are made by one matrix; values and output stay as they are."""
    channels = len(queries_and_keys)
    module = kind(channels, **options).eval()
    assert isinstance(module, MultiHead)
    w, one = queries_and_keys.T, torch.eye(channels)
    for layer, matrix in ((module.qkv, torch.cat((w, w, one))), (module.out, one)):
        layer.weight.copy_(matrix)
        layer.bias.zero_()
    return module


def canvas(columns: int, rows: int, width: float, height: float) -> tuple[Figure, NDArray[np.object_]]:
    """A figure of panels without axes; sizes of a panel in inches."""
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    panels = np.asarray(figure.subplots(rows, columns, squeeze=False), dtype=object)
    for axes in panels.flat:
        axes.set_axis_off()
    return figure, panels


def view(found: AttentionMap, query: Cell, image: NDArray[np.uint8]) -> View:
    """Weights as something that can be drawn over ``image``."""
    size = (image.shape[0], image.shape[1])
    centre = ((query[1] + 0.5) * CELL, (query[0] + 0.5) * CELL)
    return View("", "", found, image, LetterboxTransform(size, (1.0, 1.0), (0.0, 0.0)), size, centre, {})


def draw_row(
    axes: Any, found: AttentionMap, query: Cell, panel: int = 0, image: NDArray[np.uint8] | None = None
) -> None:
    """Draw weights over the faded image: of panel 0 the mean of the heads, of panel h those of head h."""
    shown = view(found, query, read_image() if image is None else image)
    draw_map(axes, shown, panels_of(found)[panel])
    mark_query(axes, shown, 5)


def draw_image(axes: Any, queries: Sequence[Cell] = (), image: NDArray[np.uint8] | None = None) -> None:
    """Draw the image with rings at the queries."""
    shown = read_image() if image is None else image
    axes.imshow(shown, interpolation="nearest")
    for query in queries:
        mark_query(axes, view(AttentionMap("rows", torch.zeros(1)), query, shown), 5)


def grid() -> Figure:
    """The image under the grid of its cells."""
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.subplots()
    draw_image(axes)
    axes.set_xticks(np.arange(COLUMNS) * CELL + CELL / 2 - 0.5, [*map(str, range(COLUMNS))], fontsize=8)
    axes.set_yticks(np.arange(ROWS) * CELL + CELL / 2 - 0.5, [*map(str, range(ROWS))], fontsize=8)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.hlines(np.arange(1, ROWS) * CELL - 0.5, -0.5, COLUMNS * CELL - 0.5, color="white", linewidth=0.6)
    axes.vlines(np.arange(1, COLUMNS) * CELL - 0.5, -0.5, ROWS * CELL - 0.5, color="white", linewidth=0.6)
    return figure


def indices() -> Figure:
    """The head's references by number, before and after a row is inserted at 10, two of them left behind."""
    plain = regard.load("yolov5n").spec
    edited = regard.insert(regard.load("yolov5n"), "SE", after="sppf", gate=False).spec
    figure, panels = canvas(2, 1, 3.7, 5.6)
    for axes, spec, stale in (
        (panels[0, 0], plain, {}),
        (panels[0, 1], edited, {"head.p4_merge": 14, "head.p5_merge": 10}),
    ):
        first = 9
        for i, row in enumerate(spec.layers[first:], first):
            new = row.name == "sppf.se"
            axes.text(
                0,
                i,
                f"{i:2}  {row.name}",
                va="center",
                fontsize=8,
                family="DejaVu Sans Mono",
                color=ORANGE if new else INK,
            )
            for source in _numbers(spec, i):
                if source >= first:
                    _arrow(axes, source, i, BLUE, "-")
            if row.name in stale:
                _arrow(axes, stale[row.name], i, ORANGE, "--")
        axes.set(xlim=(-3.4, 7), ylim=(25.5, 8.5))
    return figure


def _numbers(spec: ModelSpec, reader: int) -> list[int]:
    """The references of a row that an integer YAML says by number, not by -1."""
    read = [spec.index(name) for name in spec.layers[reader].inputs]
    return read[1:] if read[0] == reader - 1 else read


def _arrow(axes: Any, source: int, target: int, colour: str, dashes: str) -> None:
    bend = 0.55 if dashes == "-" else 0.45
    arrow = FancyArrowPatch(
        (-0.15, source), (-0.15, target), connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=9,
        color=colour, linestyle=dashes, linewidth=1.3,
    )  # fmt: skip
    axes.add_patch(arrow)


@torch.no_grad()
def queries() -> Figure:
    """Three queries, and their weights with the identity and with ``HUE``."""
    figure, panels = canvas(3, 3, 2.2, 1.95)
    for column, query in enumerate((NUCLEUS, RED_CELL, GROUND)):
        draw_image(panels[0, column], [query])
        for row, matrix in enumerate((torch.eye(3), HUE), 1):
            module = with_matrices(MultiHeadSelfAttention, matrix, num_heads=1)
            draw_row(panels[row, column], module.attention(colour_map(), query), query)
    return figure


@torch.no_grad()
def heads() -> Figure:
    """One query and what two heads give their weight to."""
    figure, panels = canvas(3, 1, 2.4, 2.1)
    found = with_matrices(MultiHeadSelfAttention, 2 * torch.eye(4), num_heads=2).attention(feature_map(), RIM)
    draw_image(panels[0, 0], [RIM])
    for head, axes in enumerate(panels[0, 1:], 1):
        draw_row(axes, found, RIM, head)
    return figure


@torch.no_grad()
def shuffled() -> Figure:
    """The image and its shuffled cells, and the weights of the same query in both."""
    order = torch.randperm(ROWS * COLUMNS, generator=torch.Generator().manual_seed(0))
    x = feature_map()
    mixed = x.flatten(2)[:, :, order].reshape(x.shape)
    tiles = read_image().reshape(ROWS, CELL, COLUMNS, CELL, 3).transpose(0, 2, 1, 3, 4).reshape(-1, CELL, CELL, 3)
    image = tiles[order.numpy()].reshape(ROWS, COLUMNS, CELL, CELL, 3).transpose(0, 2, 1, 3, 4)
    image = image.reshape(ROWS * CELL, COLUMNS * CELL, 3)
    place = int((order == NUCLEUS[0] * COLUMNS + NUCLEUS[1]).nonzero())
    moved = divmod(place, COLUMNS)
    module = with_matrices(MultiHeadSelfAttention, 2 * torch.eye(4), num_heads=2)
    figure, panels = canvas(4, 1, 1.9, 1.7)
    draw_image(panels[0, 0], [NUCLEUS])
    draw_row(panels[0, 1], module.attention(x, NUCLEUS), NUCLEUS)
    draw_image(panels[0, 2], [moved], image)
    draw_row(panels[0, 3], module.attention(mixed, moved), moved, image=image)
    return figure


@torch.no_grad()
def shifts() -> Figure:
    """Where nine heads look around one query, sharp on the left, soft on the right."""
    figure, panels = canvas(7, 3, 0.9, 0.9)
    for start, alpha in ((0, 1000.0), (4, 1.0)):
        weights = ConvolutionAsAttention(1, kernel=3, alpha=alpha).attention(torch.zeros(1, 1, 7, 7), (3, 3)).weights
        for head in range(9):
            axes = panels[head // 3, start + head % 3]
            axes.imshow(weights[0, head, 0].numpy(), cmap="cividis", vmin=0)
            axes.add_patch(Circle((3, 3), 0.35, fill=False, color="white", linewidth=1.2))
    return figure


def share() -> Figure:
    """The share of the N^2 products in yolov5n's work, by level and size of the input."""
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axes = figure.subplots()
    for i, (level, colour) in enumerate(zip(LEVELS, (BLUE, ORANGE, PALE), strict=True)):
        detector = regard.insert(regard.load("yolov5n"), "MultiHeadSelfAttention", after=level)
        costs = [row_costs(detector, size) for size in SIZES]
        parts = [100 * sum(c.mixing_flops for c in some) / sum(c.flops for c in some) for some in costs]
        bars = axes.bar(np.arange(len(SIZES)) + 0.27 * (i - 1), parts, 0.25, color=colour, label=level.upper())
        axes.bar_label(bars, [f"{part:.0f} %" if part >= 1 else f"{part:.1f} %" for part in parts], fontsize=8)
    axes.set_xticks(range(len(SIZES)), [f"{size} px" for size in SIZES])
    axes.set_yticks([])
    axes.set(ylim=(0, 100))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    return figure


VARIANTS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("MultiHeadSelfAttention", {}),
    ("WindowAttention", {"window": 4}),
    ("NeighborhoodAttention", {"kernel": 5}),
    ("CrissCrossAttention", {}),
    ("PooledAttention", {"reduction": 2}),
    ("LinearAttention", {}),
)
"""Six ways to look from one place."""


@torch.no_grad()
def variants() -> Figure:
    """The weights of one query, mean of two heads, under six kinds of attention."""
    figure, panels = canvas(3, 2, 2.2, 1.95)
    for axes, (name, options) in zip(panels.flat, VARIANTS, strict=True):
        module = with_matrices(ATTENTION[name], 2 * torch.eye(4), num_heads=2, **options)
        draw_row(axes, module.attention(feature_map(), NUCLEUS), NUCLEUS)
    return figure


def interval() -> Figure:
    """Three paired differences, their mean and its 95 % interval, and the band of what does not matter."""
    found = judge({"": dict(enumerate(BCCD))}, alpha=0.05, mde=MDE)[""]
    figure = Figure(figsize=(6, 1.3), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-MDE, MDE, color="#EEEEEE")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.plot(found.interval, (0, 0), color=BLUE, linewidth=2.5, solid_capstyle="butt")
    axes.plot(found.mean, 0, "D", color=BLUE)
    axes.plot(BCCD, (0.45,) * len(BCCD), "o", markerfacecolor="none", markeredgecolor=INK)
    for seed, difference in enumerate(BCCD):
        axes.text(difference, 0.75, str(seed), ha="center", fontsize=8, color=INK)
    axes.set(ylim=(-0.4, 1.2), xlim=(-0.05, 0.05), yticks=[])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure


FIGURES: Mapping[str, Callable[[], Figure]] = MappingProxyType(
    {
        f"{draw.__name__}.png": draw
        for draw in (grid, indices, queries, heads, shuffled, shifts, share, variants, interval)
    }
)


if __name__ == "__main__":
    main()
