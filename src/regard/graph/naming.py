"""Names for the rows of a file that gives none: those of the stock graph that it was made from.

A row that has no counterpart there is called after its module and, where possible, the row it follows
(``sppf.se``), so that a hand-edited integer YAML and the same edit by name give the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from regard.graph.align import align, likeness
from regard.graph.edit import unique_name
from regard.graph.spec import LayerSpec, ModelSpec

ALIKE = 0.65
"""Fraction of a stock graph's rows that must be found again for a graph to count as made from it."""


def nearest_stock(spec: ModelSpec, stock: Sequence[ModelSpec]) -> tuple[ModelSpec, dict[int, int]] | None:
    """Return the stock graph that ``spec`` was made from and the alignment of its rows, or None."""
    found = [(likeness(s, spec, pairs), s, pairs) for s in stock for pairs in (align(s.layers, spec.layers),)]
    if not found:
        return None
    # Rows found less rows not found: a P6 graph contains most of P5 too, but P6 explains more of it.
    share, best, pairs = max(found, key=lambda item: (item[0] >= ALIKE, (2 * item[0] - 1) * len(item[1].layers)))
    return (best, pairs) if share >= ALIKE else None


def name_rows(spec: ModelSpec, stock: Sequence[ModelSpec]) -> ModelSpec:
    """Return ``spec`` with every unnamed row (``#index`` since parsing) named."""
    if not any(row.name.startswith("#") for row in spec.layers):
        return spec
    found = nearest_stock(spec, stock)
    stock_names = {j: found[0].layers[i].name for i, j in found[1].items()} if found else {}
    given = [row.name for row in spec.layers if not row.name.startswith("#")]
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


def _renamed(row: LayerSpec, names: dict[str, str]) -> LayerSpec:
    return replace(row, name=names.get(row.name, row.name), inputs=tuple(names.get(n, n) for n in row.inputs))
