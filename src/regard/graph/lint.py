"""Checks for graphs that can be built but are probably not what the author intended.

After inserting one row into a YAML with integer references, every later index has to be increased by one. If one is
forgotten, the network can still be built, but a layer reads another input. Four symptoms reveal this: a layer that
nothing reads; a reference with the same number as in the stock graph although its target has moved; detection levels
whose strides do not match their anchors; and maps of different sizes that are combined (found by ``graph.build``).
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
from regard.nn.heads import Head

FIRST_STOCK_STRIDE = 8
"""Stride of the first level of stock graphs with anchors; each further level doubles it."""


@dataclass(frozen=True)
class WiringError:
    """One symptom of a wrong graph.

    Attributes:
        row: the layer that is wrong.
        what: description of the error.
        corrected: the corrected row, or advice.
    """

    row: LayerSpec
    what: str
    corrected: str


def raise_or_warn(found: Sequence[WiringError], spec: ModelSpec, *, allow: bool) -> None:
    """Raise one error for all wiring errors found; with ``allow``, issue a warning instead.

    Raises:
        RegardError: there are wiring errors, and ``allow`` is False.
    """
    if not found:
        return
    first, *others = found
    more = "".join(f"\n{_place(spec, m.row)}{m.what}\n  {m.corrected}" for m in others)
    error = RegardError(
        first.what,
        file=first.row.file or spec.file,
        line=first.row.line,
        hint=f"{first.corrected}{more}\n  (--allow-miswired builds the graph anyway)",
    )
    if not allow:
        raise error
    warnings.warn(f"mis-wired graph: {error}", RegardWarning, stacklevel=3)


def check_references(spec: ModelSpec) -> list[WiringError]:
    """Find wrong references by comparison with the nearest stock graph; if there are none, find unread layers."""
    found: list[WiringError] = []
    nearest = nearest_stock(spec, stock_graphs())
    if nearest:
        stock, pairs = nearest
        for i, j in pairs.items():
            found += _stale(stock, spec, pairs, stock.layers[i], spec.layers[j])
    # A wrong reference often leaves another layer unread; one correction is enough for both.
    return found or _unread(spec)


def _unread(spec: ModelSpec) -> list[WiringError]:
    """Find layers that nothing reads; if later layers read the same input, these are the ones to correct."""
    found: list[WiringError] = []
    for i, row in enumerate(spec.layers[:-1]):
        if spec.readers(row.name):
            continue
        what = f"nothing reads layer {row.name!r} (row {i}, {row.module})"
        passing = [reader for reader in spec.layers[i + 1 :] if row.inputs[0] in reader.inputs and len(row.inputs) == 1]
        for reader in passing:
            inputs = [row.name if name == row.inputs[0] else name for name in reader.inputs]
            corrected = f"corrected row: {integer_row(spec, reader, inputs, reader.args)}"
            found.append(WiringError(reader, f"{what}; {reader.name!r} reads {row.inputs[0]!r} instead", corrected))
        if not passing:
            found.append(WiringError(row, what, "make a later row read it, or remove it"))
    return found


def check_levels(spec: ModelSpec, layer: Head) -> list[WiringError]:
    """Compare the strides of the detection levels of a built graph with the object sizes that its head is meant for."""
    head = spec.layers[-1]
    strides = [int(spec.info[name].stride) for name in head.inputs]
    listed = ", ".join(f"{name} {stride}" for name, stride in zip(head.inputs, strides, strict=True))
    if len(set(strides)) < len(strides):
        return [
            WiringError(
                head, f"two detection levels have the same stride: {listed}", "each level needs a different stride"
            )
        ]
    stated = layer.object_sizes()
    if stated is None:
        return _unordered(spec, head, strides, listed)
    sizes = [sum(w * h for w, h in zip(a[::2], a[1::2], strict=True)) for a in stated]
    by_size = sorted(range(len(sizes)), key=sizes.__getitem__)
    by_stride = sorted(range(len(strides)), key=strides.__getitem__)
    if by_size != by_stride:
        names = [head.inputs[by_stride[by_size.index(level)]] for level in range(len(strides))]
        return [
            WiringError(
                head,
                f"the strides of the detection levels ({listed}) are not in the order of the anchors' sizes",
                f"corrected row: {integer_row(spec, head, names, head.args)}",
            )
        ]
    return _foreign_sizes(stated, head, strides)


def _unordered(spec: ModelSpec, head: LayerSpec, strides: Sequence[int], listed: str) -> list[WiringError]:
    """Find levels whose strides neither increase nor decrease, if there are no stated sizes to define the order."""
    names = [name for _, name in sorted(zip(strides, head.inputs, strict=True))]
    if list(head.inputs) in (names, names[::-1]):
        return []
    corrected = f"corrected row: {integer_row(spec, head, names, head.args)}"
    return [WiringError(head, f"the strides of the detection levels are not sorted: {listed}", corrected)]


def _foreign_sizes(stated: Sequence[tuple[float, ...]], head: LayerSpec, strides: Sequence[int]) -> list[WiringError]:
    """Find levels whose anchors are those of a stock graph for another stride."""
    known = {
        anchors: FIRST_STOCK_STRIDE << level
        for stock in stock_graphs()
        if not isinstance(stock.anchors, int)
        for level, anchors in enumerate(stock.anchors)
    }
    return [
        WiringError(
            head,
            f"detection level {name!r} has stride {stride}, but anchors for stride {known[anchors]}",
            "give the level with the stride of these anchors, or other anchors (`anchors: 3` fits them to the data)",
        )
        for name, stride, anchors in zip(head.inputs, strides, stated, strict=True)
        if known.get(anchors, stride) != stride
    ]


def _stale(
    stock: ModelSpec, spec: ModelSpec, pairs: dict[int, int], was: LayerSpec, row: LayerSpec
) -> list[WiringError]:
    """Find references of ``row`` whose number is unchanged since the stock layer ``was`` although the target moved."""
    if row.origin is None or row.inputs == (IMAGE,):
        return []
    sources = row.origin.sources
    wanted = [stock.index(name) for name in was.inputs if name != IMAGE]
    replacements = {t: _replacements(spec, pairs[t], set(pairs.values())) for t in wanted if t in pairs}
    places = product(range(len(row.inputs)), range(len(wanted)))
    in_order = sorted(places, key=lambda place: place[0] != place[1])  # inputs may have been written in another order
    right = _pair_off((s, w) for s, w in in_order if row.inputs[s] in replacements.get(wanted[w], ()))
    stale = _pair_off(
        (s, w)
        for s, w in in_order
        if s not in right
        and w not in right.values()
        and wanted[w] in replacements
        and _left_behind(sources[s], wanted[w], spec.layers[pairs[wanted[w]]])
    )
    if not stale:
        return []
    listed = "; ".join(
        f"{sources[s]} is now {row.inputs[s]!r} and was {stock.layers[wanted[w]].name!r}" for s, w in stale.items()
    )
    what = f"layer {row.name!r} ({row.module}) reads by an index that was not updated after an edit: {listed}"
    corrected = [replacements[wanted[stale[s]]][-1] if s in stale else name for s, name in enumerate(row.inputs)]
    return [WiringError(row, what, f"corrected row: {integer_row(spec, row, corrected, row.args)}")]


def _pair_off(places: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Choose pairs, earlier ones first, so that no number occurs twice."""
    pairs: dict[int, int] = {}
    for a, b in places:
        if a not in pairs and b not in pairs.values():
            pairs[a] = b
    return pairs


def _left_behind(source: int | str, before: int, meant: LayerSpec) -> bool:
    """Check whether ``source`` is the old number of a row, or is between it and the row's new number."""
    if not isinstance(source, int) or source < 0 or meant.origin is None or meant.origin.index == before:
        return False
    low, high = sorted((before, meant.origin.index))
    return low <= source <= high


def _replacements(spec: ModelSpec, target: int, aligned: set[int]) -> list[str]:
    """Names of a layer and, in order, of the inserted layers that successively replace it for its readers."""
    names = [spec.layers[target].name]
    for j in range(target + 1, len(spec.layers)):
        if j not in aligned and spec.layers[j].inputs == (names[-1],):
            names.append(spec.layers[j].name)
    return names


def _place(spec: ModelSpec, row: LayerSpec) -> str:
    file = row.file or spec.file
    return f"{file}:{row.line}: " if file and row.line else ""
