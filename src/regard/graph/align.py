"""Alignment of two graphs: which layer of one corresponds to which layer of the other, in the same order.

The alignment is used to name the layers of a file without names, to find references that an insertion made wrong, and
to transfer weights between graphs. It is computed by dynamic programming (Needleman and Wunsch, 1970) without a cost
for gaps.

A layer without a name gets the name of its counterpart in the stock graph that the file was made from. A layer without
counterpart is named after its module and, if possible, the layer that it reads (``sppf.se``), so that an edit by hand
and the same edit by name lead to the same names. A head in the last row is ``detect``, whatever its class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from regard.graph.edit import unique_name
from regard.graph.spec import LayerSpec, ModelSpec
from regard.nn.heads import HEADS
from regard.nn.table import LAYERS

ALIKE = 0.65
"""Least fraction of a stock graph's layers that a graph must contain to count as made from it."""

HEAD_NAME = "detect"
"""Name of the last layer, if it is a detection head, as in all stock graphs."""

Similarity = Callable[[LayerSpec, LayerSpec], float]


def layer_similarity(a: LayerSpec, b: LayerSpec) -> float:
    """Compare two layers by module, arguments and repeats, not by name or position; the score is from 0 to 3."""
    alike = (a.args, a.number) == (b.args, b.number)
    if a.module == b.module:
        return 3.0 if alike else 2.0
    if len(a.inputs) == len(b.inputs) == 1 and a.args[:1] == b.args[:1] != ():  # probably one block replaced by another
        return 1.0 if alike else 0.5
    return 0.0


def align(a: Sequence[LayerSpec], b: Sequence[LayerSpec], similarity: Similarity = layer_similarity) -> dict[int, int]:
    """Find the alignment of highest total similarity: a map from indices in ``a`` to indices in ``b``, both increasing.

    Example:
        >>> layers = [LayerSpec(str(i), ("image",), module) for i, module in enumerate(["Conv", "C3", "SPPF"])]
        >>> align(layers, [layers[0], LayerSpec("new", ("image",), "SE"), *layers[1:]])
        {0: 0, 1: 2, 2: 3}
    """
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    score = [[similarity(x, y) for y in b] for x in a]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            paired = best[i + 1][j + 1] + score[i][j]
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    pairs: dict[int, int] = {}
    i = j = 0
    while i < len(a) and j < len(b):
        if score[i][j] > 0 and best[i][j] == best[i + 1][j + 1] + score[i][j]:
            pairs[i] = j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def similarity_to_stock(stock: ModelSpec, graph: ModelSpec, pairs: dict[int, int]) -> float:
    """Fraction of ``stock``'s layers with a counterpart in ``graph``; one of another module counts half."""
    found = sum(1.0 if stock.layers[i].module == graph.layers[j].module else 0.5 for i, j in pairs.items())
    return found / len(stock.layers)


def nearest_stock(spec: ModelSpec, stock: Sequence[ModelSpec]) -> tuple[ModelSpec, dict[int, int]] | None:
    """Find the stock graph that ``spec`` was made from, and the alignment of its layers; None if there is none."""
    found = [
        (similarity_to_stock(s, spec, pairs), s, pairs) for s in stock for pairs in (align(s.layers, spec.layers),)
    ]
    if not found:
        return None
    # Layers found minus layers not found: a P6 graph contains most of P5 as well, but P6 explains more of it.
    share, best, pairs = max(found, key=lambda item: (item[0] >= ALIKE, (2 * item[0] - 1) * len(item[1].layers)))
    return (best, pairs) if share >= ALIKE else None


def name_layers(spec: ModelSpec, stock: Sequence[ModelSpec]) -> ModelSpec:
    """Name every layer that has no name yet (``#index`` after parsing)."""
    if not any(row.name.startswith("#") for row in spec.layers):
        return spec
    found = nearest_stock(spec, stock)
    stock_names = {j: found[0].layers[i].name for i, j in found[1].items()} if found else {}
    given = [row.name for row in spec.layers if not row.name.startswith("#")]
    last = len(spec.layers) - 1
    if _can_be_head(spec.layers[last]) and HEAD_NAME not in stock_names.values():
        stock_names[last] = HEAD_NAME
    taken = [*given, *(name for j, name in stock_names.items() if spec.layers[j].name.startswith("#"))]
    new_names: dict[str, str] = {}
    for j, row in enumerate(spec.layers):
        if not row.name.startswith("#"):
            continue
        if j in stock_names and stock_names[j] not in given:
            new_names[row.name] = stock_names[j]
            continue
        leaf = row.module.rsplit(".", 1)[-1].lower()
        source = new_names.get(row.inputs[0], row.inputs[0])
        wanted = f"{source}.{leaf}" if found and len(row.inputs) == 1 else leaf
        new_names[row.name] = unique_name(wanted, taken)
        taken.append(new_names[row.name])
    return replace(spec, layers=tuple(_renamed(row, new_names) for row in spec.layers))


def _can_be_head(row: LayerSpec) -> bool:
    """Whether the class of a row is a detection head, or one that only the user's modules can tell."""
    return row.module in HEADS or not (row.module in LAYERS or row.module.startswith("nn."))


def _renamed(row: LayerSpec, names: dict[str, str]) -> LayerSpec:
    return replace(row, name=names.get(row.name, row.name), inputs=tuple(names.get(n, n) for n in row.inputs))
