"""Validation images for a data set that names none: a fraction of the others, with near-duplicates kept together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import DetectionDataset, ImageSource, Problem
from regard.data.files import UNDIVIDED
from regard.data.images import read_reduced
from regard.data.similar import fingerprint, similar_pairs
from regard.errors import RegardError
from regard.system.resources import available_cores

HASHED_SIDE = 128
"""JPEG images are decoded at about this many pixels to be compared."""

_ROBOFLOW = re.compile(r"(.+)\.rf\.[0-9a-fA-F]+\.\w+")
"""Names of the copies that Roboflow makes of one original."""


def divide(data: DetectionDataset, fraction: float, seed: int) -> DetectionDataset:
    """Divide the images of a data set without a val split into train and val; other data sets are not changed.

    Images that look alike (frames of a video, augmented copies of one photo) all go to the same side, so val may differ
    from the fraction by part of a group. Every other split stays as it is.

    Args:
        data: the data set.
        fraction: part of the images that val gets, more than 0 and less than 1.
        seed: seed of the random choice.

    Raises:
        RegardError: there are fewer than two images to divide.
    """
    source = UNDIVIDED if UNDIVIDED in data.splits else "train"
    if "val" in data.splits or source not in data.splits:
        return data
    samples = data.splits[source]
    if len(samples) < 2:
        what = f"there are no val images, and {len(samples)} cannot be divided"
        raise RegardError(what, file=data.source, expected="splits train and val")
    groups = _groups([sample.image for sample in samples])
    chosen = _choose(groups, len(samples), fraction, seed)
    train = tuple(sample for index, sample in enumerate(samples) if index not in chosen)
    val = tuple(sample for index, sample in enumerate(samples) if index in chosen)
    rest = {name: other for name, other in data.splits.items() if name != source}
    found = f"no val split is named: {len(val)} of {len(samples)} images are validated on"
    problem = Problem("no split", data.source, found, f"chosen by val_fraction {fraction:g} and split_seed {seed}")
    others = [other for other in data.problems if other.kind != "no split"]
    return replace(data, splits={"train": train, "val": val, **rest}, problems=(*others, problem))


def _groups(images: Sequence[ImageSource]) -> list[NDArray[np.int64]]:
    """Group the indices of images that look alike or are copies of one original; unreadable images look like none."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    with ThreadPoolExecutor(available_cores()) as pool:
        prints = list(pool.map(_fingerprint, images))
    readable = np.array([index for index, one in enumerate(prints) if one is not None], dtype=np.int64)
    similar = [one for one in prints if one is not None]
    pairs = readable[similar_pairs(np.stack(similar))] if similar else np.empty((0, 2), dtype=np.int64)
    firsts: dict[str, int] = {}
    for index, image in enumerate(images):
        copy = _ROBOFLOW.fullmatch(PurePath(image.name).name)
        if copy:
            pairs = np.concatenate([pairs, [[firsts.setdefault(copy[1], index), index]]])
    shape = (len(images), len(images))
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=shape)
    numbers = connected_components(graph, directed=False)[1]
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)


def _fingerprint(image: ImageSource) -> NDArray[np.uint8] | None:
    try:
        return fingerprint(read_reduced(image, HASHED_SIDE))
    except RegardError:
        return None


def _choose(groups: Sequence[NDArray[np.int64]], total: int, fraction: float, seed: int) -> set[int]:
    """Choose whole groups in random order, each if it brings the number of images closer to its goal."""
    goal = max(fraction * total, 1)
    chosen: set[int] = set()
    order = [groups[k] for k in np.random.default_rng(seed).permutation(len(groups))]
    for group in order:
        size = len(chosen) + len(group)
        if size < total and abs(size - goal) < abs(len(chosen) - goal):
            chosen.update(group.tolist())
    if not chosen and len(groups) > 1:  # each group is larger than twice the goal
        chosen.update(min(order, key=len).tolist())
    if not chosen:  # all images look alike, so nothing can be kept apart
        chosen.update(np.random.default_rng(seed).permutation(total)[: min(round(goal), total - 1)].tolist())
    return chosen
