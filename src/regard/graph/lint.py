"""Checks for graphs that can be built but are probably not what the author intended.

After inserting one row into a YAML with integer references, every later index has to be increased by one. If one is
forgotten, the network can often still be built, but a layer reads another input. The signs of that, most of which need
no stock graph to compare with:

* a join or the detection head reads a concatenation, an upsampling or a strided convolution that later rows complete;
* maps of different sizes are joined, or one map twice;
* a layer that nothing reads;
* a reference with the number that it has in the stock graph although rows were inserted above its target;
* detection levels in no order.

What can be meant is a note: a warning that ends in "intended?".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from regard.errors import RegardError, warn
from regard.graph import mend
from regard.graph.compare import Comparison, compare
from regard.graph.dialects import ultralytics
from regard.graph.document import flow
from regard.graph.mend import Reference, Targets
from regard.graph.read import stock_graphs
from regard.graph.spec import LayerSpec, ModelSpec
from regard.graph.stages import Stages, stages_of
from regard.nn.heads import Head

FIRST_STOCK_STRIDE = 8
"""Stride of the first level of stock graphs with anchors; each further level doubles it."""

UNSORTED = "the strides of the detection levels are not sorted"
STALE = " reads by an index that was not updated after an edit"
CORRECTED = "corrected row: "

Measure = Callable[[ModelSpec], ModelSpec]
"""Builds a graph and fills in ``ModelSpec.info``; raises ``RegardError`` where it cannot be built."""


@dataclass(frozen=True)
class WiringError:
    """One finding in a graph.

    Attributes:
        row: the layer that is wrong.
        what: description of the error.
        corrected: the corrected row, or advice; empty for a note.
        note: whether it can be intended.
    """

    row: LayerSpec
    what: str
    corrected: str = ""
    note: bool = False


def raise_or_warn(found: Sequence[WiringError], spec: ModelSpec, *, allow: bool) -> None:
    """Raise one error for all wiring errors found; with ``allow``, issue a warning instead. Notes are warnings.

    Raises:
        RegardError: there are wiring errors, and ``allow`` is False.
    """
    for note in (finding for finding in found if finding.note):
        warn(f"{spec.place_of(note.row)}{note.what}")
    errors = [finding for finding in found if not finding.note]
    if not errors:
        return
    first, *others = errors
    more = "".join(f"\n{spec.place_of(m.row)}{m.what}\n  {m.corrected}" for m in others)
    hint = f"{first.corrected}{more}\n  (--allow-miswired, in Python allow_miswired=True, builds the graph anyway)"
    error = spec.error_at(first.row, first.what, hint=hint)
    if not allow:
        raise error
    warn(f"mis-wired graph: {error}")


def check_wiring(spec: ModelSpec, measure: Measure) -> list[WiringError]:
    """Find wrong references of a graph and the rows that correct them.

    Args:
        spec: the graph with ``info``, as far as it could be measured.
        measure: builds a graph; each correction is tried with it before it is proposed.
    """
    stages = stages_of(spec)
    against = compare(spec, stages, stock_graphs(spec))
    signs = _signs(spec, stages, against)
    lonely = _unread(spec, stages)
    notes = _notes(spec, stages, against)
    if not signs and not lonely:
        return notes
    for targets, refs in mend.proposals(spec, stages, against, signs):
        wanted = _corrections(spec, {**dict.fromkeys(refs, ""), **signs}, lonely, targets, measure)
        if wanted is not None:
            break
    else:
        wanted = {}
    wanted |= _alike(spec, stages, wanted)
    edited = against is not None or mend.by_old_numbers(spec, stages).items() >= wanted.items()
    errors = _errors(spec, stages, signs, lonely, wanted, outdated=wanted if edited else ())
    left = _notes(spec, stages, against, without=wanted)
    for i, error in enumerate(errors):
        own = [note.what for note in left if note.row == error.row]
        errors[i] = replace(error, what="; ".join([error.what, *own]))
    return [*errors, *(note for note in notes if note.row not in [error.row for error in errors])]


def _alike(spec: ModelSpec, stages: Stages, wanted: Mapping[Reference, int]) -> dict[Reference, int]:
    """Levels that the head reads before attention although a corrected one is read behind its own."""
    head = len(spec.layers) - 1
    if not any(reader == head and stages.kinds[row] == "light" for (reader, _), row in wanted.items()):
        return {}
    levels = {ref: row for ref, row in mend.references(spec, stages).items() if ref[0] == head and ref not in wanted}
    ends = {ref: stages.chain(row)[-1] for ref, row in levels.items()}
    return {ref: end for ref, end in ends.items() if end != levels[ref] and stages.kinds[end] == "light"}


def _signs(spec: ModelSpec, stages: Stages, against: Comparison | None) -> dict[Reference, str]:
    """Describe each reference that cannot be meant."""
    found: dict[Reference, str] = {}
    for ref, target in mend.references(spec, stages).items():
        reader = ref[0]
        if target in stages.inputs[reader][: ref[1]] + stages.inputs[reader][ref[1] + 1 :]:
            found[ref] = f"{_row(spec, target)} is read twice"
        elif (sizes := _other_size(stages, ref)) is not None:
            trusted, here, there = sizes
            found[ref] = (
                f"maps of different sizes: {_row(spec, target)} has stride {there:g}, "
                f"{_row(spec, trusted)} has stride {here:g}"
            )
        elif (done := stages.completed_by(target)) is not None and not (
            stages.leads_to(target, reader) or _annotated(spec, ref)  # a join within one stage
        ):
            found[ref] = f"{_row(spec, target)} is completed by {_row(spec, done)}"
    for ref, was in (against.stale(stages) if against else {}).items():
        if not _annotated(spec, ref):
            read = stages.inputs[ref[0]][ref[1]]
            found[ref] = f"{read} is now {spec.layers[read].name!r} and was {was!r}"
    head = len(spec.layers) - 1
    if not any(reader == head for reader, _ in found):
        strides = [stages.strides[i] for i in stages.inputs[head]]
        if strides not in (sorted(strides), sorted(strides)[::-1]):
            listed = ", ".join(f"{n} {s:g}" for n, s in zip(spec.layers[head].inputs, strides, strict=True))
            found |= {
                (head, slot): f"{UNSORTED}: {listed}"
                for slot, (stride, right) in enumerate(zip(strides, sorted(strides), strict=True))
                if stride != right
            }
    return found


def _other_size(stages: Stages, ref: Reference) -> tuple[int, float, float] | None:
    """A row that a concatenation joins, its stride, and the stride of the reference, if they differ."""
    reader, slot = ref
    if stages.kinds[reader] != "concat":
        return None
    inputs = stages.inputs[reader]
    trusted = reader - 1 if reader - 1 in inputs else inputs[0]
    here, there = stages.strides[trusted], stages.strides[inputs[slot]]
    return (trusted, here, there) if here != there and inputs[slot] != trusted else None


def _unread(spec: ModelSpec, stages: Stages) -> dict[int, list[Reference]]:
    """Layers that nothing reads, each with the references that may have been meant for it."""
    read = {i for inputs in stages.inputs for i in inputs}
    found: dict[int, list[Reference]] = {}
    head = len(spec.layers) - 1
    for row in range(head):
        if row in read:
            continue
        before = stages.inputs[row]
        passing = [
            (reader, slot)
            for reader in range(row + 1, head + 1)
            for slot, i in enumerate(stages.inputs[reader])
            if len(before) == 1 and i == before[0]
        ]
        final = row in stages.finals.values()
        found[row] = passing or [(head, slot) for slot in range(len(stages.inputs[head])) if final]
    return found


def _corrections(
    spec: ModelSpec,
    signs: dict[Reference, str],
    lonely: dict[int, list[Reference]],
    targets: Targets,
    measure: Measure,
) -> dict[Reference, int] | None:
    """What all wrong references should read, if the graph then builds and has no further sign; else None."""
    wanted = {ref: targets(ref) for ref in signs}
    if not signs:
        wanted = {ref: _meant(stages_of(spec), row, ref, targets) for row, refs in lonely.items() for ref in refs}
    while wanted:
        known = {ref: row for ref, row in wanted.items() if row is not None}
        if len(known) < len(wanted) or any(row >= reader for (reader, _), row in known.items()):
            return None
        try:
            corrected = measure(mend.reading(spec, known))
        except RegardError:
            return None
        stages = stages_of(corrected)
        left = _signs(corrected, stages, compare(corrected, stages, stock_graphs(corrected)))
        more: dict[Reference, int | None] = {ref: targets(ref) for ref in left if ref not in wanted}
        unread = _unread(corrected, stages)
        for row, refs in unread.items():
            more |= {ref: _meant(stages, row, ref, targets) for ref in refs if ref not in wanted and ref not in more}
        if not left and not unread:
            inputs = stages_of(spec).inputs
            return {ref: row for ref, row in known.items() if inputs[ref[0]][ref[1]] != row}
        if not more:
            return None
        wanted |= more
    return None


def _meant(stages: Stages, row: int, ref: Reference, targets: Targets) -> int | None:
    """What a reference should read so that the unread ``row`` is read."""
    passes = stages.inputs[ref[0]][ref[1]] in stages.inputs[row]
    return stages.chain(row)[-1] if passes else targets(ref)


def _errors(
    spec: ModelSpec,
    stages: Stages,
    signs: dict[Reference, str],
    lonely: dict[int, list[Reference]],
    wanted: dict[Reference, int],
    outdated: Collection[Reference],
) -> list[WiringError]:
    """One error per row, in the order of the file; ``outdated`` are references known to be those before an edit."""
    corrected = mend.reading(spec, wanted)
    errors: list[WiringError] = []
    for reader in sorted({reader for reader, _ in signs} | {reader for reader, _ in wanted}):
        row = corrected.layers[reader]
        texts = dict.fromkeys(text for ref, text in signs.items() if ref[0] == reader)
        idle = next((i for i, refs in lonely.items() if any(ref[0] == reader for ref in refs)), None)
        if not texts and idle is not None:
            texts = {f"nothing reads {_row(spec, idle)}": None}
        unsorted = any(UNSORTED in text for text in texts)
        others = {row for ref, row in wanted.items() if ref[0] == reader == len(spec.layers) - 1 and not unsorted}
        levels = [
            f"row {i} is now that of another level"
            for slot, i in enumerate(stages.inputs[reader])
            if i in others and wanted.get((reader, slot)) != i
        ]
        if not texts:
            texts = {"its numbers are those of the file before the edit, as those of other rows": None}
        signed = any(ref[0] == reader for ref in signs) and any(ref[0] == reader for ref in outdated)
        stale = STALE if signed and not unsorted else ""
        what = f"layer {row.name!r} ({row.module}){stale}: "
        proposal = CORRECTED + written(corrected, row) if wanted else "check its indices"
        errors.append(WiringError(spec.layers[reader], what + "; ".join([*texts, *levels]), proposal))
    if not errors:
        advice = "make a later row read it, or remove it"
        errors = [WiringError(spec.layers[row], f"nothing reads {_row(spec, row)}", advice) for row in lonely]
    return errors


def _notes(
    spec: ModelSpec, stages: Stages, against: Comparison | None, without: Collection[Reference] = ()
) -> list[WiringError]:
    """What is unusual and can be meant, but for references that are corrected."""
    odd = {**_uneven(spec, stages), **(against.odd(stages) if against else {})}
    found: list[WiringError] = []
    for ref, target in mend.references(spec, stages).items():
        row, last = spec.layers[ref[0]], stages.chain(target)[-1]
        instead = spec.layers[last].name if last != target and spec.layers[last].origin else odd.get(ref)
        reads = last not in stages.inputs[ref[0]] and stages.inputs[last] != (ref[0],)
        final = stages.finals.get(stages.strides[target])
        if not instead and row is spec.layers[-1] and final is not None and final > last:
            last, instead = final, spec.layers[final].name
        if instead and reads and last != ref[0] and ref not in without:
            found.append(WiringError(row, f"reads {spec.layers[target].name}, not {instead}: intended?", note=True))
    return found


def _uneven(spec: ModelSpec, stages: Stages) -> dict[Reference, str]:
    """References of a bottom-up path to the map before a lateral where another reads the lateral; with its name."""
    back = {ref: row for ref, row in mend.references(spec, stages).items() if stages.is_way_back(ref[0])}
    if not any(row in stages.upsampled for row in back.values()):
        return {}
    before = (ref for ref, row in back.items() if stages.is_before_lateral(row) and not _annotated(spec, ref))
    return {ref: spec.layers[row].name for ref in before if (row := mend.by_stage(stages, ref)) is not None}


def with_anchors_in_order(spec: ModelSpec, sides: Sequence[int]) -> ModelSpec:
    """Reverse the anchors of a graph whose levels are listed coarse to fine and its anchors fine to coarse.

    YOLOv5 does so too, as its files list anchors from fine to coarse whatever the order of the levels.

    Args:
        spec: the graph.
        sides: of the maps of each level.
    """
    if not isinstance(spec.anchors, tuple) or len(spec.anchors) != len(sides) or len(sides) < 2:
        return spec
    first, last = (sum(w * h for w, h in zip(a[::2], a[1::2], strict=True)) for a in spec.anchors[:: len(sides) - 1])
    return replace(spec, anchors=spec.anchors[::-1]) if (last - first) * (sides[0] - sides[-1]) < 0 else spec


def check_levels(spec: ModelSpec, layer: Head) -> list[WiringError]:
    """Note detection levels whose strides are unusual for the object sizes that the head is meant for."""
    head = spec.layers[-1]
    if any(name not in spec.info for name in head.inputs):  # the image
        return []
    strides = [int(spec.info[name].stride) for name in head.inputs]
    listed = ", ".join(f"{name} {stride}" for name, stride in zip(head.inputs, strides, strict=True))
    if len(set(strides)) < len(strides):
        return [WiringError(head, f"two detection levels have the same stride: {listed}: intended?", note=True)]
    stated = layer.object_sizes()
    if stated is None:
        return []
    sizes = [sum(w * h for w, h in zip(a[::2], a[1::2], strict=True)) for a in stated]
    if sorted(range(len(sizes)), key=sizes.__getitem__) != sorted(range(len(sizes)), key=strides.__getitem__):
        what = f"the sizes of the anchors are not in the order of the strides ({listed}): intended?"
        return [WiringError(head, what, note=True)]
    known = {
        anchors: FIRST_STOCK_STRIDE << level
        for stock in stock_graphs()
        if isinstance(stock.anchors, tuple)
        for level, anchors in enumerate(stock.anchors)
    }
    foreign = [
        f"{name} has stride {stride}, and anchors for stride {known[anchors]}"
        for name, stride, anchors in zip(head.inputs, strides, stated, strict=True)
        if known.get(anchors, stride) != stride
    ]
    what = (
        f"anchors of a stock graph for other strides: {'; '.join(foreign)}: intended? (`anchors: 3` fits them to data)"
    )
    return [WiringError(head, what, note=True)] if foreign else []


def _annotated(spec: ModelSpec, ref: Reference) -> bool:
    """Whether the comment of a row names the row that it reads."""
    reader = spec.layers[ref[0]]
    if reader.origin is None:
        return False
    numbers = re.findall(r"(?<![\w/.-])\d+(?![\w/.-])", reader.origin.comment)
    own = [str(ref[0])] if numbers[:1] == [str(ref[0])] else []
    return str(reader.origin.sources[ref[1]]) in numbers[len(own) :]


def _row(spec: ModelSpec, i: int) -> str:
    return f"row {i} ({spec.layers[i].name!r}, {spec.layers[i].module})"


def written(spec: ModelSpec, row: LayerSpec) -> str:
    """Write a corrected row as its author would: only the wrong numbers differ."""
    row = ultralytics.in_file(row) if spec.anchors is None else row
    args = flow([*row.args, *([row.options] if row.options else [])])
    sources = row.origin.sources if row.origin else tuple(spec.index(name) for name in row.inputs)
    return f"[{flow(sources[0] if len(sources) == 1 else sources)}, {row.number}, {row.module}, {args}]"
