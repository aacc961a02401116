"""Boxes [left, top, right, bottom] where a format has [left, top, width, height]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regard.data.dataset import Problem
from regard.data.formats.assemble import Entry

SIZED_FORMATS = ("coco", "hugging-face", "visdrone")
"""Formats whose boxes are stated by their upper left corner and their size."""


def corner_problems(form: str, entries: Sequence[Entry], source: str) -> list[Problem]:
    """Report boxes that seem to be stated by two corners; only all boxes of a data set together show it."""
    if form not in SIZED_FORMATS:
        return []
    rows = [
        (cx - w / 2, cy - h / 2, w, h, *(entry.size or (np.inf, np.inf))[::-1], shape.area or np.nan)
        for entry in entries
        for shape in entry.shapes
        for cx, cy, w, h in (shape.box_cxcywh,)
    ]
    if not look_like_corners(rows):
        return []
    found = "boxes seem to be left, top, right, bottom"
    done = "read as left, top, width, height, which they should be"
    return [Problem("corners instead of corner and size", source, found, done, lost=True)]


def look_like_corners(rows: Sequence[Sequence[float]]) -> bool:
    """Decide whether boxes are left, top, right, bottom rather than left, top, width, height.

    As corners they must all be in order and within the image. Besides, more than a quarter must leave the image if they
    are read as sizes, or most of the stated areas must be those between the corners.

    Args:
        rows: for each box its four values, the width and height of its image (infinite if they are not known), and its
            area as stated (NaN if it is not), in pixels.

    Example:
        >>> look_like_corners([[10, 20, 40, 90, 100, 100, np.nan], [50, 50, 80, 70, 100, 100, np.nan]])
        True
        >>> look_like_corners([[10, 20, 40, 90, 100, 120, 2100], [50, 50, 51, 70, 120, 120, np.nan]])
        True
        >>> look_like_corners([[10, 20, 40, 90, 100, 120, 3600], [50, 50, 51, 70, 120, 120, np.nan]])
        False
    """
    if not rows:
        return False
    left, top, third, fourth, width, height, area = np.array(rows, dtype=np.float64).T
    is_ordered = (third > left) & (fourth > top) & (third <= 1.01 * width) & (fourth <= 1.01 * height)
    if not is_ordered.all():
        return False
    outside = (left + third > 1.01 * width + 1) | (top + fourth > 1.01 * height + 1)
    stated = area[np.isfinite(area)]
    between = ((third - left) * (fourth - top))[np.isfinite(area)]
    is_between = np.abs(stated - between) <= 0.01 * between + 0.5
    return bool((len(rows) > 1 and outside.mean() > 0.25) or (len(stated) and is_between.mean() > 0.5))
