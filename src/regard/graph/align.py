"""Which row of one graph corresponds to which row of another: an order-keeping alignment of the two lists.

Used to name the rows of a file that names none, to find references that an insertion left stale, and to move
weights between graphs. Scores by dynamic programming (Needleman and Wunsch, 1970), gaps are free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from regard.graph.spec import LayerSpec, ModelSpec

Similarity = Callable[[LayerSpec, LayerSpec], float]


def row_similarity(a: LayerSpec, b: LayerSpec) -> float:
    """Return how alike two rows are by what they do, not by name or place: 0 to 3."""
    alike = (a.args, a.number) == (b.args, b.number)
    if a.module == b.module:
        return 3.0 if alike else 2.0
    if len(a.inputs) == len(b.inputs) == 1 and a.args[:1] == b.args[:1] != ():  # another block in its place
        return 1.0 if alike else 0.5
    return 0.0


def align(a: Sequence[LayerSpec], b: Sequence[LayerSpec], similarity: Similarity = row_similarity) -> dict[int, int]:
    """Return the alignment of highest total similarity: index in ``a`` to index in ``b``, both increasing."""
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


def likeness(stock: ModelSpec, graph: ModelSpec, pairs: dict[int, int]) -> float:
    """Return the fraction of ``stock``'s rows that found a row in ``graph``, half for one of another module."""
    found = sum(1.0 if stock.layers[i].module == graph.layers[j].module else 0.5 for i, j in pairs.items())
    return found / len(stock.layers)
