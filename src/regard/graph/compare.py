"""Comparison of a graph with the stock graph that it was made from, by what its rows do and at which stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from regard.graph.align import align
from regard.graph.spec import LayerSpec, ModelSpec
from regard.graph.stages import Stages, like_stock, stages_of

ALIKE = 0.85
"""Least share of the rows of both graphs that correspond, attention aside, for one to count as made from the other."""

SAME = 0.97
"""Least share for a graph whose modules are those of the stock graph, except a few."""

OTHER_MODULE = 0.9
"""Weight of a row whose counterpart does the same by another module."""


@dataclass(frozen=True)
class Comparison:
    """A graph next to the stock graph that it was made from.

    Attributes:
        spec: the graph.
        stock: the stock graph.
        pairs: rows of the stock graph and their counterparts.
        slots: for each reference of the graph, the row of the stock graph that its counterpart reads.
        share: how many rows correspond, 0 to 1.
    """

    spec: ModelSpec
    stock: ModelSpec
    pairs: Mapping[int, int]
    slots: Mapping[tuple[int, int], int]
    share: float

    def meant(self, stages: Stages) -> dict[tuple[int, int], int]:
        """What each reference should read, with what was inserted after it."""
        odd = self.odd(stages) if self.share < SAME else {}
        return {
            ref: stages.chain(self.pairs[was])[-1]
            for ref, was in self.slots.items()
            if was in self.pairs and ref not in odd
        }

    def stale(self, stages: Stages) -> dict[tuple[int, int], str]:
        """References whose number is outdated, and the name of the row that they read in the stock graph."""
        return {ref: self.stock.layers[self.slots[ref]].name for ref, certain in self._wrong(stages).items() if certain}

    def odd(self, stages: Stages) -> dict[tuple[int, int], str]:
        """References that read another row than in the stock graph, but may be meant; with the name of that row."""
        return {
            ref: self.spec.layers[self.pairs[self.slots[ref]]].name
            for ref, certain in self._wrong(stages).items()
            if not certain
        }

    def _wrong(self, stages: Stages) -> dict[tuple[int, int], bool]:
        """References that do not read the counterpart but a row between its number and the old one; whether by error.

        The joins of a bottom-up path may all read complete maps where the stock graph reads laterals. That is taken as
        meant, unless all of them have their old numbers, in a graph of the same modules or where others have them.
        """
        found: dict[tuple[int, int], bool] = {}
        for (reader, slot), was in self.slots.items():
            source, now = stages.inputs[reader][slot], self.pairs.get(was)
            if now is None or now == was or source in stages.chain(now):
                continue
            complete = stages.completed_by(source) is None
            same_stage = stages.leads_to(*sorted((source, now)))
            if not stages.is_way_back(reader) and complete and same_stage:
                continue  # one of several blocks of a stage
            low, high = sorted((was, now))
            if low <= source <= high:
                found[reader, slot] = source == was or stages.is_way_back(reader)
        back = [ref for ref in self.slots if stages.is_way_back(ref[0])]
        sources = [stages.inputs[reader][slot] for reader, slot in back]
        meant = all(stages.is_before_lateral(stages.end(source)) for source in sources)
        old = all(source == self.slots[ref] for source, ref in zip(sources, back, strict=True))
        others = any(exact for (reader, _), exact in found.items() if not stages.is_way_back(reader))
        if meant and not (old and (self.share >= SAME or others)):
            found |= dict.fromkeys(found.keys() & set(back), False)
        return found


def compare(spec: ModelSpec, stages: Stages, stock: Sequence[ModelSpec]) -> Comparison | None:
    """Find the stock graph that ``spec`` was made from by insertions and replacements; None if there is none."""
    if not spec.layers or any(row.origin is None for row in spec.layers):
        return None
    best = max((_likeness(graph, spec, stages) for graph in stock), key=lambda found: found[0], default=None)
    if best is None or best[0] < ALIKE:
        return None
    _, graph, pairs = best
    backwards = {j: i for i, j in pairs.items()}
    slots: dict[tuple[int, int], int] = {}
    for reader in range(len(spec.layers)):
        if reader in backwards:
            slots |= _slots(graph, spec, stages, pairs, backwards[reader], reader)
    return Comparison(spec, graph, pairs, slots, best[0])


def _likeness(stock: ModelSpec, spec: ModelSpec, stages: Stages) -> tuple[float, ModelSpec, dict[int, int]]:
    original = stages_of(replace(stock, info=like_stock(stock)))
    place = {id(row): (original, i) for i, row in enumerate(stock.layers)}
    place |= {id(row): (stages, i) for i, row in enumerate(spec.layers)}

    def similarity(a: LayerSpec, b: LayerSpec) -> float:
        (ours, i), (theirs, j) = place[id(a)], place[id(b)]
        kind, other = ours.kinds[i], theirs.kinds[j]
        if kind != "head" and ours.strides[i] != theirs.strides[j]:
            return 0.0
        if kind != other:
            return 0.5 if (kind, other) == ("block", "either") else 0.0
        if a.module == b.module:
            return 3.0 if (a.args, a.number) == (b.args, b.number) else 2.0
        return 1.0

    pairs = align(stock.layers, spec.layers, similarity)
    aligned = set(pairs.values())
    free = [j for j in range(len(spec.layers)) if j not in aligned]
    counted = len(aligned) + sum(stages.kinds[j] not in ("light", "either") for j in free)
    in_sequence = all(stages.inputs[j] == (j - 1,) for j in free)
    joined = ("concat", "join")
    same_joins = sum(k in joined for k in original.kinds) == sum(k in joined for k in stages.kinds)
    same = sum(1 if stock.layers[i].module == spec.layers[j].module else OTHER_MODULE for i, j in pairs.items())
    share = 2 * same / (len(stock.layers) + counted) if in_sequence and same_joins else 0.0
    return share, stock, pairs


def _slots(
    stock: ModelSpec, spec: ModelSpec, stages: Stages, pairs: Mapping[int, int], was: int, reader: int
) -> dict[tuple[int, int], int]:
    """Assign the inputs that a stock row reads to the references of its counterpart, which may list them otherwise."""
    origin = spec.layers[reader].origin
    inputs = stages.inputs[reader]
    if origin is None or stages.kinds[reader] not in ("concat", "join", "head") or len(origin.sources) != len(inputs):
        return {}
    names = [name for name in stock.layers[was].inputs if name in {row.name for row in stock.layers}]
    wanted = [stock.index(name) for name in names]
    absolute = [k for k, s in enumerate(origin.sources) if isinstance(s, int) and s == inputs[k] >= 0]
    if stages.kinds[reader] == "head":
        if len(wanted) != len(inputs):
            return {}
        straight = sum(i == w or i in stages.chain(pairs.get(w, w)) for i, w in zip(inputs, wanted, strict=True))
        other = sum(i == w or i in stages.chain(pairs.get(w, w)) for i, w in zip(inputs, wanted[::-1], strict=True))
        wanted = wanted[::-1] if other > straight else wanted
        return {(reader, k): wanted[k] for k in absolute}
    if len(absolute) < len(inputs):  # the preceding row is read as -1
        wanted = [w for w in wanted if w != was - 1]
    found: dict[tuple[int, int], int] = {}
    tests = (
        lambda k, w: w in pairs and inputs[k] in stages.chain(pairs[w]),
        lambda k, w: inputs[k] == w,
        lambda _k, _w: len(absolute) == len(wanted) + len(found),
    )
    for test in tests:
        for k in absolute:
            fits = next((w for w in wanted if (reader, k) not in found and test(k, w)), None)
            if fits is not None:
                wanted.remove(fits)
                found[reader, k] = fits
    return found
