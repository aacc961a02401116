"""Rows of YOLO label files: boxes, polygons and keypoints, and what rows of another kind look like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from regard.data.dataset import Problem
from regard.data.formats.labels import Label, bounding_box
from regard.errors import RegardError
from regard.system.loaders import read_text

BOX_VALUES = 4
PIXELS = 2.0
"""Values from here on are not fractions of an image; those of boxes that extend beyond it are smaller."""
MANY = 50
"""Boxes from which on it is no chance that none of them is near the right and lower edges, but some near the others."""

MOST_SAMPLES = 500
"""Rows that are kept to find out what kind they are."""

ROW = "class cx cy w h: a whole number and four fractions of the image"


@dataclass
class RowReader:
    """How the rows of one data set are read, and what was seen in them.

    Attributes:
        names: class names.
        first_class: id of the first class in the rows.
        kpt_shape: number of keypoints and of values of each, for rows with keypoints.
        has_unknown_keypoints: rows longer than a box are keypoints whose shape is not known, so they are not read.
        ids: smallest and largest class id seen.
        long_rows: values, without the class, of rows that are longer than a box.
        boxes: values of rows that are boxes.
    """

    names: tuple[str, ...]
    first_class: int = 0
    kpt_shape: tuple[int, int] | None = None
    has_unknown_keypoints: bool = False
    ids: tuple[int, int] | None = None
    long_rows: list[list[float]] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)

    def read(self, file: Path) -> tuple[list[Label], list[Problem]]:
        """Read a label file; each row that is no label is a problem of its own."""
        try:
            text = read_text(file)
        except RegardError as error:
            done = "kept as background"
            return [], [Problem("unreadable label file", str(file), error.what, done, error.line, lost=True)]
        labels: list[Label] = []
        problems: list[Problem] = []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            row = self._row(words)
            if isinstance(row, _Fault):
                done = f"row dropped: {row.hint}"
                problems.append(Problem(row.kind, str(file), f"{line.strip()[:60]!r}", done, number, lost=True))
            else:
                labels.append(self._label(row, str(file), number))
        return labels, problems

    def _row(self, words: list[str]) -> list[float] | _Fault:
        """Values of a row: the class and a box."""
        try:
            values = [float(word) for word in words]
        except ValueError:
            return _diagnose_words(words, self.names)
        if not all(map(math.isfinite, values)):
            return _Fault("broken row", "every value must be finite")
        if values[0] % 1:
            return _Fault("broken row", f"{words[0]} is no whole number; expected {ROW}")
        count = len(values) - 1
        if count > BOX_VALUES and len(self.long_rows) < MOST_SAMPLES:
            self.long_rows.append(values[1:])
        fault = _diagnose_length(count, self.kpt_shape, self.has_unknown_keypoints)
        if fault:
            return fault
        is_polygon = count > BOX_VALUES and self.kpt_shape is None
        used = values[1:] if is_polygon else values[1 : BOX_VALUES + 1]
        if max(map(abs, used)) >= PIXELS:
            how = "divide x and width by the image's width, y and height by its height; percents by 100"
            return _Fault("pixels instead of fractions", how)
        if count == BOX_VALUES and len(self.boxes) < MOST_SAMPLES:
            self.boxes.append(used)
        return [values[0], *(bounding_box(used[::2], used[1::2]) if is_polygon else used)]

    def _label(self, row: list[float], file: str, line: int) -> Label:
        stated = int(row[0])
        low, high = self.ids or (stated, stated)
        self.ids = (min(low, stated), max(high, stated))
        class_id = stated - self.first_class
        is_known = 0 <= class_id < len(self.names)
        first, last = self.first_class, self.first_class + len(self.names) - 1
        name = self.names[class_id] if is_known else f"{stated}, but the ids are {first} to {last}"
        return Label(file, name, class_id if is_known else None, (row[1], row[2], row[3], row[4]), line=line)


class _Fault(NamedTuple):
    """Why a row is no label, and what to do."""

    kind: str
    hint: str


def _diagnose_words(words: Sequence[str], names: Sequence[str]) -> _Fault:
    if any("," in word or ";" in word for word in words):
        return _Fault("row with commas", "separate the values by spaces")
    numbers = [_is_number(word) for word in words]
    if len(words) >= 9 and all(numbers[:8]) and not numbers[8]:
        return _Fault("row of DOTA", "corners and a class name; convert it to " + ROW)
    if len(words) >= 15 and not numbers[0] and all(numbers[1:]):
        return _Fault("row of KITTI", "a class name and pixels; convert it to " + ROW)
    split = next((i for i, is_number in enumerate(numbers) if is_number), len(words))
    name = " ".join(words[:split])
    if split and len(words) - split >= BOX_VALUES and all(numbers[split:]):
        known = [index for index, other in enumerate(names) if other.casefold() == name.casefold()]
        return _Fault("class name in row", f"write {known[0] if known else 'its number'} instead of {name}")
    return _Fault("broken row", f"expected {ROW}")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _diagnose_length(count: int, kpt_shape: tuple[int, int] | None, has_unknown_keypoints: bool) -> _Fault | None:
    """Check how many values follow the class."""
    if count == BOX_VALUES:
        return None
    if kpt_shape is not None:
        wanted = BOX_VALUES + kpt_shape[0] * kpt_shape[1]
        return None if count == wanted else _Fault("broken row", f"with this kpt_shape a row has {wanted + 1} values")
    if count == BOX_VALUES + 1:
        return _Fault("row of six values", f"remove what is not in {ROW}, such as a score or an angle")
    if has_unknown_keypoints or (count > BOX_VALUES and count % 2):
        return _Fault("keypoints without kpt_shape", _shape_hint(count))
    if count < BOX_VALUES:
        return _Fault("broken row", f"expected {ROW}")
    return None


def _shape_hint(count: int) -> str:
    shapes = [f"[{(count - BOX_VALUES) // size}, {size}]" for size in (2, 3) if (count - BOX_VALUES) % size == 0]
    return f"add kpt_shape: {' or '.join(shapes)} to the YAML file" if shapes else f"expected {ROW}"


def look_like_keypoints(rows: Sequence[Sequence[float]]) -> bool:
    """Decide whether rows longer than a box are boxes with keypoints rather than polygons.

    They all have one length, and either the third value of each keypoint is a visibility (0, 1 or 2), or in most rows
    the points lie in the box of the first four values, whose size is no point among them, or in most rows the line
    through the points crosses itself. Four corners may be in any order.

    Example:
        >>> look_like_keypoints([[0.5, 0.5, 0.2, 0.2, 0.45, 0.55, 2, 0, 0, 0]])
        True
        >>> look_like_keypoints([[0.1, 0.1, 0.2, 0.1, 0.2, 0.2], [0.5, 0.5, 0.6, 0.5, 0.6, 0.7]])
        False
    """
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        return False
    (length,) = lengths
    rest = length - BOX_VALUES
    if rest % 3 == 0 and rest > 0 and all(value in (0, 1, 2) for row in rows for value in row[6::3]):
        return True
    if rest % 2 or len(rows) < 2:
        return False
    is_most = len(rows) / 2
    if sum(map(_lies_in_own_box, rows)) > is_most:
        return True
    return length != 2 * BOX_VALUES and sum(map(_crosses_itself, rows)) > is_most


def _lies_in_own_box(row: Sequence[float]) -> bool:
    cx, cy, w, h = row[:BOX_VALUES]
    points = [point for point in zip(row[4::2], row[5::2], strict=True) if point != (0, 0)]
    axes = list(zip(*points, (cx, cy), strict=True))
    lows, highs = [min(axis) for axis in axes], [max(axis) for axis in axes]
    reach = max(high - low for low, high in zip(lows, highs, strict=True)) + 0.01
    is_point = all(low - reach <= z <= high + reach for z, low, high in zip((w, h), lows, highs, strict=True))
    return not is_point and all(abs(x - cx) <= w / 2 + 0.01 and abs(y - cy) <= h / 2 + 0.01 for x, y in points)


def _crosses_itself(row: Sequence[float]) -> bool:
    points = list(zip(row[::2], row[1::2], strict=True))
    edges = list(zip(points, points[1:] + points[:1], strict=True))
    return any(
        _cross(*edges[i], *edges[j])
        for i in range(len(edges))
        for j in range(i + 2, len(edges))
        if not (i == 0 and j == len(edges) - 1)
    )


def _cross(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float], d: tuple[float, float]) -> bool:
    """Check whether the segments ab and cd have a point in common, other than by lying on one line."""

    def side(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def look_like_corners(boxes: Sequence[Sequence[float]]) -> bool:
    """Decide whether boxes are left, top, right, bottom: each ordered so, and some beyond the image if read otherwise.

    Example:
        >>> look_like_corners([[0.1, 0.2, 0.4, 0.9], [0.5, 0.5, 0.8, 0.7]])
        True
        >>> look_like_corners([[0.1, 0.2, 0.4, 0.9], [0.5, 0.5, 0.1, 0.1]])
        False
    """
    is_ordered = all(left < right <= 1.01 and top < bottom <= 1.01 for left, top, right, bottom in boxes)
    return len(boxes) > 1 and is_ordered and _outside(boxes) > len(boxes) / 4


def look_like_upper_left(boxes: Sequence[Sequence[float]]) -> bool:
    """Decide whether boxes are left, top, width, height: all within the image so, and some beyond it if not.

    Example:
        >>> look_like_upper_left([[0.1, 0.2, 0.4, 0.7], [0.5, 0.5, 0.5, 0.4]])
        True
        >>> look_like_upper_left([[0.3, 0.6, 0.4, 0.7], [0.7, 0.7, 0.5, 0.4]])
        False
    """
    is_within = all(left + w <= 1.01 and top + h <= 1.01 for left, top, w, h in boxes)
    least = len(boxes) / (4 if len(boxes) < MANY else 50)  # of small objects few are so near the edge
    # As many objects are near the right and lower edges; labels that careless people drew beyond the left are not.
    at_end = sum(left + 1.5 * w > 1 or top + 1.5 * h > 1 for left, top, w, h in boxes)
    return len(boxes) > 1 and is_within and _outside(boxes) > least and 4 * at_end >= _outside(boxes)


def _outside(boxes: Sequence[Sequence[float]]) -> int:
    """How many boxes leave the image if they are read as centre and size."""
    return sum(
        cx + w / 2 > 1.01 or cy + h / 2 > 1.01 or cx < w / 2 - 0.01 or cy < h / 2 - 0.01 for cx, cy, w, h in boxes
    )
