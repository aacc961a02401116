"""What an edit changes in a YAML of integers: which rows are new, and which indices had to be shifted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regard.errors import RegardError
from regard.graph.spec import ModelSpec

ROW = re.compile(r"(\s*- \[)(\[[^]]*\]|[^,]*)(, .*)")
"""A row of such a file: its start, what it reads, the rest."""

Change = Literal["same", "shifted", "new", "gone", "changed"]


@dataclass(frozen=True)
class Part:
    """A piece of a line, and whether it is an index that differs from that before the edit."""

    text: str
    shifted: bool = False


@dataclass(frozen=True)
class Line:
    """A line of the file.

    Attributes:
        parts: the text in pieces.
        row: index of the layer; None for a line without one.
        name: name of the layer.
        change: ``shifted`` if only indices differ, of the same layers or of an inserted one that it reads instead;
            ``changed`` if the row differs otherwise.
    """

    parts: tuple[Part, ...]
    row: int | None = None
    name: str = ""
    change: Change = "same"

    @property
    def text(self) -> str:
        """The whole line."""
        return "".join(part.text for part in self.parts)


@dataclass(frozen=True)
class Renumbering:
    """Two files, line by line, and how many indices of the first were shifted."""

    before: tuple[Line, ...]
    after: tuple[Line, ...]
    shifted: int


def integer_yaml(spec: ModelSpec, *, ungated: bool = False, file: Path | None = None) -> str:
    """Write a built graph with plain integers, as the package of its family reads it.

    Raises:
        RegardError: as ``ModelSpec.to_yolov5_yaml`` and ``ModelSpec.to_ultralytics_yaml``.
    """
    if spec.anchors is not None:
        return spec.to_yolov5_yaml(ungated=ungated)
    return spec.to_ultralytics_yaml(ungated=ungated, file=file)


def renumbering(before: ModelSpec, after: ModelSpec, file: Path | None = None) -> Renumbering:
    """Compare the YAML of integers of a graph before and after an edit; gates are left out.

    Args:
        before: the graph, built.
        after: the edited one.
        file: where the first comes from. Its name may state a size, which is written unless its rules give another
            network.

    Raises:
        RegardError: a graph cannot be written so.

    Example:
        >>> import regard
        >>> model = regard.load("yolov5n")
        >>> renumbering(model.spec, regard.insert(model, "SE", after="sppf").spec).shifted
        5
    """
    try:
        texts = [integer_yaml(spec, ungated=True, file=file) for spec in (before, after)]
    except RegardError:
        texts = [integer_yaml(spec, ungated=True) for spec in (before, after)]
    old, new = _rows(texts[0], before), _rows(texts[1], after)
    lines = [[_line(text, spec, old, new, k) for text in _numbered(texts[k])] for k, spec in enumerate((before, after))]
    shifted = sum(part.shifted for line in lines[1] for part in line.parts if line.change != "new")
    return Renumbering(tuple(lines[0]), tuple(lines[1]), shifted)


def _numbered(text: str) -> list[tuple[str, int | None]]:
    """The lines with the index of the layer in each."""
    found: list[tuple[str, int | None]] = []
    section, row = False, 0
    for line in text.splitlines():
        section = line in ("backbone:", "head:") or (section and line.startswith("  - "))
        is_row = section and line.startswith("  - ")
        found.append((line, row if is_row else None))
        row += is_row
    return found


def _rows(text: str, spec: ModelSpec) -> dict[str, str]:
    """The text of each layer by its name."""
    return {spec.layers[row].name: line for line, row in _numbered(text) if row is not None}


def _line(
    numbered: tuple[str, int | None], spec: ModelSpec, old: dict[str, str], new: dict[str, str], side: int
) -> Line:
    text, row = numbered
    if row is None:
        return Line((Part(text),))
    name = spec.layers[row].name
    other = (new, old)[side].get(name)
    if other is None:
        return Line((Part(text),), row, name, "new" if side else "gone")
    if other == text:
        return Line((Part(text),), row, name)
    here, there = ROW.fullmatch(text), ROW.fullmatch(other)
    if not here or not there:
        return Line((Part(text),), row, name, "changed")
    parts = (Part(here[1]), *_sources(here[2], there[2]), Part(here[3]))
    return Line(parts, row, name, "shifted" if here[3] == there[3] else "changed")


def _sources(here: str, there: str) -> tuple[Part, ...]:
    """What a row reads in pieces, with the indices that differ from those of the other file."""
    mine, theirs = re.split(r"(-?\w+)", here), re.split(r"(-?\w+)", there)
    if len(mine) != len(theirs):
        return (Part(here, True),)
    return tuple(Part(a, i % 2 == 1 and a != b) for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a)
