"""Near-duplicate images: the same photo resized, compressed again or slightly changed, found by a difference hash."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MOST_BITS = 5
"""Bits of 64 in which the hashes of two near-duplicates may differ."""
MOST_LEVELS = 4.0
"""Mean difference of their thumbnails, in levels of 255."""
MOST_UNLIKE = 0.3
"""Part of the contrast of their thumbnails, each colour less its mean, by which they may differ: different images of a
dark or plain ground differ by few levels, too, but in other places. It is 1 less the correlation of equally strong
patterns: below 0.1 for compressed and resized copies, below 0.25 for most cropped ones, and 1 for unrelated images."""

_BANDS = ((0, 11), (11, 11), (22, 11), (33, 11), (44, 10), (54, 10))
"""First bit and number of bits: one band more than bits may differ, so near-duplicates agree in at least one."""
_SIDE = 16
_ROUNDING = 0.25
"""Mean squared difference by which plain thumbnails of equal colour may differ."""
_NOISE = 3
"""Gray levels by which an area must be brighter: plain surfaces then have the same hash however they are compressed."""
_INEXACT = 0.05
"""Error of a mean square of differences that is computed from products."""
_PAIRS = 2**14
"""Pairs that are compared at once."""
_ROWS = 1024
"""Images of a bucket that are compared with the rest of it at once, which bounds the memory."""


def fingerprint(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compute a difference hash and a 16 x 16 thumbnail.

    The hash has 64 bits: whether each of 8 x 8 areas is clearly brighter than its left neighbour.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        (776,) uint8, the hash first.
    """
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    areas = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA)
    brighter = areas[:, 1:].astype(np.int16) - areas[:, :-1] > _NOISE
    thumbnail = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.concatenate([np.packbits(brighter), thumbnail.reshape(-1)]).astype(np.uint8)


def similar_pairs(fingerprints: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Find pairs of near-duplicates that connect each group of them.

    Images are compared only within buckets that share a part of the hash. Of images with the same hash that look alike,
    each is paired with the first one only, so many frames of one scene do not take quadratic time.

    Args:
        fingerprints: (N, 776) uint8.

    Returns:
        (P, 2) int64, the smaller index first, sorted.

    Example:
        >>> photo = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8).repeat(13, 0).repeat(17, 1)
        >>> images = [photo, 255 - photo, cv2.resize(photo, (101, 67), interpolation=cv2.INTER_AREA)]
        >>> similar_pairs(np.stack([fingerprint(image) for image in images])).tolist()
        [[0, 2]]
    """
    bits = np.unpackbits(fingerprints[:, :8], axis=1)
    thumbnails = fingerprints[:, 8:].astype(np.int16)
    firsts, found = _same_hash(fingerprints[:, :8], thumbnails)
    for start, width in _BANDS:
        keys = bits[firsts, start : start + width] @ (1 << np.arange(width))
        for bucket in _groups(keys):
            members = firsts[bucket]
            for first in range(0, len(members) if len(members) > 1 else 0, _ROWS):
                left, right = members[first : first + _ROWS], members[first:]
                ones = bits[left].astype(np.float32), bits[right].astype(np.float32)
                differing = ones[0].sum(1)[:, None] + ones[1].sum(1) - 2 * ones[0] @ ones[1].T
                near = differing <= MOST_BITS
                if np.count_nonzero(near) > _PAIRS:  # as of many dark images, which have the same hash
                    near &= _same_pattern(*_patterns(thumbnails[left]), *_patterns(thumbnails[right]))
                a, b = np.nonzero(near)
                pairs = np.stack([left[a], right[b]], axis=1)
                found.append(_alike(pairs[pairs[:, 0] < pairs[:, 1]], thumbnails))
    return np.unique(np.concatenate(found), axis=0)


def _same_hash(
    hashes: NDArray[np.uint8], thumbnails: NDArray[np.int16]
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Pair images of one hash with the first that looks alike; return all such first images, and the pairs."""
    firsts, found = [], [np.empty((0, 2), dtype=np.int64)]
    for bucket in _groups(np.ascontiguousarray(hashes).view(np.uint64).reshape(-1)):
        patterns, contrasts = _patterns(thumbnails[bucket])
        is_free = np.ones(len(bucket), dtype=np.bool_)
        for first, image in enumerate(bucket):
            if not is_free[first]:
                continue
            firsts.append(image)
            one = slice(first, first + 1)
            same = _same_pattern(patterns[one], contrasts[one], patterns[first + 1 :], contrasts[first + 1 :])[0]
            later = first + 1 + np.flatnonzero(same & is_free[first + 1 :])
            pairs = _alike(np.stack([np.full(len(later), image), bucket[later]], axis=1), thumbnails)
            found.append(pairs)
            is_free[np.searchsorted(bucket, pairs[:, 1])] = False
    return np.sort(np.array(firsts, dtype=np.int64)), found


def _groups(keys: NDArray[np.generic]) -> list[NDArray[np.int64]]:
    """Indices of equal keys, in ascending order within each group."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    return np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1) if len(keys) else []


def _alike(pairs: NDArray[np.int64], thumbnails: NDArray[np.int16]) -> NDArray[np.int64]:
    """Those pairs whose thumbnails differ by a few levels, and in their pattern by a part of their contrast."""
    kept = []
    for chunk in np.array_split(pairs, len(pairs) // _PAIRS + 1):
        left, right = thumbnails[chunk[:, 0]], thumbnails[chunk[:, 1]]
        differing, contrast = _patterns(left - right)[1], _patterns(left)[1] + _patterns(right)[1]
        is_same = differing <= np.maximum(MOST_UNLIKE * contrast, _ROUNDING)
        kept.append(is_same & (np.abs(left - right).mean(axis=1) <= MOST_LEVELS))
    return pairs[np.concatenate(kept)]


def _patterns(thumbnails: NDArray[np.int16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Thumbnails (N, 768) without their mean colours, and their contrasts (N,): mean squares of these."""
    levels = thumbnails.reshape(len(thumbnails), _SIDE**2, 3).astype(np.float32)
    patterns = (levels - levels.mean(axis=1, keepdims=True)).reshape(thumbnails.shape)
    return patterns, np.asarray(np.square(patterns).mean(axis=1), dtype=np.float32)


def _same_pattern(
    left: NDArray[np.float32],
    left_contrast: NDArray[np.float32],
    right: NDArray[np.float32],
    right_contrast: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Whether the patterns of each of (N, 768) and each of (M, 768) may be the same, (N, M)."""
    contrast = left_contrast[:, None] + right_contrast
    differing = contrast - left @ right.T * (2 / left.shape[1])
    return np.asarray(differing <= np.maximum(MOST_UNLIKE * contrast, _ROUNDING) + _INEXACT, dtype=np.bool_)


def similar_groups(fingerprints: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number the groups of near-duplicates: images that are connected by pairs have the same number (N,).

    Example:
        >>> similar_groups(np.zeros((3, 776), dtype=np.uint8)).tolist()
        [0, 0, 0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = similar_pairs(fingerprints)
    count = len(fingerprints)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
