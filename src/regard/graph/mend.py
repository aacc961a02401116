"""Proposals for what wrong references of a graph should read."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from regard.graph.compare import Comparison
from regard.graph.spec import ModelSpec
from regard.graph.stages import Stages

Reference = tuple[int, int]
"""A row and the position of one of its inputs."""

Targets = Callable[[Reference], int | None]
"""What a reference should read; None where nothing suits."""


def references(spec: ModelSpec, stages: Stages) -> dict[Reference, int]:
    """References of joins and of the head by a number that is not negative, as they were written."""
    return {
        (reader, slot): target
        for reader, row in enumerate(spec.layers)
        if stages.kinds[reader] in ("concat", "join", "head") or len(row.inputs) > 1
        for slot, target in enumerate(stages.inputs[reader])
        if row.origin is not None
        and len(row.origin.sources) == len(row.inputs)
        and row.origin.sources[slot] == target >= 0  # else an edit by name has moved it
        and isinstance(row.origin.sources[slot], int)
    }


def reading(spec: ModelSpec, wanted: Mapping[Reference, int]) -> ModelSpec:
    """Copy a graph in which each reference of ``wanted`` reads another row, as if the file were written so."""
    layers = list(spec.layers)
    for (reader, slot), target in wanted.items():
        row = layers[reader]
        inputs = (*row.inputs[:slot], spec.layers[target].name, *row.inputs[slot + 1 :])
        origin = row.origin and replace(
            row.origin, sources=(*row.origin.sources[:slot], target, *row.origin.sources[slot + 1 :])
        )
        layers[reader] = replace(row, inputs=inputs, origin=origin)
    return replace(spec, layers=tuple(layers), info={})


def proposals(
    spec: ModelSpec, stages: Stages, against: Comparison | None, signs: Collection[Reference]
) -> Iterator[tuple[Targets, Collection[Reference]]]:
    """Ways to correct all wrong references together, the most likely first, and the references that each changes."""
    levels = _levels_within(stages) if any(reader == len(stages.kinds) - 1 for reader, _ in signs) else set()
    back = _forgotten_laterals(spec, stages, signs)

    def staged(ref: Reference) -> int | None:
        return by_stage(stages, ref)

    if against is not None:
        meant = against.meant(stages)
        odd = against.odd(stages).keys() & meant.keys() if signs else set()
        for more in (back, set()) if back else (set(),):
            yield lambda ref: meant.get(ref, staged(ref)), {*signs, *odd, *levels, *more}
    old = by_old_numbers(spec, stages)
    now = references(spec, stages)
    same = all(stages.strides[row] == stages.strides[now[ref]] for ref, row in old.items() if ref not in signs)
    if same and all(ref in old for ref in signs):
        yield old.get, old
    if back:
        yield staged, {*signs, *levels, *back}
    yield staged, {*signs, *levels}


def by_old_numbers(spec: ModelSpec, stages: Stages) -> dict[Reference, int]:
    """What every reference reads if all numbers are those of the file before its attention was inserted."""
    kept = [row for row, kind in enumerate(stages.kinds) if kind not in ("light", "either")]
    return {
        ref: stages.chain(kept[row])[-1]
        for ref, row in references(spec, stages).items()
        if row < len(kept) and row not in stages.chain(kept[row])
    }


def by_stage(stages: Stages, ref: Reference) -> int | None:
    """The complete map of the stride that a join or the head needs, from the stages alone."""
    reader, slot = ref
    if reader == len(stages.kinds) - 1:
        return _level(stages, slot)
    inputs = stages.inputs[reader]
    first = reader - 1 if reader - 1 in inputs else inputs[0]
    stride, now = stages.strides[first], inputs[slot]
    if stages.strides[now] == stride and stages.completed_by(now) is not None:
        return stages.end(now)
    own = _stage_before(stages, first)
    suitable = [
        row
        for row in range(first)
        if stages.strides[row] == stride and stages.completed_by(row) is None and row not in own
    ]
    ends = list(dict.fromkeys(stages.chain(row)[-1] for row in suitable))
    laterals = [row for row in ends if row in stages.upsampled] or ends
    return min(laterals, key=lambda row: (row < now, abs(row - now)), default=None)


def _level(stages: Stages, slot: int) -> int | None:
    """The last complete map of the stride of a detection level."""
    head = stages.inputs[-1]
    finals = stages.finals
    strides = [stages.strides[row] for row in head]
    if len(set(strides)) == len(strides) and all(stride in finals for stride in strides):
        ordered = sorted(strides, reverse=strides == sorted(strides, reverse=True) and len(strides) > 1)
        return finals[ordered[slot]]
    if len(finals) != len(head) or any(math.isnan(stride) for stride in strides):
        return None
    return list(finals.values())[slot]


def _forgotten_laterals(spec: ModelSpec, stages: Stages, signs: Collection[Reference]) -> set[Reference]:
    """References of a bottom-up path to the maps before the laterals, where all other numbers are outdated too."""
    now = references(spec, stages)
    back = {ref for ref in now.keys() - set(signs) if stages.is_way_back(ref[0])}
    first = min((now[ref] for ref in signs if ref in now), default=0)
    others = [ref for ref in now if ref not in back and ref not in signs and now[ref] > first]
    before = all(stages.is_before_lateral(now[ref]) for ref in back)
    return back if signs and before and not others else set()


def _levels_within(stages: Stages) -> set[Reference]:
    """References of the head to rows before the end of the last stage of their stride."""
    head = len(stages.kinds) - 1
    return {
        (head, slot)
        for slot, row in enumerate(stages.inputs[head])
        for final in (stages.finals.get(stages.strides[row], row),)
        if row < final and final not in stages.chain(row) and stages.leads_to(row, final)
    }


def _stage_before(stages: Stages, row: int) -> set[int]:
    """The rows that lead to ``row`` in one stage."""
    found = {row}
    while stages.inputs[row][0] >= 0 and stages.strides[stages.inputs[row][0]] == stages.strides[row]:
        row = stages.inputs[row][0]
        found.add(row)
    return found
