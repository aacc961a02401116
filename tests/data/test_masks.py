from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core import mask as reference

from regard.data.formats.masks import mask_box


def _lengths(mask: np.ndarray[Any, np.dtype[np.uint8]]) -> list[int]:
    """Runs column by column, beginning with those outside, which may be none."""
    lengths, inside = [0], 0
    for pixel in mask.T.flatten().tolist():
        if pixel != inside:
            lengths.append(0)
            inside = pixel
        lengths[-1] += 1
    return lengths


@pytest.mark.parametrize("density", [0.01, 0.5, 0.98])
def test_both_forms_give_the_box_of_the_pixels(density: float) -> None:
    random = np.random.default_rng(7)
    for _ in range(50):
        height, width = (int(side) for side in random.integers(1, 47, 2))
        mask = (random.random((height, width)) < density).astype(np.uint8)
        mask[random.integers(height), random.integers(width)] = 1
        ys, xs = np.nonzero(mask)
        sides = (xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min())
        expected = (xs.min() + sides[0] / 2, ys.min() + sides[1] / 2, *sides)
        compressed = reference.encode(np.asfortranarray(mask))["counts"]
        text = compressed.decode() if isinstance(compressed, bytes) else compressed
        for counts in (_lengths(mask), text):
            assert mask_box({"size": [height, width], "counts": counts}, (height, width)) == expected


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"size": [5, 7], "counts": [6, 2]}, "add up to 8, expected 35"),
        ({"size": [5, 7], "counts": [36, -1]}, "not negative"),
        ({"size": [5, 7], "counts": [35]}, "without pixels"),
        ({"size": [5, 7], "counts": "623Od"}, "within a number"),
        ({"size": [5, 7], "counts": "6é"}, "damaged after 1"),
        ({"size": [5, 7], "counts": "P" * 1000}, "damaged after 0"),
        ({"size": [5, 7], "counts": None}, "lengths None"),
        ({"size": [5], "counts": [5]}, "size"),
        ({"size": [7, 5], "counts": [6, 2, 27]}, "another size"),
        ({}, "size None"),
    ],
    ids=str,
)
def test_damaged_masks(mask: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mask_box(mask, (5, 7))
