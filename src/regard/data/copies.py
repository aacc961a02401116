"""Altered copies of images in another split: brighter, greyscale, mirrored, turned by 90 degrees, or slightly cropped.

A difference hash (`regard.data.similar`) misses these. Here small greyscale thumbnails are compared by their normalised
correlation, which brightness and contrast do not change (Lewis, "Fast Normalized Cross-Correlation", 1995): first
coarse ones with all others at once, then the most similar ones finely, at the scales and offsets of a crop. Different
photographs of one scene can be as similar as that, so the images of the best pairs are opened, and must agree in their
details as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Level = TypeVar("Level", bound=np.generic)
Reader = Callable[[int], NDArray[np.uint8]]
"""Reads an image (H, W, 3) uint8 RGB by its index."""

SIDE = 32
"""Pixels of a side of a thumbnail."""
LEAST_CORRELATION = 0.96
"""Correlation of the thumbnails of an image and its altered copy."""
CROPS = (64, 62, 60, 58, 56)
"""Sides of the part of an enlarged thumbnail that a copy may show: crops of up to 12 %."""
DETAILED_SIDE = 96
"""Pixels of a side at which details are compared."""
LEAST_AGREEMENT = 0.88
"""Correlation of the details of an image and its altered copy. On eight data sets it is above 0.92 for copies that are
compressed, blurred, brighter or cropped, and below 0.85 for other photographs of one scene."""

_DETAIL = DETAILED_SIDE / 12
"""Standard deviation of the blur that is subtracted, so that details are left."""
_LEAST_SIDE = 0.84
"""Smallest part of a side that a copy may show."""
_OPENED = 3
"""Pairs that are compared in detail for each image."""
_COARSE = 8
_BLUR = 1.5
"""Standard deviation in pixels of an enlarged thumbnail, so that half a pixel of offset matters little."""
_LEAST_COARSE = 0.6
_LEAST_CONTRAST = 6.0
"""Standard deviation in gray levels below which a thumbnail is a plain surface, which is like all others."""
_CANDIDATES = 8
"""Images, each in one of eight orientations, that are compared finely with each image."""
_ROWS = 256
"""Images that are compared with all others at once, which bounds the memory."""


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a greyscale thumbnail (32, 32) of an image (H, W, 3) uint8 RGB."""
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def altered_copies(
    thumbnails: NDArray[np.uint8], others: NDArray[np.uint8], readers: tuple[Reader, Reader] | None = None
) -> NDArray[np.int64]:
    """Find for each image one of ``others`` of which it is an altered copy.

    Args:
        thumbnails: (N, 32, 32) uint8.
        others: (M, 32, 32) uint8.
        readers: open an image, and one of the others, for the comparison of details; None leaves it out.

    Returns:
        (N,) index of the original, -1 where there is none.

    Example:
        >>> photos = np.random.default_rng(0).integers(0, 200, (3, 8, 8), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
        >>> altered_copies(np.stack([photos[2, :, ::-1] // 2 + 40, 255 - photos[0]]), photos).tolist()
        [2, -1]
    """
    found = np.full(len(thumbnails), -1, dtype=np.int64)
    known = np.flatnonzero(others.std(axis=(1, 2)) >= _LEAST_CONTRAST)
    if not len(known):
        return found
    whole, middle = _coarse(others[known]), _coarse(_middle(others[known]))
    for start in range(0, len(thumbnails), _ROWS):
        turned = _turned(thumbnails[start : start + _ROWS])
        scores = np.concatenate([_scores(view, whole, middle) for view in turned], axis=1)
        count = min(_CANDIDATES, scores.shape[1] - 1)
        for row, best in enumerate(np.argpartition(-scores, count, axis=1)[:, :_CANDIDATES]):
            if turned[0][row].std() < _LEAST_CONTRAST:
                continue
            pairs = []
            for candidate in best[scores[row, best] >= _LEAST_COARSE]:
                turn, other = int(candidate) // len(known), int(known[candidate % len(known)])
                correlation = _correlation(turned[turn][row], others[other])
                if correlation >= LEAST_CORRELATION:
                    pairs.append((correlation, turn, other))
            found[start + row] = _confirmed(start + row, sorted(pairs, reverse=True), readers)
    return found


def _confirmed(index: int, pairs: list[tuple[float, int, int]], readers: tuple[Reader, Reader] | None) -> int:
    """First other image of pairs (correlation, orientation, index) whose details agree; -1 if there is none."""
    if readers is None or not pairs:
        return pairs[0][2] if pairs else -1
    own = _turned(_details(readers[0](index))[None])
    for _, turn, other in pairs[:_OPENED]:
        if _agreement(own[turn][0], _details(readers[1](other))) >= LEAST_AGREEMENT:
            return other
    return -1


def _details(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What is left of an image without its large areas, (96, 96)."""
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (DETAILED_SIDE, DETAILED_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(small - cv2.GaussianBlur(small, (0, 0), _DETAIL), dtype=np.float32)


def _agreement(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Largest correlation of the details of one image with those of a part of the other one."""
    soft = [cv2.GaussianBlur(one, (0, 0), 1.0) for one in (a, b)]
    best = -1.0
    for side in range(DETAILED_SIDE, int(_LEAST_SIDE * DETAILED_SIDE), -1):
        for large, small in ((soft[0], b), (soft[1], a)):
            part = cv2.GaussianBlur(cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA), (0, 0), 1.0)
            best = max(best, float(cv2.matchTemplate(large, part, cv2.TM_CCOEFF_NORMED).max()))
    return best


def _turned(images: NDArray[Level]) -> list[NDArray[Level]]:
    """The images in the eight orientations of a square."""
    turns = [np.rot90(images, count, axes=(1, 2)) for count in range(4)]
    return [view for turn in turns for view in (turn, turn[:, :, ::-1])]


def _coarse(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of areas, (N, 64), without their mean and of length 1."""
    step = SIDE // _COARSE
    areas = images.reshape(len(images), _COARSE, step, _COARSE, step).mean(axis=(2, 4), dtype=np.float32)
    flat = areas.reshape(len(images), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), dtype=np.float32)


def _middle(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle 28 x 28 pixels of thumbnails, enlarged to their size."""
    cut = 2
    size = (SIDE, SIDE)
    return np.stack([cv2.resize(one[cut:-cut, cut:-cut], size, interpolation=cv2.INTER_LINEAR) for one in images])


def _scores(view: NDArray[np.uint8], whole: NDArray[np.float32], middle: NDArray[np.float32]) -> NDArray[np.float32]:
    """Coarse correlation (N, M) of images with others, at the best of three crops."""
    own = _coarse(view)
    return np.maximum(np.maximum(own @ whole.T, own @ middle.T), _coarse(_middle(view)) @ whole.T)


def _correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Largest correlation of one thumbnail with a part of the other one, at half a pixel."""
    fine = [_fine(a), _fine(b)]
    best = -1.0
    for side in CROPS:
        for large, small in (fine, fine[::-1]):
            part = cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA)
            best = max(best, float(cv2.matchTemplate(large, part, cv2.TM_CCOEFF_NORMED).max()))
    return best


def _fine(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    large = cv2.resize(image.astype(np.float32), (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.GaussianBlur(large, (0, 0), _BLUR), dtype=np.float32)
