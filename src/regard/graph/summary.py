"""A summary of a detector: a table with one row per layer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text
from torch import nn

from regard.config import IMGSZ
from regard.graph.cost import RowCost, row_costs
from regard.graph.dialects.yolov5 import integer_sources
from regard.graph.spec import LayerSpec, ModelSpec
from regard.nn.gate import Gated, without_gate
from regard.system.notebook import ShownInNotebooks
from regard.system.plain_table import PlainTable
from regard.system.terminal import plain_text

if TYPE_CHECKING:  # a detector makes its summary by a method
    from regard.graph.detector import Detector


@dataclass(frozen=True)
class SummaryRow:
    """One row of the table.

    Attributes:
        row: position in the graph.
        name: the layer's name.
        sources: its inputs, as in YOLOv5's YAML.
        n: repeats after scaling by depth.
        parameters: number of learned values.
        module: the layer's class.
        arguments: input channels, then the arguments of its constructor, channels scaled.
        gate: the value of its gate, None where it has none.
        output: (C, H, W), or one of each level for the detection head (its raw outputs without the batch).
        flops: FLOPs for one image; a multiplication and an addition count as two.
        share: share of all FLOPs, 0 to 1.
        saved_mib: memory that it keeps for the backward pass, for one image in float32, in MiB.
        note: further information from the layer.
    """

    row: int
    name: str
    sources: str
    n: int
    parameters: int
    module: str
    arguments: str
    gate: float | None
    output: tuple[tuple[int, ...], ...]
    flops: int
    share: float
    saved_mib: float
    note: str


@dataclass(frozen=True)
class Summary(ShownInNotebooks):
    """A detector as a table.

    Attributes:
        rows: one per layer.
        parameters: total number of learned values.
        gflops: total FLOPs at ``imgsz``, in billions.
        saved_mib: memory of activations kept in training, for one image in float32, in MiB.
        imgsz: side of the input in pixels.
        nc: number of classes.
        strides: strides of the detection levels.
    """

    rows: tuple[SummaryRow, ...]
    parameters: int
    gflops: float
    saved_mib: float
    imgsz: int
    nc: int
    strides: tuple[int, ...]

    def __str__(self) -> str:
        return plain_text(self, 160)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the table, the notes and the totals."""
        table = PlainTable(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
        for heading, justify in _COLUMNS:
            table.add_column(heading, justify="right" if justify else "left", no_wrap=heading != "arguments")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in _cells(row)), style="cyan" if row.gate is not None else None)
        yield table
        for row in self.rows:
            if row.note:
                yield Text(f"{row.name}: {row.note}", style="yellow")
        yield Text(self.totals, style="bold")

    @property
    def totals(self) -> str:
        """The totals, in one line."""
        strides = ", ".join(map(str, self.strides))
        memory = f"{self.saved_mib:,.0f}" if self.saved_mib >= 10 else f"{self.saved_mib:.1f}"
        return (
            f"{len(self.rows)} layers, {self.parameters:,} parameters, {flops_text(self.gflops * 1e9)} and "
            f"{memory} MiB of activations at {self.imgsz} px, {self.nc} classes, strides {strides}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Convert the table to plain values that JSON can represent."""
        return asdict(self)

    def to_json(self) -> str:
        """Write the table as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def to_markdown(self) -> str:
        """Write the table as GitHub Markdown."""
        headings = [heading for heading, _ in _COLUMNS]
        lines = [headings, ["--:" if justify else "---" for _, justify in _COLUMNS], *map(_cells, self.rows)]
        notes = [f"- {row.name}: {row.note}" for row in self.rows if row.note]
        return "\n".join(["| " + " | ".join(cells) + " |" for cells in lines] + ["", *notes, self.totals])


_COLUMNS = (
    ("row", True),
    ("name", False),
    ("from", True),
    ("n", True),
    ("params", True),
    ("module", False),
    ("arguments", False),
    ("output", False),
    ("MFLOPs", True),
    ("share", True),
    ("MiB", True),
)


def flops_text(flops: float) -> str:
    """Write a number of floating-point operations in the largest unit in which it is at least 1.

    Example:
        >>> flops_text(4.51e9), flops_text(45.1e6), flops_text(4510)
        ('4.5 GFLOPs', '45.1 MFLOPs', '0.0 MFLOPs')
    """
    return f"{flops / 1e9:.1f} GFLOPs" if flops >= 1e9 else f"{flops / 1e6:.1f} MFLOPs"


def summarize(detector: Detector, imgsz: int = IMGSZ) -> Summary:
    """Summarise a detector for square images of side ``imgsz``.

    Raises:
        RegardError: ``imgsz`` is not a multiple of the largest stride.
    """
    costs = row_costs(detector, imgsz)
    total = sum(cost.flops for cost in costs)
    rows = tuple(
        _summary_row(i, row, layer, cost, detector.spec, total)
        for i, (row, layer, cost) in enumerate(zip(detector.spec.layers, detector.model, costs, strict=True))
    )
    parameters = sum(cost.parameters for cost in costs)
    saved = sum(row.saved_mib for row in rows)
    return Summary(rows, parameters, total / 1e9, saved, imgsz, detector.nc, detector.strides)


def _summary_row(i: int, row: LayerSpec, layer: nn.Module, cost: RowCost, spec: ModelSpec, total: int) -> SummaryRow:
    info = spec.info[row.name]
    inner = without_gate(layer)
    arguments = ", ".join(_argument(value) for value in info.arguments)
    return SummaryRow(
        row=i,
        name=row.name,
        sources=integer_sources(spec, i, row.inputs),
        n=info.repeats,
        parameters=cost.parameters,
        module=row.module,
        arguments=f"[{arguments}]",
        gate=layer.gamma.item() if isinstance(layer, Gated) else None,
        output=cost.shape,
        flops=cost.flops,
        share=cost.flops / total if total else 0.0,
        saved_mib=cost.activation_bytes / 2**20,
        note=getattr(inner, "note", ""),
    )


def _argument(value: Any) -> str:
    if isinstance(value, tuple | list) and value and isinstance(value[0], tuple | list):
        return f"{len(value)} x {len(value[0])} numbers"
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _cells(row: SummaryRow) -> list[str]:
    """Format a row, in the order of the columns."""
    module = row.module if row.gate is None else f"{row.module} (gate {row.gate:.3g})"
    output = " ".join("x".join(map(str, shape)) for shape in row.output)
    flops = f"{row.flops / 1e6:,.1f}" if row.flops else "0"
    return [
        str(row.row),
        row.name,
        row.sources,
        str(row.n),
        f"{row.parameters:,}",
        module,
        row.arguments,
        output,
        flops,
        f"{row.share:.1%}",
        f"{row.saved_mib:.1f}",
    ]
