"""What the parsers of foreign formats collect, and how they report what they cannot read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regard.data.dataset import Problem
from regard.data.formats.assemble import Entry
from regard.data.formats.labels import Box
from regard.data.paths import files_below
from regard.errors import RegardError
from regard.system.loaders import read_text

LINES = frozenset(("point", "points", "keypoint", "line", "lines", "linestrip", "polyline"))
"""Shapes of labelling tools that enclose nothing."""

CLASS_FILES = ("classes.txt", "_classes.txt", "labels.txt", "obj.names", "classes.names")


@dataclass
class Reading:
    """What was read so far.

    Attributes:
        root: folder of the data set.
        entries: images with their objects.
        problems: objects that could not be read.
    """

    root: Path
    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @contextmanager
    def item(self, file: Path, place: str = "", line: int | None = None) -> Iterator[None]:
        """Read one object in the block; what is wrong with it is reported, and the next one is read."""
        try:
            yield
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RegardError) as error:
            what = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            where = f"{file}, {place}" if place else str(file)
            self.problems.append(Problem("broken label", where, what, "box dropped", line, lost=True))

    def ignore(self, file: Path, what: str, line: int | None = None) -> None:
        """Report a region that the format marks as one to ignore."""
        self.problems.append(Problem("ignored region", str(file), what, "box dropped", line))


def class_list(reading: Reading) -> tuple[str, ...]:
    """Class names, one per line, of a file in the data set; none if there is no such file."""
    file = next((file for file in files_below(reading.root) if file.name.lower() in CLASS_FILES), None)
    return tuple(line.strip() for line in read_text(file).splitlines() if line.strip()) if file else ()


def number(value: Any) -> float:
    """Convert a stated number.

    Raises:
        ValueError: it is none.
    """
    try:
        result = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result):
        raise ValueError(f"{value!r} is not a number")
    return result


def corners(left: Any, top: Any, right: Any, bottom: Any) -> Box:
    """Box between two opposite corners, of which labelling tools store any two."""
    (x1, x2), (y1, y2) = sorted(map(number, (left, right))), sorted(map(number, (top, bottom)))
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def corner_size(left: Any, top: Any, width: Any, height: Any) -> Box:
    """Box with its upper left corner and its size."""
    w, h = number(width), number(height)
    return number(left) + w / 2, number(top) + h / 2, w, h


def around(points: Sequence[Sequence[Any]]) -> Box:
    """Box around points (x, y).

    Raises:
        ValueError: there are fewer than two.
    """
    if len(points) < 2:
        raise ValueError(f"{len(points)} points have no box")
    xs, ys = [number(point[0]) for point in points], [number(point[1]) for point in points]
    return corners(min(xs), min(ys), max(xs), max(ys))


def reject_line(kind: object) -> None:
    """Check that a shape encloses an area.

    Raises:
        ValueError: it is a point or a line, whose box would be one of nothing.
    """
    if str(kind).lower().replace("_", "") in LINES:
        raise ValueError(f"a {kind} has no box")


def size_of(height: Any, width: Any) -> tuple[int, int] | None:
    """(height, width) as stated; None if these are no sizes."""
    try:
        size = int(number(height)), int(number(width))
    except ValueError:
        return None
    return size if min(size) > 0 else None
