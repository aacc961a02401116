"""The part that each row of a built graph has in its stage: what moves, joins or only weighs a map, and what ends it.

A stage is a run of rows of one stride that read each other. A strided convolution, an upsampling and a concatenation
begin or continue a stage, and the block after them completes it. Attention that is inserted keeps shape and meaning of
the map that it reads. These facts are measured, so they need no stock graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from regard.graph.spec import IMAGE, LayerInfo, ModelSpec
from regard.nn.attention import ATTENTION
from regard.nn.table import LAYERS

ADDED = frozenset(ATTENTION.values())
WEIGHTED = ("nn.Conv2d", "nn.ConvTranspose2d")
"""Classes of torch.nn that are blocks of their own although they may keep the shape."""


@dataclass(frozen=True)
class Stages:
    """Rows of a graph by index, as far as the graph could be built.

    Attributes:
        inputs: rows that each row reads; -1 is the image.
        kinds: ``head``, ``concat``, ``join`` (of another kind), ``up``, ``down``, ``block``, ``light`` (keeps the shape
            and can have been inserted), ``either`` (an unknown class that keeps the shape), or ``unbuilt``.
        strides: input pixels per cell of each output; NaN where the row was not built.
    """

    inputs: tuple[tuple[int, ...], ...]
    kinds: tuple[str, ...]
    strides: tuple[float, ...]

    def is_raw(self, row: int) -> bool:
        """Whether a map was only moved or joined so far, and weighed at most."""
        return self.begins_with(row) in ("image", "up", "down", "concat")

    def next_in_stage(self, row: int) -> int | None:
        """The row that follows within the same stage: it reads ``row`` and keeps its stride."""
        following = row + 1
        if following >= len(self.kinds) or self.kinds[following] in ("head", "unbuilt"):
            return None
        reads, same = row in self.inputs[following], self.strides[following] == self.strides[row]
        return following if reads and same else None

    def completed_by(self, row: int) -> int | None:
        """The row that continues what the raw map of ``row`` begins; None if that map is complete.

        A strided row can be a stage of its own: the lateral after it does not complete it.
        """
        if not self.is_raw(row):
            return None
        following = self.next_in_stage(self.chain(row)[-1])
        lateral = following in self.upsampled and self.begins_with(row) == "down"
        return None if lateral else following

    def begins_with(self, row: int) -> str:
        """Kind of the row whose output ``row`` is, apart from what weighs it."""
        while row >= 0 and self.kinds[row] in ("light", "either"):
            row = self.inputs[row][0]
        return self.kinds[row] if row >= 0 else "image"

    def leads_to(self, row: int, other: int) -> bool:
        """Whether ``other`` follows ``row`` in its stage."""
        following: int | None = row
        while following is not None and following < other:
            following = self.next_in_stage(following)
        return following == other

    def is_way_back(self, row: int) -> bool:
        """Whether a row joins the strided map before it with another: a join of a bottom-up path."""
        joins = self.kinds[row] in ("concat", "join") and row - 1 in self.inputs[row]
        return joins and self.begins_with(row - 1) == "down"

    def is_before_lateral(self, row: int) -> bool:
        """Whether ``row`` is complete and leads, in its stage, to the lateral that an upsampling reads."""
        if row in self.upsampled or row < 0:
            return False
        following = self.next_in_stage(row)
        while following is not None and following not in self.upsampled:
            following = self.next_in_stage(following)
        return following is not None

    def chain(self, row: int) -> list[int]:
        """A row and, in order, the inserted ones that follow and weigh its output."""
        rows = [row]
        following = self.next_in_stage(row)
        while following is not None and self.kinds[following] in ("light", "either"):
            rows.append(following)
            following = self.next_in_stage(following)
        return rows

    def end(self, row: int) -> int:
        """The row with which the raw map of ``row`` is complete, with what was inserted after it."""
        following = self.completed_by(row)
        while following is not None:
            row, following = following, self.completed_by(following)
        return self.chain(row)[-1]

    @cached_property
    def upsampled(self) -> frozenset[int]:
        """Rows that an upsampling reads, with the rows that they weigh: the laterals of a top-down path."""
        found: set[int] = set()
        for row, kind in enumerate(self.kinds):
            while kind == "up" and (row := self.inputs[row][0]) >= 0:
                found.add(row)
                kind = "up" if self.kinds[row] in ("light", "either") else ""
        return frozenset(found)

    @cached_property
    def finals(self) -> dict[float, int]:
        """The last complete row of each stride behind the first join, the finest first: what a neck ends in."""
        first = next((row for row, kind in enumerate(self.kinds) if kind in ("concat", "join")), 0)
        found: dict[float, int] = {}
        for row in range(first, len(self.kinds)):
            known = self.kinds[row] not in ("head", "unbuilt") and not math.isnan(self.strides[row])
            if known and self.completed_by(row) is None and row not in self.upsampled | set(found.values()):
                found[self.strides[row]] = self.chain(row)[-1]
        return dict(sorted(found.items()))


def stages_of(spec: ModelSpec) -> Stages:
    """Describe the rows of ``spec`` from what was measured when it was built."""
    index = {row.name: i for i, row in enumerate(spec.layers)} | {IMAGE: -1}
    inputs = tuple(tuple(index[name] for name in row.inputs) for row in spec.layers)
    last = len(spec.layers) - 1
    kinds: list[str] = []
    strides: list[float] = []
    for i, row in enumerate(spec.layers):
        info = spec.info.get(row.name)
        before = strides[inputs[i][0]] if inputs[i][0] >= 0 else 1.0
        kinds.append("head" if i == last else "unbuilt" if info is None else _kind(row.module, info, before))
        strides.append(math.nan if info is None or i == last else info.stride)
    shaping = {row.module for row, kind in zip(spec.layers, kinds, strict=True) if kind in ("down", "up", "block")}
    kinds = ["block" if k == "either" and r.module in shaping else k for r, k in zip(spec.layers, kinds, strict=True)]
    return Stages(inputs, tuple(kinds), tuple(strides))


def _kind(module: str, info: LayerInfo, before: float) -> str:
    if len(info.in_channels) > 1:
        resizes = module in LAYERS and not getattr(LAYERS[module], "requires_same_size", False)
        return "concat" if info.out_channels == sum(info.in_channels) and not resizes else "join"
    if info.stride != before:
        return "down" if info.stride > before else "up"
    if info.in_channels != (info.out_channels,):
        return "block"
    if module.startswith("nn."):
        return "block" if module in WEIGHTED else "light"
    if module not in LAYERS:
        return "either"
    return "light" if LAYERS[module] in ADDED else "block"


def like_stock(stock: ModelSpec) -> Mapping[str, LayerInfo]:
    """Facts of a stock graph without building it: its rows are convolutions, blocks, poolings, upsamplings and joins.

    Channels are those of the file, unscaled.
    """
    facts: dict[str, LayerInfo] = {}
    for row in stock.layers[:-1]:
        read = [facts[name] if name != IMAGE else LayerInfo((3,), 3, (), None, 1.0, 1) for name in row.inputs]
        into = tuple(info.out_channels for info in read)
        factor = 2 if row.module in ("AConv", "ADown") else 1
        if row.module in ("Conv", "GhostConv", "SCDown") and len(row.args) > 2:
            factor = row.args[2]
        stride = read[-1].stride / 2 if row.module == "nn.Upsample" else read[-1].stride * factor
        if row.module == "Concat":
            out = sum(into)
        elif row.module == "CBLinear":
            out = sum(row.options["parts"])
        else:
            out = into[-1] if row.module in ("nn.Upsample", "nn.Identity", "CBFuse") else row.args[0]
        facts[row.name] = LayerInfo(into, out, (), None, stride, 1)
    return facts
