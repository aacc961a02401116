"""The text of a model file: its wiring checked, and corrected rows put in the place of wrong ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from regard.errors import RegardError
from regard.graph.build import check
from regard.graph.lint import CORRECTED, WiringError
from regard.graph.read import parse_spec
from regard.graph.spec import ModelSpec
from regard.system.loaders import parse_yaml


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
    """

    layer: str
    line: int
    message: str
    row: str
    slots: tuple[int, ...]
    note: bool


def corrections(
    text: str, file: Path | None = None, modules: Mapping[str, type[nn.Module]] | None = None
) -> tuple[ModelSpec, list[Correction]]:
    """Read a graph from the text of a file and find its wiring errors.

    Raises:
        RegardError: the text is no graph, or a layer cannot be built for another reason than its wiring.

    Example:
        >>> from regard.graph.read import read_spec
        >>> text = read_spec("yolov5n").to_yaml()
        >>> corrections(text)[1]
        []
    """
    spec = parse_spec(text, file)
    return spec, list(_findings(check(spec, modules=modules)))


def _findings(errors: list[WiringError]) -> Iterator[Correction]:
    for error in errors:
        row = error.corrected.removeprefix(CORRECTED) if error.corrected.startswith(CORRECTED) else ""
        yield Correction(error.row.name, error.row.line or 1, error.what, row, _wrong_slots(error, row), error.note)


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
        RegardError: a row has no correction, or its line holds something else than one row in brackets.

    Example:
        >>> wrong = Correction("c", 1, "", "[[-1, 7], 1, Concat, [1]]", (1,), False)
        >>> corrected_text("  - [[-1, 6], 1, Concat, [1]]  # P4", [wrong])
        '  - [[-1, 7], 1, Concat, [1]]  # P4'
    """
    lines = text.split("\n")
    for correction in chosen:
        lines[correction.line - 1] = _replaced(lines[correction.line - 1], correction)
    return "\n".join(lines)


def _replaced(line: str, correction: Correction) -> str:
    start = line.find("[")
    depth, end = 0, -1
    for i, character in enumerate(line[start:] if start >= 0 else "", start=start):
        depth += (character == "[") - (character == "]")
        if depth == 0:
            end = i + 1
            break
    before, after = line[:start], line[end:].split("#")[0].strip(" ,\r")
    if end < 0 or not correction.row or before.strip(" -") or after:
        raise RegardError(
            "this row cannot be corrected here", line=correction.line, expected="one row in brackets on its line"
        )
    return before + correction.row + line[end:]
