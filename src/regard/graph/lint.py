"""Finding a graph that builds but is not what was meant.

Insert one row into an integer YAML and every index behind it has to move by one; forget one, and the network still
builds, with a layer reading something else. Four things give it away: a row that nobody reads; a reference that still
has the number it had in the stock graph although what it meant has moved; detection levels whose strides are not what
their anchors say; and maps of different sizes meeting (which ``graph.build`` finds).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from regard.errors import RegardError, RegardWarning
from regard.graph.align import nearest_stock
from regard.graph.dialects.yolov5 import integer_row
from regard.graph.read import stock_graphs
from regard.graph.spec import IMAGE, LayerSpec, ModelSpec

FIRST_STOCK_STRIDE = 8
"""Stride of the first level of the stock graphs that state their anchors; it doubles from level to level."""


@dataclass(frozen=True)
class WiringError:
    """One sign that a graph is not what was meant.

    Attributes:
        row: the row that is wrong.
        what: what is wrong with it.
        corrected: the row as it should be, or what to do.
    """

    row: LayerSpec
    what: str
    corrected: str


def refuse_or_warn(found: Sequence[WiringError], spec: ModelSpec, *, allow: bool) -> None:
    """Raise for the signs found, all in one message, or warn of them.

    Raises:
        RegardError: something was found and ``allow`` is not set.
    """
    if not found:
        return
    first, *others = found
    more = "".join(f"\n{_place(spec, m.row)}{m.what}\n  {m.corrected}" for m in others)
    error = RegardError(
        first.what,
        file=first.row.file or spec.file,
        line=first.row.line,
        hint=f"{first.corrected}{more}\n  (--allow-miswired builds it all the same)",
    )
    if not allow:
        raise error
    warnings.warn(f"mis-wired graph: {error}", RegardWarning, stacklevel=3)


def check_references(spec: ModelSpec) -> list[WiringError]:
    """Return stale references, found by comparing with the nearest stock graph; else rows that nobody reads."""
    found: list[WiringError] = []
    nearest = nearest_stock(spec, stock_graphs())
    if nearest:
        stock, pairs = nearest
        for i, j in pairs.items():
            found += _stale(stock, spec, pairs, stock.layers[i], spec.layers[j])
    # A reference left behind often leaves its row unread as well; one correction is enough for both.
    return found or _unread(spec)


def _unread(spec: ModelSpec) -> list[WiringError]:
    """Return rows that nobody reads; where others read their input past them, those are the rows to correct."""
    found: list[WiringError] = []
    for i, row in enumerate(spec.layers[:-1]):
        if spec.readers(row.name):
            continue
        what = f"nobody reads layer {row.name!r} (row {i}, {row.module})"
        passing = [reader for reader in spec.layers[i + 1 :] if row.inputs[0] in reader.inputs and len(row.inputs) == 1]
        for reader in passing:
            inputs = [row.name if name == row.inputs[0] else name for name in reader.inputs]
            corrected = f"corrected row: {integer_row(spec, reader, inputs, reader.args)}"
            found.append(WiringError(reader, f"{what}; {reader.name!r} reads {row.inputs[0]!r} past it", corrected))
        if not passing:
            found.append(WiringError(row, what, "let a later row read it, or remove it"))
    return found


def check_levels(spec: ModelSpec) -> list[WiringError]:
    """Return what is wrong with the detection levels of a built graph: their strides against their anchors."""
    head = spec.layers[-1]
    strides = [int(spec.info[name].stride) for name in head.inputs]
    told = ", ".join(f"{name} {stride}" for name, stride in zip(head.inputs, strides, strict=True))
    if len(set(strides)) < len(strides):
        return [
            WiringError(head, f"two detection levels have one stride: {told}", "every level needs a stride of its own")
        ]
    if isinstance(spec.anchors, int):
        return _unordered(spec, head, strides, told)
    sizes = [sum(w * h for w, h in zip(a[::2], a[1::2], strict=True)) for a in spec.anchors]
    by_size = sorted(range(len(sizes)), key=sizes.__getitem__)
    by_stride = sorted(range(len(strides)), key=strides.__getitem__)
    if by_size != by_stride:
        names = [head.inputs[by_stride[by_size.index(level)]] for level in range(len(strides))]
        return [
            WiringError(
                head,
                f"the strides of the detection levels ({told}) are not in the order of the anchors' sizes",
                f"corrected row: {integer_row(spec, head, names, head.args)}",
            )
        ]
    return _foreign_anchors(spec, head, strides)


def _unordered(spec: ModelSpec, head: LayerSpec, strides: Sequence[int], told: str) -> list[WiringError]:
    """Return levels that go neither up nor down, where no anchors say which order is meant."""
    names = [name for _, name in sorted(zip(strides, head.inputs, strict=True))]
    if list(head.inputs) in (names, names[::-1]):
        return []
    corrected = f"corrected row: {integer_row(spec, head, names, head.args)}"
    return [WiringError(head, f"the strides of the detection levels are in no order: {told}", corrected)]


def _foreign_anchors(spec: ModelSpec, head: LayerSpec, strides: Sequence[int]) -> list[WiringError]:
    """Return levels whose anchors are a stock graph's for another stride."""
    assert not isinstance(spec.anchors, int)
    known = {
        anchors: FIRST_STOCK_STRIDE << level
        for stock in stock_graphs()
        if not isinstance(stock.anchors, int)
        for level, anchors in enumerate(stock.anchors)
    }
    return [
        WiringError(
            head,
            f"detection level {name!r} has stride {stride}, its anchors are those of stride {known[anchors]}",
            "give the level that its anchors belong to, or anchors of its own (`anchors: 3` fits them to the data)",
        )
        for name, stride, anchors in zip(head.inputs, strides, spec.anchors, strict=True)
        if known.get(anchors, stride) != stride
    ]


def _stale(
    stock: ModelSpec, spec: ModelSpec, pairs: dict[int, int], was: LayerSpec, row: LayerSpec
) -> list[WiringError]:
    """Return the sign that ``row``, which was ``was``, reads by a number that no longer means what it meant."""
    if row.origin is None or row.inputs == (IMAGE,):
        return []
    sources = row.origin.sources
    wanted = [stock.index(name) for name in was.inputs if name != IMAGE]
    stand_ins = {t: _stand_ins(spec, pairs[t], set(pairs.values())) for t in wanted if t in pairs}
    places = product(range(len(row.inputs)), range(len(wanted)))
    in_order = sorted(places, key=lambda place: place[0] != place[1])  # inputs may have been written in another order
    right = _pair_off((s, w) for s, w in in_order if row.inputs[s] in stand_ins.get(wanted[w], ()))
    stale = _pair_off(
        (s, w)
        for s, w in in_order
        if s not in right
        and w not in right.values()
        and wanted[w] in stand_ins
        and _left_behind(sources[s], wanted[w], spec.layers[pairs[wanted[w]]])
    )
    if not stale:
        return []
    told = "; ".join(
        f"{sources[s]} is now {row.inputs[s]!r} and was {stock.layers[wanted[w]].name!r}" for s, w in stale.items()
    )
    what = f"layer {row.name!r} ({row.module}) has a reference that an inserted or removed row left behind: {told}"
    corrected = [stand_ins[wanted[stale[s]]][-1] if s in stale else name for s, name in enumerate(row.inputs)]
    return [WiringError(row, what, f"corrected row: {integer_row(spec, row, corrected, row.args)}")]


def _pair_off(places: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Return pairs of ``places`` in which nothing occurs twice, earlier ones first."""
    pairs: dict[int, int] = {}
    for a, b in places:
        if a not in pairs and b not in pairs.values():
            pairs[a] = b
    return pairs


def _left_behind(source: int | str, before: int, meant: LayerSpec) -> bool:
    """Whether ``source`` is the old number of a row, or lies between it and the number that the row has now."""
    if not isinstance(source, int) or source < 0 or meant.origin is None or meant.origin.index == before:
        return False
    low, high = sorted((before, meant.origin.index))
    return low <= source <= high


def _stand_ins(spec: ModelSpec, target: int, aligned: set[int]) -> list[str]:
    """Return the row and, in order, the inserted rows that stand in for it one after the other."""
    names = [spec.layers[target].name]
    for j in range(target + 1, len(spec.layers)):
        if j not in aligned and spec.layers[j].inputs == (names[-1],):
            names.append(spec.layers[j].name)
    return names


def _place(spec: ModelSpec, row: LayerSpec) -> str:
    file = row.file or spec.file
    return f"{file}:{row.line}: " if file and row.line else ""
