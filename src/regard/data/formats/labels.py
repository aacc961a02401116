"""Labels as all formats state them, boxes with a class, and the rules for clipping or dropping wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Problem

ROUNDING = 1e-3
"""A box may extend beyond the image by this fraction, due to rounding, without a report. It is clipped anyway."""

Box = tuple[float, float, float, float]
"""Centre x, centre y, width, height as fractions of the image."""


def bounding_box(xs: Sequence[float], ys: Sequence[float]) -> Box:
    """Centre and size of the box around points.

    Example:
        >>> bounding_box([3, 7, 5], [2, 2, 13])
        (5.0, 7.5, 4, 11)
    """
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)


class Label(NamedTuple):
    """One box as it is written in a label file.

    Attributes:
        place: the file, and the object in it if it has no lines.
        stated_class: the class as written in the file.
        class_id: index into the class names of the data set; None for an unknown class.
        box_cxcywh: centre and size as fractions of the image.
        area: object area in pixels; 0 if the format has none.
        crowd: whether the box encloses a group of objects (COCO ``iscrowd``).
        line: 1-based line in the file.
    """

    place: str
    stated_class: str
    class_id: int | None
    box_cxcywh: Box
    area: float = 0.0
    crowd: bool = False
    line: int | None = None


def clean(labels: Sequence[Label]) -> tuple[list[Label], list[Problem]]:
    """Drop or clip the wrong boxes of one image and report each of them.

    Boxes of unknown classes, without area, of negative size, completely outside the image, and exact duplicates are
    dropped. Boxes partly outside are clipped. All other boxes are passed on bit for bit.

    Example:
        >>> labels = [Label("a.json", "cat", 0, (0.5, 0.5, 0.2, 0.2)), Label("a.json", "cat", 0, (0.5, 0.5, 0, 0.1))]
        >>> kept, problems = clean(labels)
        >>> len(kept), problems[0].kind, problems[0].lost
        (1, 'zero-area box', True)
    """
    kept: list[Label] = []
    problems: list[Problem] = []
    seen: set[tuple[int | None, Box, bool]] = set()
    for label in labels:
        box, problem = _clip_or_drop(label)
        key = (label.class_id, label.box_cxcywh, label.crowd)
        if box is not None and key in seen:
            box, problem = None, _dropped("duplicate box", label, _describe(label), lost=False)
        seen.add(key)
        if box is not None:
            kept.append(label._replace(box_cxcywh=box))
        if problem is not None:
            problems.append(problem)
    return kept, problems


def to_arrays(labels: Sequence[Label]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Stack the boxes (N, 4) and the class ids (N,) of cleaned labels."""
    boxes = np.array([label.box_cxcywh for label in labels], dtype=np.float64).reshape(-1, 4)
    return boxes, np.array([label.class_id for label in labels], dtype=np.int64)


def _clip_or_drop(label: Label) -> tuple[Box | None, Problem | None]:
    """Decide which box to use (None drops it) and which problem to report, if any."""
    cx, cy, w, h = label.box_cxcywh
    if label.class_id is None:
        return None, _dropped("class out of range", label, f"class {label.stated_class}")
    if w < 0 or h < 0:
        found = f"{_describe(label)}: are its corners exchanged?"
        return None, _dropped("box of negative size", label, found)
    if w == 0 or h == 0:
        return None, _dropped("zero-area box", label, _describe(label))
    left, top, right, bottom = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    overhang = max(-left, -top, right - 1, bottom - 1)
    if overhang <= 0:
        return label.box_cxcywh, None
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)
    if left >= right or top >= bottom:
        return None, _dropped("box outside the image", label, _describe(label))
    clipped = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    if overhang <= ROUNDING:
        return clipped, None
    return clipped, Problem("box partly outside the image", label.place, _describe(label), "box clipped", label.line)


def _dropped(kind: str, label: Label, found: str, *, lost: bool = True) -> Problem:
    return Problem(kind, label.place, found, "box dropped", label.line, lost)


def _describe(label: Label) -> str:
    cx, cy, w, h = label.box_cxcywh
    return f"{label.stated_class}: centre ({cx:.4g}, {cy:.4g}), size ({w:.4g}, {h:.4g}) of the image"
