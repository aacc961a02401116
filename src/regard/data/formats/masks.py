"""Boxes of COCO's run-length masks.

A mask lists the lengths of alternating runs of pixels outside and inside of the object, column by column from the top
left. The compressed form writes each length, from the fourth on its difference from the one before the previous, in
groups of five bits, the lowest first, as characters from "0" on: 32 marks that more groups follow, 16 in the last one a
negative number (https://cocodataset.org/#format-results).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from regard.data.formats.labels import Box, bounding_box

MOST_GROUPS = 12
"""Number of groups of five bits in a number of 60 bits; larger ones are no lengths."""


def mask_box(segmentation: dict[str, Any], image: tuple[int, int] | None = None) -> Box:
    """Enclose the pixels of a mask.

    Args:
        segmentation: ``{"size": [height, width], "counts": lengths}``, with a list or a compressed text.
        image: (height, width) of the image, if known.

    Returns:
        Centre x, centre y, width and height in pixels.

    Raises:
        ValueError: the mask is damaged, empty, or of another size than the image.

    Example:
        >>> mask_box({"size": [5, 7], "counts": [6, 2, 3, 1, 23]})
        (2.0, 2.0, 2.0, 2.0)
        >>> mask_box({"size": [5, 7], "counts": "623Od0"})
        (2.0, 2.0, 2.0, 2.0)
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise ValueError(f"a mask of the size {size!r:.80}, expected [height, width]")
    height, width = size
    if image not in (None, (height, width)):
        raise ValueError(f"a mask of {width} x {height} pixels for an image of another size")
    lengths = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(isinstance(run, int) and run >= 0 for run in lengths):
        raise ValueError(f"a mask with the lengths {lengths!r:.80}, expected numbers that are not negative")
    if sum(lengths) != height * width:
        raise ValueError(f"a mask whose lengths add up to {sum(lengths)}, expected {height * width}")
    return _enclosed(lengths, height)


def _enclosed(lengths: Sequence[int], height: int) -> Box:
    xs: list[float] = []
    ys: list[float] = []
    start = 0
    for index, length in enumerate(lengths):
        end = start + length
        if index % 2 and length:
            (left, top), (right, bottom) = divmod(start, height), divmod(end - 1, height)
            xs += [float(left), right + 1.0]
            ys += [float(top), bottom + 1.0] if left == right else [0.0, float(height)]
        start = end
    if not xs:
        raise ValueError("a mask without pixels")
    return bounding_box(xs, ys)


def _decompressed(text: str) -> list[int]:
    lengths: list[int] = []
    value = groups = 0
    for character in text:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64 or groups == MOST_GROUPS:
            raise ValueError(f"a mask whose text is damaged after {len(lengths)} lengths")
        value |= (bits & 31) << (5 * groups)
        groups += 1
        if not bits & 32:
            value -= (bits & 16) << (5 * groups - 4) if bits & 16 else 0
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = groups = 0
    if groups:
        raise ValueError("a mask whose text ends within a number")
    return lengths
