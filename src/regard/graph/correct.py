"""The text of a model file: its wiring checked, and corrected rows put in the place of wrong ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from torch import nn

from regard.errors import RegardError
from regard.graph.build import check
from regard.graph.lint import CORRECTED, WiringError
from regard.graph.read import parse_spec
from regard.graph.spec import ModelSpec
from regard.system.loaders import parse_yaml

INTEGER = re.compile(r"[-+]?\d+")


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
        unreadable: whether the row reads what is not before it, so that there is no such graph.
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
    """Read a graph from the text of a file and find its wiring errors.

    Where a row of integers reads itself, a later row or none, the graph is that in which it reads the row before it.

    Raises:
        RegardError: the text is no graph, or a layer cannot be built for another reason than its wiring.

    Example:
        >>> from regard.graph.read import read_spec
        >>> text = read_spec("yolov5n").to_yaml()
        >>> corrections(text)[1]
        []
    """
    rows = _rows(text)
    wrong = [one for i, row in enumerate(rows) for one in _unreadable(i, row)]
    readable = text
    for node, *_ in reversed(wrong):
        readable = readable[: node.start_mark.index] + "-1" + readable[node.end_mark.index :]
    spec = parse_spec(readable, file)
    found = list(_findings(check(spec, modules=modules), _spans(rows)))
    if not wrong:
        return spec, found
    known = {one.line: one for one in found}
    faults: dict[int, Correction] = {}
    for node, i, slot in wrong:
        line = rows[i].start_mark.line + 1
        row, message = known[line].row if line in known else "", _message(i, node.value)
        before = faults.get(line)
        slots = (*(before.slots if before else ()), slot)
        text_of = f"{before.message}; {message}" if before else message
        faults[line] = Correction(spec.layers[i].name, line, text_of, row, slots, False, bool(row), True)
    return spec, [*faults.values(), *(one for one in found if one.line not in faults)]


def _message(reader: int, source: str) -> str:
    return f"row {reader} reads row {source}, which is not before it"


def _unreadable(index: int, row: yaml.SequenceNode) -> Iterator[tuple[yaml.ScalarNode, int, int]]:
    """The references of a row to itself, to later rows and to none, with its index and their positions."""
    first = row.value[0] if row.value else None
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


def _rows(text: str) -> list[yaml.SequenceNode]:
    """The rows of backbone and head that are written as lists; none if there are others."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return []
    parts = {key.value: value for key, value in root.value} if isinstance(root, yaml.MappingNode) else {}
    sections = [parts.get(name) for name in ("backbone", "head")]
    rows = [row for part in sections if isinstance(part, yaml.SequenceNode) for row in part.value]
    return rows if all(isinstance(row, yaml.SequenceNode) for row in rows) else []


def _spans(rows: Sequence[yaml.Node]) -> dict[int, tuple[int, int]]:
    """Where the rows begin and end in their text, by their 1-based line."""
    return {row.start_mark.line + 1: (row.start_mark.index, _end_of(row)) for row in rows}


def _end_of(node: yaml.Node) -> int:
    """Where a node ends; the mark of a block is that of what follows it."""
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end_of(node.value[-1])
    return int(node.end_mark.index)
