"""Finding a graph that builds but is not what was meant.

Insert one row into an integer YAML and every index behind it has to move by one; forget one, and the network still
builds, with a layer reading something else. Four things give it away: a row that nobody reads; a reference that still
has the number it had in the stock graph although what it meant has moved; detection levels whose strides are not what
their anchors say; and maps of different sizes meeting (which ``graph.build`` finds).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from regard.errors import RegardError, RegardWarning
from regard.graph.naming import nearest_stock
from regard.graph.read import stock_graphs
from regard.graph.spec import IMAGE, ModelSpec, Row
from regard.graph.write import integer_row

FIRST_STOCK_STRIDE = 8
"""Stride of the first level of the stock graphs that state their anchors; it doubles from level to level."""


@dataclass(frozen=True)
class Miswiring:
    """One sign that a graph is not what was meant.

    Attributes:
        row: the row that is wrong.
        what: what is wrong with it.
        corrected: the row as it should be, or what to do.
    """

    row: Row
    what: str
    corrected: str


def refuse_or_warn(found: Sequence[Miswiring], spec: ModelSpec, *, allow: bool) -> None:
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
        file=spec.file,
        line=first.row.line,
        hint=f"{first.corrected}{more}\n  (--allow-miswired builds it all the same)",
    )
    if not allow:
        raise error
    warnings.warn(f"mis-wired graph: {error}", RegardWarning, stacklevel=3)


def check_references(spec: ModelSpec) -> list[Miswiring]:
    """Return stale references, found by comparing with the nearest stock graph, then rows that nobody reads."""
    found: list[Miswiring] = []
    nearest = nearest_stock(spec, stock_graphs())
    if nearest:
        stock, pairs = nearest
        for i, j in pairs.items():
            found += _stale(stock, spec, pairs, stock.rows[i], spec.rows[j])
    for i, row in enumerate(spec.rows[:-1]):
        if not spec.readers(row.name):
            found.append(
                Miswiring(
                    row,
                    f"nobody reads layer {row.name!r} (row {i}, {row.module})",
                    "let a later row read it, or remove it; is a reference behind it one too low?",
                )
            )
    return found


def check_levels(spec: ModelSpec) -> list[Miswiring]:
    """Return what is wrong with the detection levels of a built graph: their strides against their anchors."""
    head = spec.rows[-1]
    strides = [int(spec.facts[name].stride) for name in head.inputs]
    told = ", ".join(f"{name} {stride}" for name, stride in zip(head.inputs, strides, strict=True))
    if len(set(strides)) < len(strides):
        return [
            Miswiring(head, f"two detection levels have one stride: {told}", "every level needs a stride of its own")
        ]
    if isinstance(spec.anchors, int) or len(spec.anchors) != len(strides):
        return []
    sizes = [sum(w * h for w, h in zip(a[::2], a[1::2], strict=True)) for a in spec.anchors]
    by_size = sorted(range(len(sizes)), key=sizes.__getitem__)
    by_stride = sorted(range(len(strides)), key=strides.__getitem__)
    if by_size != by_stride:
        names = [head.inputs[by_stride[by_size.index(level)]] for level in range(len(strides))]
        return [
            Miswiring(
                head,
                f"the strides of the detection levels ({told}) are not in the order of the anchors' sizes",
                f"corrected row: {integer_row(spec, head, names, head.args)}",
            )
        ]
    return _foreign_anchors(spec, head, strides)


def _foreign_anchors(spec: ModelSpec, head: Row, strides: Sequence[int]) -> list[Miswiring]:
    """Return levels whose anchors are a stock graph's for another stride."""
    assert not isinstance(spec.anchors, int)
    known = {
        anchors: FIRST_STOCK_STRIDE << level
        for stock in stock_graphs()
        if not isinstance(stock.anchors, int)
        for level, anchors in enumerate(stock.anchors)
    }
    return [
        Miswiring(
            head,
            f"detection level {name!r} has stride {stride}, its anchors are those of stride {known[anchors]}",
            "give the level that its anchors belong to, or anchors of its own (`anchors: 3` fits them to the data)",
        )
        for name, stride, anchors in zip(head.inputs, strides, spec.anchors, strict=True)
        if known.get(anchors, stride) != stride
    ]


def _stale(stock: ModelSpec, spec: ModelSpec, pairs: dict[int, int], was: Row, row: Row) -> list[Miswiring]:
    """Return the sign that ``row``, which was ``was``, reads by a number that no longer means what it meant."""
    if row.origin is None or row.inputs == (IMAGE,):
        return []
    wanted = [stock.index(name) for name in was.inputs if name != IMAGE]
    stand_ins = {t: _stand_ins(spec, pairs[t], set(pairs.values())) for t in wanted if t in pairs}
    corrected, stale = list(row.inputs), []
    for slot, (name, source) in enumerate(zip(row.inputs, row.origin.sources, strict=True)):
        if not isinstance(source, int) or source < 0:
            continue
        candidates = [wanted[slot]] if len(wanted) == len(row.inputs) else wanted
        if len(candidates) > 1 and any(name in stand_ins.get(t, ()) for t in candidates):
            continue
        for t in candidates:
            if t in stand_ins and name not in stand_ins[t] and _left_behind(source, t, spec.rows[pairs[t]]):
                corrected[slot] = stand_ins[t][-1]
                stale.append((source, name, stock.rows[t].name))
                break
    if not stale:
        return []
    told = "; ".join(f"{source} is now {name!r} and was {meant!r}" for source, name, meant in stale)
    what = f"layer {row.name!r} ({row.module}) has a reference that an inserted or removed row left behind: {told}"
    return [Miswiring(row, what, f"corrected row: {integer_row(spec, row, corrected, row.args)}")]


def _left_behind(source: int, before: int, meant: Row) -> bool:
    """Whether ``source`` is the old number of a row, or lies between it and the number that the row has now."""
    if meant.origin is None or meant.origin.index == before:
        return False
    low, high = sorted((before, meant.origin.index))
    return low <= source <= high


def _stand_ins(spec: ModelSpec, target: int, aligned: set[int]) -> list[str]:
    """Return the row and, in order, the inserted rows that stand in for it one after the other."""
    names = [spec.rows[target].name]
    for j in range(target + 1, len(spec.rows)):
        if j not in aligned and spec.rows[j].inputs == (names[-1],):
            names.append(spec.rows[j].name)
    return names


def _place(spec: ModelSpec, row: Row) -> str:
    return f"{spec.file}:{row.line}: " if spec.file and row.line else ""
