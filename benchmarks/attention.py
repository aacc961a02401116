"""Time and memory of every attention module and block at P3, P4 and P5 of yolov5n, s and m, compared with peers.

    python benchmarks/attention.py --threads 2 --out docs/results
    python benchmarks/attention.py --modules BAM LSK --models yolov5n --shared

The blocks contain attention: C3TR, PartialSelfAttention, AreaAggregation, SwinStage, and C3Attention, C2fAttention and
C3k2Attention around the base, next to C3. MultiScaleDeformable reads all three levels. All modules of one place run in
turn, one after another in every repeat, so that a change in the machine's speed meets all alike; times are medians,
with the ratio to ``MultiHeadSelfAttention`` as the median of paired ratios, its least and its greatest. On a machine
that other programs use too, ``--shared`` measures processor time and writes these ratios alone. Peak memory is that
of tensors alive in a forward pass beyond the input (scratch inside kernels, and all of torch.nn.MultiheadAttention's
native path, is not seen). For modules that claim a cost linear in the number of positions the log-log slope of time
from 1,600 to 25,600 positions is measured.
Writes ``attention-DATE.json`` and ``attention-DATE.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median

import timm.layers
import torch
from kept import in_turn, ratios, write
from torch import Tensor, nn

import regard
from regard.errors import RegardError
from regard.nn.attention import ATTENTION
from regard.nn.attention.core import attention_weights, to_map, to_tokens
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.multi_scale import MultiScaleDeformable
from regard.nn.table import LAYERS
from regard.profiling.latency import latencies_in_turn
from regard.profiling.memory import LiveBytes

CPU = torch.device("cpu")
BASE = "MultiHeadSelfAttention"
CHANNELS = {"yolov5n": (64, 128, 256), "yolov5s": (128, 256, 512), "yolov5m": (192, 384, 768)}
LEVELS = {"P3": 80, "P4": 40, "P5": 20}
BLOCKS = (
    *("C3", "C3TR", "C3Attention", "C2fAttention", "C3k2Attention"),
    *("SwinStage", "PartialSelfAttention", "AreaAggregation"),
)
SLOPE_SIDES = (40, 80, 160)
SLOPE_CHANNELS = 128


class WrittenOut(MultiHeadSelfAttention):
    """The same attention with its N x N weights stored in memory, as in textbooks."""

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: tuple[int, int]) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        return attention_weights(q, k) @ v


class OnTokens(nn.Module):
    """A peer that works on (B, N, C), run on a map."""

    def __init__(self, peer: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.peer, self.call = peer, call

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return to_map(self.call(self.peer, to_tokens(x)), (x.shape[2], x.shape[3]))


class OfAllLevels(nn.Module):
    """MultiScaleDeformable on a map and two that are not given to it."""

    def __init__(self, model: str, level: str) -> None:
        super().__init__()
        others = [(c, side) for (name, side), c in zip(LEVELS.items(), CHANNELS[model], strict=True) if name != level]
        own = CHANNELS[model][list(LEVELS).index(level)]
        self.module = MultiScaleDeformable([own, *(c for c, _ in others)])
        self.others = [torch.randn(1, c, side, side) for c, side in others]

    def forward(self, x: Tensor) -> Tensor:
        """(1, C, H, W) -> (1, C, H, W)."""
        y: Tensor = self.module([x, *self.others])
        return y


@dataclass(frozen=True)
class Row:
    """What one module costs in one place.

    Attributes:
        name: YAML name, or the peer's.
        model: yolov5n, s or m.
        level: P3, P4 or P5.
        channels: of the map.
        side: of the map.
        forward_ms: median time of a forward pass, one image.
        step_ms: median time of a forward and a backward pass.
        forward_ratio: forward time over that of ``MultiHeadSelfAttention``; the median of paired ratios.
        step_ratio: likewise of forward and backward.
        forward_spread: least and greatest of the forward ratios.
        step_spread: likewise of forward and backward.
        peak_mib: most memory of a forward pass beyond its input.
    """

    name: str
    model: str
    level: str
    channels: int
    side: int
    forward_ms: float
    step_ms: float
    forward_ratio: float
    step_ratio: float
    forward_spread: tuple[float, float]
    step_spread: tuple[float, float]
    peak_mib: float


def modules(model: str, level: str, channels: int, names: list[str] | None) -> dict[str, nn.Module]:
    """Every module that takes so many channels, the blocks, and the peers; or those of these names, and the base."""
    found: dict[str, nn.Module] = {"MultiScaleDeformable": OfAllLevels(model, level)}
    for name in BLOCKS:
        build: Callable[[int], nn.Module] = LAYERS[name]
        found[name] = build(channels)
    for name, kind in ATTENTION.items():
        try:
            found[name] = kind(channels)
        except RegardError as error:
            print(f"{name} at {channels} channels: {error}")
    if names:
        return {name: module.eval() for name, module in found.items() if name in names or name == BASE}
    found["written out"] = WrittenOut(channels)
    multi_head = nn.MultiheadAttention(channels, 4, batch_first=True)
    found["torch.nn.MultiheadAttention"] = OnTokens(multi_head, lambda m, t: m(t, t, t, need_weights=False)[0])
    found["timm Attention"] = OnTokens(timm.layers.Attention(channels, 4), lambda m, t: m(t))
    return {name: module.eval() for name, module in found.items()}


def measure(model: str, level: str, channels: int, repeats: int, names: list[str] | None, shared: bool) -> list[Row]:
    """One row per module."""
    found, side = modules(model, level, channels, names), LEVELS[level]
    x = torch.randn(1, channels, side, side)
    forward = in_turn([lambda m=m: m(x) for m in found.values()], repeats, shared=shared)
    step = in_turn([lambda m=m: _step(m, x) for m in found.values()], repeats, shared=shared)
    base = list(found).index(BASE)
    rows = []
    for (name, module), f, s in zip(found.items(), forward, step, strict=True):
        paired = [ratios(own, every[base]) for own, every in ((f, forward), (s, step))]
        times = (median(f) * 1e3, median(s) * 1e3)
        spreads = [(min(r), max(r)) for r in paired]
        rows.append(Row(name, model, level, channels, side, *times, *map(median, paired), *spreads, peak(module, x)))
        print(
            f"{model} {level} {name:28} {times[0]:9.2f} ms {times[1]:9.2f} ms {rows[-1].peak_mib:8.1f} MiB", flush=True
        )
    return rows


def _step(module: nn.Module, x: Tensor) -> None:
    with torch.inference_mode(False), torch.enable_grad():  # the clock runs everything without gradients
        module(x.clone().requires_grad_()).sum().backward()


def peak(module: nn.Module, x: Tensor) -> float:
    """The most memory of a forward pass beyond its input, in MiB."""
    with torch.no_grad(), LiveBytes() as mode:
        module(x)
    return mode.peak / 2**20


def slopes(repeats: int, names: list[str] | None) -> dict[str, float]:
    """The log-log slope of forward time over positions, of modules that claim linear cost."""
    chosen = [name for name, kind in ATTENTION.items() if kind.card.linear and name in (names or ATTENTION)]
    linear = {name: ATTENTION[name](SLOPE_CHANNELS).eval() for name in chosen}
    inputs = [torch.randn(1, SLOPE_CHANNELS, side, side) for side in SLOPE_SIDES]
    found = {}
    for name, module in linear.items():
        times = latencies_in_turn([lambda x=x, m=module: m(x) for x in inputs], CPU, repeats)
        positions = [math.log(side * side) for side in SLOPE_SIDES]
        found[name] = _slope(positions, [math.log(median(t)) for t in times])
        print(f"slope of {name}: {found[name]:.2f}", flush=True)
    return found


def _slope(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    products = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return products / sum((a - mean_x) ** 2 for a in x)


def page(rows: list[Row], slope: Mapping[str, float], about: str, shared: bool) -> str:
    """The results as Markdown, without times if the machine was shared."""
    lines = [f"# What attention costs, {date.today()}", "", about, ""]
    headings = ("module", "forward, x", "forward and backward, x", "peak, MiB")
    if not shared:
        headings = ("module", "forward, ms", "x", "forward and backward, ms", "x", "peak, MiB")
    for model in dict.fromkeys(row.model for row in rows):
        for level in LEVELS:
            own = [row for row in rows if (row.model, row.level) == (model, level)]
            if own:
                lines += [f"## {model} {level}: {own[0].channels} channels, {own[0].side} x {own[0].side}", ""]
                lines += [f"| {' | '.join(headings)} |", "|---" + "|--:" * (len(headings) - 1) + "|"]
                lines += [_line(r, shared) for r in sorted(own, key=lambda row: row.forward_ratio)] + [""]
    if slope:
        lines += [
            "## Growth",
            "",
            "Log-log slope of forward time over positions, 1,600 to 25,600, 128 channels; 1 is linear.",
            "",
        ]
        lines += ["| module | slope |", "|---|--:|", *(f"| {name} | {value:.2f} |" for name, value in slope.items())]
    return "\n".join(lines) + "\n"


def _line(row: Row, shared: bool) -> str:
    forward, step = (
        f"{ratio:.3g} ({low:.3g} to {high:.3g})"
        for ratio, (low, high) in ((row.forward_ratio, row.forward_spread), (row.step_ratio, row.step_spread))
    )
    times = (forward, step) if shared else (f"{row.forward_ms:.2f}", forward, f"{row.step_ms:.2f}", step)
    return f"| {row.name} | {' | '.join(times)} | {row.peak_mib:.1f} |"


def main() -> None:
    """Measure and write both files, after each place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(CHANNELS), choices=list(CHANNELS))
    parser.add_argument("--modules", nargs="+", choices=[*ATTENTION, *BLOCKS], help=f"only these, and {BASE}")
    parser.add_argument("--levels", nargs="+", default=list(LEVELS), choices=list(LEVELS))
    parser.add_argument("--shared", action="store_true", help="other programs run: ratios of processor time alone")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    given = [*(["--modules", *a.modules] if a.modules else []), "--models", *a.models, "--repeats", str(a.repeats)]
    given += ["--levels", *a.levels] if a.levels != list(LEVELS) else []
    given += ["--threads", str(a.threads), *(["--shared"] * a.shared)]
    about = (
        f"One image of 640 px, float32, {a.threads} thread{'s' * (a.threads > 1)}, {platform.machine()} CPU, "
        f"torch {torch.__version__}, "
        f"regard {regard.__version__}, medians of {a.repeats} repeats in turn. "
        f"x: times that of `{BASE}`, the median of paired ratios (least to greatest). "
        + "Other programs used the machine: processor time was measured, and no times are published. " * a.shared
        + f"Command: `python benchmarks/attention.py {' '.join(given)}`."
    )
    path, rows = a.out / f"attention-{date.today()}.json", []
    places = [(m, x, c) for m in a.models for x, c in zip(LEVELS, CHANNELS[m], strict=True) if x in a.levels]
    for model, level, channels in places:
        rows += measure(model, level, channels, a.repeats, a.modules, a.shared)
        slope = slopes(a.repeats, a.modules) if (model, level, channels) == places[-1] and not a.shared else {}
        raw = {"about": about, "rows": [asdict(row) for row in rows], "slopes": slope}
        write(path, json.dumps(raw, indent=1) + "\n")
        write(path.with_suffix(".md"), page(rows, slope, about, a.shared))
    print(path)


if __name__ == "__main__":
    main()
