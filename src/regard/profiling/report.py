"""The report of `regard cost`: FLOPs, time and memory of every row, and the bound for cheaper attention."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text
from torch import nn

from regard.config import IMGSZ, require_positive
from regard.graph.cost import RowCost, attention_costs, row_costs
from regard.graph.detector import Detector
from regard.graph.summary import flops_text
from regard.nn.c3_attention import WithAttention
from regard.nn.capture import is_attention
from regard.nn.gate import without_gate
from regard.profiling.advice import REPEAT, Bound, Variant, advise, bounds, variants_for, with_times
from regard.profiling.latency import median_interval, row_times
from regard.profiling.memory import row_peaks
from regard.system.interrupts import interrupts_deferred
from regard.system.notebook import ShownInNotebooks
from regard.system.plain_table import PlainTable
from regard.system.terminal import plain_text
from regard.weights.detector import Model, as_detector

MOST_SPREAD = 1.25
"""Largest quotient of the ends of an interval of a time that can be relied on."""


@dataclass(frozen=True)
class CostRow:
    """One row of the table.

    Attributes:
        name: the row's name.
        module: its class.
        flops: for one image; a multiplication and an addition count as two.
        mixing_flops: the part in which attention multiplies queries, keys and values.
        milliseconds: measured, the median over repeats, for one image.
        peak_mib: peak memory beyond what was allocated when the row began, in MiB, measured for one image.
    """

    name: str
    module: str
    flops: int
    mixing_flops: int
    milliseconds: float
    peak_mib: float


@dataclass(frozen=True)
class CostReport(ShownInNotebooks):
    """What a detector costs.

    Attributes:
        rows: one per layer.
        bounds: of every row that mixes: the largest speed-up by any cheaper variant.
        variants: cheaper modules of the catalogue for these rows, by the row's name; None for a block whose
            attention is its own, such as C2PSA.
        advice: the same in words.
        imgsz: side of the input in pixels.
        device: where times and memory were measured, with the number of threads.
        spread: interval that covers the true time of the whole model, in milliseconds, with a probability of 95 %; with
            fewer than six repeats, the smallest and largest time.
    """

    rows: tuple[CostRow, ...]
    bounds: tuple[Bound, ...]
    variants: dict[str, list[Variant] | None]
    advice: tuple[str, ...]
    imgsz: int
    device: str
    spread: tuple[float, float] = (0.0, 0.0)

    @property
    def flops(self) -> int:
        """Of the whole model."""
        return sum(row.flops for row in self.rows)

    @property
    def milliseconds(self) -> float:
        """Of the whole model."""
        return sum(row.milliseconds for row in self.rows)

    @property
    def is_noisy(self) -> bool:
        """Whether the times are too noisy to rely on: those of the whole model, or those of a bound."""
        return bool(self.noise) or any(bound.is_noisy for bound in self.bounds)

    @property
    def noise(self) -> str:
        """What to think of the times of the layers, if those of the whole model differ much; else ""."""
        low, high = self.spread
        if high <= MOST_SPREAD * low <= MOST_SPREAD**2 * self.milliseconds:
            return ""
        # On a busy machine the medians of the layers, which are shown, may add up to less than any whole run took.
        low, high = min(low, self.milliseconds), max(high, self.milliseconds)
        return f"The times are noisy: the whole model took {low:.1f} to {high:.1f} ms; {REPEAT}."

    def to_dict(self) -> dict[str, Any]:
        """Convert the report to plain values that JSON can represent.

        They are the fields, and ``is_noisy`` of the report and of each bound.
        """
        found = asdict(self)
        for values, bound in zip(found["bounds"], self.bounds, strict=True):
            values["is_noisy"] = bound.is_noisy
        return {**found, "is_noisy": self.is_noisy}

    def to_json(self) -> str:
        """Write the report as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def to_markdown(self) -> str:
        """Write the tables as GitHub Markdown."""
        parts = [_markdown(_ROW_HEADINGS, map(self._row_cells, self.rows)), self.totals]
        parts += [self.noise] if self.noise else []
        if self.bounds:
            parts += [_markdown(_BOUND_HEADINGS, map(self._bound_cells, self.bounds)), "\n".join(self.advice)]
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return plain_text(self, 120)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the tables, the total and the advice."""
        yield _table(_ROW_HEADINGS, map(self._row_cells, self.rows))
        yield Text(self.totals, style="bold")
        if self.noise:
            yield Text(self.noise, style="yellow")
        if self.bounds:
            advice = [Text(line, style="yellow") for line in self.advice]
            title = Text("\nThe most that a cheaper variant of a row could bring to the whole model", style="bold")
            yield Group(title, _table(_BOUND_HEADINGS, map(self._bound_cells, self.bounds)), *advice)

    @property
    def totals(self) -> str:
        """The line under the rows."""
        mixing = sum(row.mixing_flops for row in self.rows)
        attention = (
            f", {mixing / self.flops:.1%} of them mixing by attention" if mixing else ", no attention that mixes"
        )
        return (
            f"{flops_text(self.flops)}{attention}; {self.milliseconds:.1f} ms per image at {self.imgsz} px "
            f"on {self.device}"
        )

    def _row_cells(self, row: CostRow) -> list[str]:
        return [
            row.name,
            row.module,
            f"{row.flops / 1e6:,.1f}",
            f"{row.flops / self.flops:.1%}",
            f"{row.mixing_flops / self.flops:.1%}" if row.mixing_flops else "",
            f"{row.milliseconds:.2f}",
            f"{row.milliseconds / self.milliseconds:.1%}",
            f"{row.peak_mib:.1f}",
        ]

    def _bound_cells(self, bound: Bound) -> list[str]:
        low, high = bound.spread
        by_time = "?" if bound.is_noisy else f"{max(bound.by_time, 1):.2f}x"
        return [bound.row, f"{bound.by_flops:.2f}x", by_time, f"{low:.2f} to {high:.2f}"]


_ROW_HEADINGS = ("name", "module", "MFLOPs", "share", "mixing", "ms", "share", "peak MiB")
_BOUND_HEADINGS = ("name", "by FLOPs", "by time", "spread")


@interrupts_deferred()
def cost(detector: Model, *, imgsz: int = IMGSZ, repeats: int = 10) -> CostReport:
    """Measure a detector on its device for one square image, and bound the speed-up by cheaper attention.

    Args:
        detector: on the device that is to be measured, or what ``regard.load`` takes.
        imgsz: side of the image in pixels.
        repeats: runs that count; times are their medians.

    Returns:
        FLOPs, time and memory of each layer, and how much cheaper attention could save; it prints as tables.

    Raises:
        RegardError: ``imgsz`` is not a multiple of the largest stride, or ``repeats`` is not positive.

    Example:
        >>> import regard
        >>> report = cost(regard.load("odd-one-out-se"), imgsz=64, repeats=1)
        >>> report.imgsz
        64
    """
    require_positive(imgsz=imgsz, repeats=repeats)
    detector = as_detector(detector)
    costs = row_costs(detector, imgsz)
    device = next(detector.parameters()).device
    images = torch.rand(1, 3, imgsz, imgsz, device=device)
    was_training = detector.training
    detector.eval()
    try:
        runs = row_times(detector, images, repeats)
        times = [median(of_row) for of_row in zip(*runs, strict=True)]
        peaks = row_peaks(detector, images)
        found = bounds(detector, images, costs, repeats)
        total = sum(cost.flops for cost in costs)
        variants = _variants(detector, imgsz, [bound.row for bound in found], total, sum(times), repeats)
    finally:
        detector.train(was_training)
    spread = median_interval([1e3 * sum(run) for run in runs])
    return _report(detector, imgsz, costs, list(zip(times, peaks, strict=True)), found, variants, spread)


def _variants(
    detector: Detector, imgsz: int, names: Iterable[str], total: int, seconds: float, repeats: int
) -> dict[str, list[Variant] | None]:
    """Faster modules for the attention of each of these layers; None where it cannot be exchanged.

    Args:
        detector: in evaluation mode.
        imgsz: side of the image in pixels.
        names: of the layers.
        total: FLOPs of the whole model.
        seconds: time of the whole model.
        repeats: runs that count.
    """
    within = attention_costs(detector, imgsz)
    found: dict[str, list[Variant] | None] = {}
    for row in names:
        attention = exchangeable(detector.layer(row))
        parts = [part for name, part in within.items() if f"{name}.".startswith(f"{row}.")]
        if not attention:
            found[row] = None
            continue
        shape, now = parts[0][0][0], sum(counted.flops for _, counted in parts)
        found[row] = with_times(variants_for(attention, shape, now, total), attention, shape, seconds, repeats)
    return found


def _report(
    detector: Detector,
    imgsz: int,
    costs: list[RowCost],
    measured: list[tuple[float, int]],
    found: list[Bound],
    variants: dict[str, list[Variant] | None],
    spread: tuple[float, float],
) -> CostReport:
    total = sum(cost.flops for cost in costs)
    by_name = dict(zip((row.name for row in detector.spec.layers), costs, strict=True))
    advice = tuple(advise(b, by_name[b.row].mixing_flops / total, variants[b.row]) for b in found)
    rows = tuple(
        CostRow(row.name, row.module, cost.flops, cost.mixing_flops, seconds * 1e3, peak / 2**20)
        for row, cost, (seconds, peak) in zip(detector.spec.layers, costs, measured, strict=True)
    )
    device = _device(next(detector.parameters()).device)
    return CostReport(rows, tuple(found), variants, advice, imgsz, device, spread)


def exchangeable(layer: nn.Module) -> list[nn.Module]:
    """Attention of a row that another module of the catalogue could replace: its own, or that inside a C3 or C2f."""
    if isinstance(layer, WithAttention):
        return list(layer.attentions)
    inner = without_gate(layer)
    return [inner] if is_attention(inner) and not getattr(inner, "multi_input", False) else []


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type} with {threads} thread{'s' if threads > 1 else ''}"


def _table(headings: Sequence[str], rows: Any) -> PlainTable:
    table = PlainTable(box=None, pad_edge=False, header_style="bold")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i == 0 or heading == "module" else "right", no_wrap=True)
    for cells in rows:
        table.add_row(*cells)
    return table


def _markdown(headings: Sequence[str], rows: Any) -> str:
    rule = ["---" if i == 0 or heading == "module" else "--:" for i, heading in enumerate(headings)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows))
