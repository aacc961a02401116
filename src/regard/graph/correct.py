"""The text of a model file: its wiring checked, and corrected rows put in the place of wrong ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import yaml
from torch import nn

from regard.errors import RegardError
from regard.graph.build import check, measured
from regard.graph.dialects import yolov5
from regard.graph.lint import CORRECTED, WiringError, written
from regard.graph.read import parse_spec
from regard.graph.spec import ModelSpec
from regard.graph.stages import stages_of
from regard.system.loaders import parse_yaml

INTEGER = re.compile(r"[-+]?\d+")

_Reference: TypeAlias = tuple[yaml.ScalarNode, int, int]
"""A number in the text, the row that reads by it, and its position among what the row reads."""


@dataclass(frozen=True)
class Correction:
    """A finding in a file.

    Attributes:
        layer: name of the wrong layer.
        line: its 1-based line.
        message: description of the error.
        row: the corrected row; "" where none is known.
        slots: positions of the inputs of the layer that are wrong; all where no corrected row is known.
        note: whether it can be intended.
        mendable: whether the corrected row can be put into the text.
        unreadable: whether the row reads what is not before it or cannot be built, so that there is no such graph.
    """

    layer: str
    line: int
    message: str
    row: str
    slots: tuple[int, ...]
    note: bool
    mendable: bool = False
    unreadable: bool = False


def corrections(
    text: str, file: Path | None = None, modules: Mapping[str, type[nn.Module]] | None = None
) -> tuple[ModelSpec, list[Correction]]:
    """Read a graph from the text of a file and find its wiring errors and the rows that cannot be built.

    Of a graph with such rows, or with rows of integers that read themselves, later rows or none, the facts are filled
    in as far as it can be built; inputs that are no layers are called by their numbers.

    Raises:
        RegardError: the text is no graph, or cannot be built for a reason that lies in none of its rows.

    Example:
        >>> from regard.graph.read import read_spec
        >>> text = read_spec("yolov5n").to_yaml()
        >>> corrections(text)[1]
        []
    """
    rows = _rows(text)
    wrong = [one for i, row in enumerate(rows) for one in _not_before(i, row)]
    readable = text
    for node, reader, slot in reversed(wrong):
        instead = "-1" if slot == 0 and reader < len(rows) - 1 else str(reader - 1)
        readable = readable[: node.start_mark.index] + instead + readable[node.end_mark.index :]
    spec = parse_spec(readable, file)
    faults: dict[int, _Fault] = {}
    for node, reader, slot in wrong:
        faults.setdefault(reader, _Fault()).add(yolov5.not_before(reader, int(node.value)).what, slot)
    errors, meant = _checked(spec, faults, modules or {})
    spans = _spans(rows)
    found = list(_findings(errors, spans))
    if not faults:
        return spec, found
    known = {one.layer: one for one in found if not one.note}
    unreadable = []
    for reader, fault in sorted(faults.items()):
        name, line = spec.layers[reader].name, spec.layers[reader].line or 1
        if name in known:
            row, slots = known[name].row, (*fault.slots, *known[name].slots)
        else:
            row, slots = written(meant, meant.layers[reader]) if meant else "", tuple(fault.slots)
        what = "; ".join(fault.messages)
        mendable = bool(row) and line in spans
        unreadable.append(Correction(name, line, what, row, tuple(sorted({*slots})), False, mendable, True))
    drawn = _as_written(measured(spec, modules=modules), wrong)
    return drawn, [*unreadable, *(one for one in found if one.note or one.layer not in {u.layer for u in unreadable})]


@dataclass
class _Fault:
    """Why a row cannot be read or built, and the positions of its wrong inputs."""

    messages: list[str] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)

    def add(self, message: str, *slots: int) -> None:
        self.messages.append(message)
        self.slots.extend(slots)


def _checked(
    spec: ModelSpec, faults: dict[int, _Fault], modules: Mapping[str, type[nn.Module]]
) -> tuple[list[WiringError], ModelSpec | None]:
    """Check a graph; where a row cannot be built, note it and check what can be meant, which is None if unknown."""
    try:
        errors = check(spec, modules=modules)
        if any(not error.note and not error.corrected.startswith(CORRECTED) for error in errors):
            return _with_unread_levels(spec, errors, modules), spec
        return errors, spec
    except RegardError as error:
        places = [row.line if error.file == (row.file or spec.file) else None for row in spec.layers]
        if error.line is None or error.line not in places:
            raise
        reader = places.index(error.line)
        inputs = len(spec.layers[reader].inputs)
        everything = range(inputs if inputs > 1 else 0)  # what reads one layer is wrong in itself
        faults.setdefault(reader, _Fault()).add("; ".join(filter(None, (error.what, error.hint))), *everything)
    meant = _with_all_levels(measured(spec, modules=modules))
    try:
        return (check(meant, modules=modules), meant) if meant else ([], None)
    except RegardError:
        return [], None


def _with_unread_levels(
    spec: ModelSpec, errors: list[WiringError], modules: Mapping[str, type[nn.Module]]
) -> list[WiringError]:
    """Correct the head instead, if the maps that nothing reads are levels and nothing else is wrong."""
    meant = _with_all_levels(measured(spec, modules=modules))
    if meant is None or any(not error.note for error in check(meant, modules=modules)):
        return errors
    first = next(error for error in errors if not error.note)
    return [WiringError(spec.layers[-1], first.what, CORRECTED + written(meant, meant.layers[-1]))]


def _with_all_levels(spec: ModelSpec) -> ModelSpec | None:
    """A graph whose head reads all maps in which its neck ends; None where that cannot be meant, or is so already."""
    stages, head = stages_of(spec), spec.layers[-1]
    ends, strides = list(stages.finals.values()), [stages.strides[row] for row in stages.inputs[-1]]
    levels = len(spec.anchors) if isinstance(spec.anchors, tuple) else max(len(ends), len(strides))
    if len(ends) != levels or len(strides) == levels:
        return None
    if strides == sorted(strides, reverse=True) and len(strides) > 1:
        ends = ends[::-1]
    origin = head.origin and replace(head.origin, sources=tuple(ends))
    head = replace(head, inputs=tuple(spec.layers[row].name for row in ends), origin=origin)
    return replace(spec, layers=(*spec.layers[:-1], head), info={})


def _as_written(spec: ModelSpec, wrong: Sequence[_Reference]) -> ModelSpec:
    """A graph with its rows reading themselves, later rows or none, as the file says; for drawing only."""
    layers = list(spec.layers)
    for node, reader, slot in wrong:
        source = int(node.value)
        target = reader + source if source < 0 else source
        name = spec.layers[target].name if 0 <= target < len(layers) else node.value
        inputs = layers[reader].inputs
        layers[reader] = replace(layers[reader], inputs=(*inputs[:slot], name, *inputs[slot + 1 :]))
    return replace(spec, layers=tuple(layers))


def _not_before(index: int, row: yaml.SequenceNode | None) -> Iterator[_Reference]:
    """The references of a row to itself, to later rows and to none, with its index and their positions."""
    first = row.value[0] if row and row.value else None
    sources = first.value if isinstance(first, yaml.SequenceNode) else [first]
    for slot, node in enumerate(sources):
        if index and isinstance(node, yaml.ScalarNode) and INTEGER.fullmatch(node.value):
            source = int(node.value)
            if not 0 <= (index + source if source < 0 else source) < index:
                yield node, index, slot


def _findings(errors: list[WiringError], spans: Mapping[int, tuple[int, int]]) -> Iterator[Correction]:
    for error in errors:
        row = error.corrected.removeprefix(CORRECTED) if error.corrected.startswith(CORRECTED) else ""
        line, slots = error.row.line or 1, _wrong_slots(error, row)
        yield Correction(error.row.name, line, error.what, row, slots, error.note, bool(row) and line in spans)


def _wrong_slots(error: WiringError, row: str) -> tuple[int, ...]:
    everything = tuple(range(len(error.row.inputs)))
    if not row or error.row.origin is None:
        return () if error.note else everything
    meant = parse_yaml(row, None)[0][0]
    meant = meant if isinstance(meant, list) else [meant]
    if len(meant) != len(error.row.origin.sources):
        return everything
    return tuple(i for i, (a, b) in enumerate(zip(error.row.origin.sources, meant, strict=True)) if a != b)


def corrected_text(text: str, chosen: list[Correction]) -> str:
    """Put corrected rows into the text of a file; indentation and comments stay.

    Raises:
        RegardError: a row has no correction, or is not written as a list.

    Example:
        >>> wrong = Correction("c", 2, "", "[[-1, 7], 1, Concat, [1]]", (1,), False)
        >>> print(corrected_text("head:\\n  - [[-1, 6], 1, Concat, [1]]  # P4", [wrong]))
        head:
          - [[-1, 7], 1, Concat, [1]]  # P4
    """
    spans = _spans(_rows(text))
    for correction in sorted(chosen, key=lambda one: -one.line):  # from the end, so that the other places remain
        if correction.line not in spans or not correction.row:
            raise RegardError("this row cannot be corrected here", line=correction.line, expected="a row as a list")
        start, end = spans[correction.line]
        comments = [part.partition("#")[2].strip() for part in text[start:end].split("\n") if "#" in part]
        comment = f"  # {'; '.join(comments)}" if comments else ""
        text = text[:start] + correction.row + comment + text[end:]
    return text


def _rows(text: str) -> list[yaml.SequenceNode | None]:
    """The rows of backbone and head that are written as lists, with or without a name; None for the others."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return []
    parts = {key.value: value for key, value in root.value} if isinstance(root, yaml.MappingNode) else {}
    sections = [parts.get(name) for name in ("backbone", "head")]
    rows = [row for part in sections if isinstance(part, yaml.SequenceNode) for row in part.value]
    rows = [row.value[0][1] if isinstance(row, yaml.MappingNode) and len(row.value) == 1 else row for row in rows]
    return [row if isinstance(row, yaml.SequenceNode) else None for row in rows]


def _spans(rows: Sequence[yaml.Node | None]) -> dict[int, tuple[int, int]]:
    """Where the rows begin and end in their text, by their 1-based line."""
    return {row.start_mark.line + 1: (row.start_mark.index, _end_of(row)) for row in rows if row}


def _end_of(node: yaml.Node) -> int:
    """Where a node ends; the mark of a block is that of what follows it."""
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end_of(node.value[-1])
    return int(node.end_mark.index)
