"""Editing an integer YAML as people do by hand: rows move, and references are shifted or forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from regard.graph.dialects.ultralytics import in_file
from regard.graph.lint import WiringError
from regard.graph.read import parse_spec, read_spec
from regard.graph.spec import IMAGE, ModelSpec

FILE = Path("hand.yaml")

STOCK_N = """\
# YOLOv5 v6, written from the published table
nc: 80  # number of classes
depth_multiple: 0.33
width_multiple: 0.25
anchors:
  - [10,13, 16,30, 33,23]  # P3/8
  - [30,61, 62,45, 59,119]  # P4/16
  - [116,90, 156,198, 373,326]  # P5/32

backbone:
  # [from, number, module, args]
  [[-1, 1, Conv, [64, 6, 2, 2]],  # 0-P1/2
   [-1, 1, Conv, [128, 3, 2]],  # 1-P2/4
   [-1, 3, C3, [128]],
   [-1, 1, Conv, [256, 3, 2]],  # 3-P3/8
   [-1, 6, C3, [256]],
   [-1, 1, Conv, [512, 3, 2]],  # 5-P4/16
   [-1, 9, C3, [512]],
   [-1, 1, Conv, [1024, 3, 2]],  # 7-P5/32
   [-1, 3, C3, [1024]],
   [-1, 1, SPPF, [1024, 5]],  # 9
  ]

head:
  [[-1, 1, Conv, [512, 1, 1]],
   [-1, 1, nn.Upsample, [None, 2, 'nearest']],
   [[-1, 6], 1, Concat, [1]],
   [-1, 3, C3, [512, False]],  # 13

   [-1, 1, Conv, [256, 1, 1]],
   [-1, 1, nn.Upsample, [None, 2, 'nearest']],
   [[-1, 4], 1, Concat, [1]],
   [-1, 3, C3, [256, False]],  # 17 (P3/8-small)

   [-1, 1, Conv, [256, 3, 2]],
   [[-1, 14], 1, Concat, [1]],
   [-1, 3, C3, [512, False]],  # 20 (P4/16-medium)

   [-1, 1, Conv, [512, 3, 2]],
   [[-1, 10], 1, Concat, [1]],
   [-1, 3, C3, [1024, False]],  # 23 (P5/32-large)

   [[17, 20, 23], 1, Detect, [nc, anchors]],
  ]
"""

CHANNELS = (64, 128, 128, 256, 256, 512, 512, 1024, 1024, 1024)
CHANNELS += (512, 512, 1024, 512, 256, 256, 512, 256, 256, 512, 512, 512, 1024, 1024)
"""Output channels of yolov5n's 24 rows before Detect, unscaled."""

Place = tuple[int, int]
Shift = Callable[[Place, int], int]


@dataclass(frozen=True)
class HandRow:
    sources: tuple[int, ...]
    number: int
    module: str
    args: list[Any]
    head: bool


@dataclass(frozen=True)
class HandGraph:
    """An integer YAML; rows are written from line 6 on, one per line, the head after a separate line."""

    rows: tuple[HandRow, ...]
    anchors: Any
    nc: int = 80
    depth: float = 0.33
    width: float = 0.25
    header: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        multiples = [f"depth_multiple: {self.depth}", f"width_multiple: {self.width}", f"anchors: {self.anchors}"]
        lines = [f"nc: {self.nc}", *(self.header or multiples)]
        for section, head in (("backbone", False), ("head", True)):
            lines.append(f"{section}:")
            for row in (row for row in self.rows if row.head is head):
                source = row.sources[0] if len(row.sources) == 1 else list(row.sources)
                lines.append(f"  - [{source}, {row.number}, {row.module}, {row.args}]")
        return "\n".join(lines) + "\n"

    @property
    def spec(self) -> ModelSpec:
        return parse_spec(self.text, FILE)

    @property
    def references(self) -> list[tuple[Place, int]]:
        """Every reference by index, with its (row, slot)."""
        return [((i, k), x) for i, row in enumerate(self.rows) for k, x in enumerate(row.sources) if x >= 0]


def hand_graph(text: str) -> HandGraph:
    document = yaml.safe_load(text)
    rows = tuple(
        HandRow(tuple(source) if isinstance(source, list) else (source,), number, module, args, section == "head")
        for section in ("backbone", "head")
        for source, number, module, args in document[section]
    )
    return HandGraph(rows, document["anchors"], document["nc"], document["depth_multiple"], document["width_multiple"])


def zoo_graph(name: str) -> HandGraph:
    """Return a model of the zoo with every reference as a hand would write it."""
    spec = read_spec(name)
    rows = []
    for i, row in enumerate(spec.layers):
        indices = [-1 if source == IMAGE else spec.index(source) for source in row.inputs]
        row = in_file(row) if spec.anchors is None else row
        if indices[0] == i - 1 and row.module != "Detect":
            indices[0] = -1
        rows.append(HandRow(tuple(indices), row.number, row.module, list(row.args), row.head))
    if spec.anchors is None:
        options = spec.layers[-1].options
        header = [f"{key}: {options[key]}" for key in ("reg_max", "end2end") if key in options]
        header += ["scales:", f"  n: [{spec.depth_multiple}, {spec.width_multiple}, {spec.max_channels}]"]
        return HandGraph(tuple(rows), None, spec.nc, header=tuple(header))
    anchors = spec.anchors if isinstance(spec.anchors, int) else [list(level) for level in spec.anchors]
    return HandGraph(tuple(rows), anchors, spec.nc, spec.depth_multiple, spec.width_multiple)


def insert_by_hand(graph: HandGraph, after: Sequence[int], shift: Shift, module: str = "SE") -> HandGraph:
    """Put a row after each of the rows ``after`` (old numbers), and add ``shift`` to every reference."""
    rows = []
    for i, row in enumerate(graph.rows):
        sources = tuple(x + shift((i, k), x) if x >= 0 else x for k, x in enumerate(row.sources))
        rows.append(replace(row, sources=sources))
        rows += [HandRow((-1,), 1, module, [], row.head) for p in after if p == i]
    return replace(graph, rows=tuple(rows))


def all_follow(after: Sequence[int]) -> Shift:
    """Every reader of a row reads what was put after it."""
    return lambda _place, x: sum(p <= x for p in after)


def none_follow(after: Sequence[int]) -> Shift:
    """References keep their rows: nobody but the next row reads what was put in."""
    return lambda _place, x: sum(p < x for p in after)


def left_stale(after: Sequence[int], stale: Sequence[Place]) -> Shift:
    """All follow, but the references at ``stale`` were forgotten."""
    right = all_follow(after)
    return lambda place, x: 0 if place in stale else right(place, x)


def corrected(text: str, found: Sequence[WiringError]) -> str:
    """Return ``text`` with the corrections put where the messages say."""
    lines = text.split("\n")
    for sign in found:
        assert sign.row.line is not None
        assert sign.corrected.startswith("corrected row: ")
        lines[sign.row.line - 1] = "  - " + sign.corrected.removeprefix("corrected row: ")
    return "\n".join(lines)
