"""Write docs/catalogue.md in each language, its images and catalogue.html: `python docs/make_catalogue.py`.

Everything comes from the code: the formulas from each module's card, the numbers from building it, the patterns from
its ``attention()`` on one drawn scene, the times from docs/results/attention-*.json, what is known from the studies.
"""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from catalogue_page import html
from catalogue_studies import Finding, findings
from catalogue_words import ENGLISH, PAGES, Words
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from regard.data.synthetic import SIZE, Scene, scene
from regard.nn.attention import ATTENTION, Attention
from regard.nn.counter import count, count_on_map
from regard.nn.table import LAYERS
from regard.profiling.catalogue import positions_of
from regard.types import LetterboxTransform
from regard.visualize.attend import View
from regard.visualize.attention_figure import channels_of, draw_map, mark_query, panels_of
from regard.visualize.plots import BLUE

DOCS = Path(__file__).resolve().parent
TEMPLATES = DOCS / "templates"
IMAGES, RESULTS = DOCS / "images" / "catalogue", DOCS / "results"

CHANNELS, SIDE = 128, 40
"""What parameters and FLOPs are stated for."""
BLOCKS = (
    *("C3", "C3TR", "C3Attention", "C2fAttention", "C3k2Attention", "SwinStage"),
    *("PartialSelfAttention", "AreaAggregation", "MultiScaleDeformable"),
)
LEVELS, TIMED_MODEL, REFERENCE = ("P3", "P4", "P5"), "yolov5n", "MultiHeadSelfAttention"
MAP_CHANNELS, MAP_SIDE, SEED = 32, 32, 0
SCENE, OBJECT = 5, 2
"""Number of the scene, and the object in it whose middle is the query."""
SCENE_IMAGE = "scene.jpg"
ROUNDING = 12
"""Largest difference of a value between equal pictures of two machines, of 255."""
IMAGE_INCHES, IMAGE_DPI, PER_ROW = 1.2, 200, 4
TIED = (("w_q", "w_k"), ("q", "k"), ("theta", "phi"), ("query", "key"))
"""Names of the layers that compute queries and keys; they get equal weights for the images."""


def main() -> None:
    """Write the page and one image for each module."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for path in IMAGES.iterdir():
        if path.stem not in ATTENTION:  # of a module that is gone
            path.unlink()
    draw_scene(IMAGES / SCENE_IMAGE)
    for name, module in ATTENTION.items():
        draw(name, module, IMAGES / f"{name}.png")
    for file, words in PAGES.items():
        (DOCS / file).write_text(page(words), encoding="utf-8")
        html_of(file).write_text(html(newest_times()[0], words), encoding="utf-8")
    print(f"{DOCS}: {len(ATTENTION)} modules")


def html_of(file: str) -> Path:
    """Path of the HTML page in the language of a page."""
    return (DOCS / file).with_suffix(".html")


def page(words: Words = ENGLISH) -> str:
    """The whole page, in one language."""
    times, about = newest_times(words)
    found = findings(words)
    over = [words.time.format(level=level) for level in LEVELS]
    rows = [row(name, words) + _times(times, name) for name in ATTENTION]
    around = [block_row(name, words) + _times(times, name) for name in BLOCKS]
    when = [
        [f"`{name}`", f"{words.translate(kind.card.when)}{words.gap}{known(found.get(name, []), words)}"]
        for name, kind in ATTENTION.items()
    ]
    file = next(file for file, one in PAGES.items() if one is words)
    values = {
        "modules": _table([*words.headings, *over], rows) + (f"\n{about}" if about else ""),
        "blocks": _table([*words.block_headings, *over], around).rstrip("\n"),
        "known": _table(words.when_headings, when).rstrip("\n"),
        "images": gallery(words).rstrip("\n"),
        "channels": CHANNELS,
        "side": SIDE,
        "reference": REFERENCE,
        "size": SIZE,
        "map_side": MAP_SIDE,
        "map_channels": MAP_CHANNELS,
    }
    return (TEMPLATES / file).read_text(encoding="utf-8").format_map(values)


def known(found: Sequence[Finding], words: Words = ENGLISH) -> str:
    """One sentence of all findings on a module, each with its page."""
    parts = [words.study.format(text=text, page=page) if page else text for text, page in found]
    return words.studies.format(found=words.between[1].join(parts)) if parts else words.nothing


def _times(times: Mapping[tuple[str, str], str], name: str) -> list[str]:
    return [times.get((name, level), "-") for level in LEVELS]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (headings, ["---"] * len(headings), *rows)]
    return "\n".join(lines) + "\n"


def row(name: str, words: Words = ENGLISH) -> list[str]:
    """One line of the table without its times."""
    kind = ATTENTION[name]
    card, module = kind.card, kind(CHANNELS)
    parameters = sum(p.numel() for p in module.parameters())
    exports = words.no.format(obstacle=words.translate(card.obstacle)) if card.obstacle else words.yes
    peers = [words.translate(peer) if " " in peer else f"`{peer}`" for peer in card.peers]
    return [
        f"`{name}`",
        words.families.get(card.family, card.family),
        _paper(card.paper),
        _code(card.equation),
        f"{_code(card.parameters)} = {parameters:,}" if parameters else "0",
        f"{_code(card.flops)} = {count_on_map(module, CHANNELS, SIDE, SIDE).flops / 1e6:,.1f} M",
        ", ".join(positions_of(name)) or "-",
        exports + (words.export_instead.format(instead=card.instead) if card.instead else ""),
        words.between[0].join(peers) or "-",
    ]


def block_row(name: str, words: Words = ENGLISH) -> list[str]:
    """One line of the table of blocks without its times: with default options, on one map or three levels."""
    build: Any = LAYERS[name]
    maps = [torch.zeros(1, CHANNELS * scale, SIDE // scale, SIDE // scale, device="meta") for scale in (1, 2, 4)]
    several = getattr(build, "multi_input", False)
    module = build([x.shape[1] for x in maps] if several else CHANNELS).to("meta").eval()
    flops = count(module, maps if several else maps[0]).flops
    parameters = sum(p.numel() for p in module.parameters())
    what = (inspect.getdoc(build) or "").splitlines()[0].rstrip(".")
    return [f"`{name}`", words.blocks.get(name, what), f"{parameters:,}", f"{flops / 1e6:,.1f} M"]


def newest_times(words: Words = ENGLISH) -> tuple[Mapping[tuple[str, str], str], str]:
    """Times by module and level, those of ``REFERENCE`` being 1, and a note on the measurements ("" without any).

    A module's times are those of the newest file that has it.
    """
    times: dict[tuple[str, str], str] = {}
    source: dict[tuple[str, str], str] = {}
    for file in sorted(RESULTS.glob("attention-*.json")):
        measured = json.loads(file.read_text(encoding="utf-8"))
        models = [r["model"] for r in measured["rows"]]
        model = TIMED_MODEL if TIMED_MODEL in models else models[0]
        found = {(r["name"], r["level"]): f"{r['forward_ratio']:.2g}" for r in measured["rows"] if r["model"] == model}
        times |= found
        note = words.measurement.format(name=file.stem, model=model, about=measured["about"])
        source |= dict.fromkeys(found, note)
    if not times:
        return {}, ""
    return times, words.times.format(reference=REFERENCE) + "\n".join(sorted({*source.values()}))


def gallery(words: Words = ENGLISH) -> str:
    """The images as a table."""
    images = {words.scene: SCENE_IMAGE} | {f"`{name}`": f"{name}.png" for name in ATTENTION}
    cells = [
        f'<img src="images/catalogue/{file}" width="200" alt="{title.strip("`")}"><br>{title}'
        for title, file in images.items()
    ]
    lines = ["| " * PER_ROW + "|", "| :-: " * PER_ROW + "|"]
    for start in range(0, len(cells), PER_ROW):
        some = cells[start : start + PER_ROW]
        lines.append("| " + " | ".join(some + [""] * (PER_ROW - len(some))) + " |")
    return "\n".join(lines) + "\n"


def draw_scene(path: Path) -> None:
    """Draw the scene with its query."""
    drawn = scene(SEED, "val", SCENE)
    figure, axes = _canvas()
    axes.imshow(drawn.read(), extent=(0, SIZE, SIZE, 0))
    axes.plot(*centre_of(drawn, OBJECT), "o", markersize=4, markerfacecolor="none", markeredgecolor="white")
    figure.savefig(path, format="jpg")  # noise makes a PNG large


def draw(name: str, kind: type[Attention], path: Path) -> None:
    """Draw the attention pattern of a module as a small PNG without words."""
    drawn = scene(SEED, "val", SCENE)
    x, query = features(drawn), centre_of(drawn, OBJECT)
    torch.manual_seed(SEED)
    module = kind(MAP_CHANNELS).eval()
    tie(module)
    cell = SIZE // MAP_SIDE
    with torch.no_grad():
        found = module.attention(x, (int(query[1]) // cell, int(query[0]) // cell))
    placement = LetterboxTransform((SIZE, SIZE), (1.0, 1.0), (0.0, 0.0))
    view = View(name, name, found, drawn.read(), placement, (SIZE, SIZE), query, {})
    figure, axes = _canvas()
    panels, channels = panels_of(found), channels_of(found)
    if panels:
        draw_map(axes, view, panels[0])
        if found.kind == "rows":
            mark_query(axes, view, 4)
    elif channels is not None:
        axes.bar(range(len(channels)), channels, width=0.8, color=BLUE)
        axes.set(ylim=(0, 1.25 * channels.max()), xlim=(-2, len(channels) + 1))
    _write(figure, path)


def _canvas() -> tuple[Figure, Any]:
    figure = Figure(figsize=(IMAGE_INCHES, IMAGE_INCHES), dpi=IMAGE_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def _write(figure: Figure, path: Path) -> None:
    """Write a picture, unless the one that is there differs only by rounding, as on another processor."""
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})  # the same bytes for every version of matplotlib
    data = content.getvalue()
    if path.exists():
        new, old = (cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in (data, path.read_bytes()))
        if new.shape == old.shape and np.abs(new.astype(int) - old).max() <= ROUNDING:
            return
    path.write_bytes(data)


def features(drawn: Scene) -> Tensor:
    """A map of the scene, (1, C, H, W): colour and place of each cell, projected by a fixed random matrix."""
    image = torch.from_numpy(drawn.read()).permute(2, 0, 1)[None].float() / 255
    colour = 4 * (F.avg_pool2d(image, SIZE // MAP_SIDE) - 0.5)
    line = torch.linspace(-1, 1, MAP_SIDE)
    place = torch.stack((line[:, None].expand(-1, MAP_SIDE), line[None].expand(MAP_SIDE, -1)))[None]
    values = torch.cat((colour, 0.7 * place, torch.ones_like(colour)), 1)
    matrix = torch.randn(MAP_CHANNELS, values.shape[1], generator=torch.Generator().manual_seed(SEED))
    projected = torch.einsum("oc,bchw->bohw", matrix, values)
    return 1.3 * projected / projected.std()


def centre_of(drawn: Scene, index: int) -> tuple[float, float]:
    """X, y of the middle of an object in pixels."""
    left, top = drawn.corners[index]
    half = drawn.sides[index] / 2
    return float(left + half), float(top + half)


@torch.no_grad()
def tie(module: nn.Module) -> None:
    """Give queries and keys the same matrix, wherever a module makes them by layers of equal shape."""
    for part in module.modules():
        packed = getattr(part, "qkv", None)
        if isinstance(packed, nn.Linear) and packed.out_features == 3 * packed.in_features:
            for tensor in packed.parameters():
                first, second, _ = tensor.chunk(3)
                second.copy_(first)
        for of_query, of_key in TIED:
            query, key = getattr(part, of_query, None), getattr(part, of_key, None)
            if isinstance(query, nn.Module) and isinstance(key, nn.Module):
                for a, b in zip(query.parameters(), key.parameters(), strict=False):
                    if a.shape == b.shape:
                        b.copy_(a)


def _paper(paper: str) -> str:
    """An arXiv identifier as a link, any other reference as it is."""
    is_arxiv = paper.replace(".", "", 1).isdigit()
    return f"[{paper}](https://arxiv.org/abs/{paper})" if is_arxiv else paper


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


if __name__ == "__main__":
    main()
