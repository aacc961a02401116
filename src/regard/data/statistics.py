"""How often each class occurs in a data set, how large its objects are, and how many an image contains."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import DetectionDataset, Problem

SIDES = (0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0)
"""Edges of the classes of sizes: sides of a square of the box's area, as fractions of such a side of the image."""

COUNTS = (0, 1, 2, 3, 5, 9, 17, 33)
"""Least number of objects of each class of images."""

WHERE = re.compile(r"(, object \d+| in \w+)$")
"""What follows the name of a file in the place of a problem."""


@dataclass(frozen=True)
class Histogram:
    """Counts of each split by bin; ``labels`` name the bins."""

    labels: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class DataStatistics:
    """A data set in numbers, for each split.

    Attributes:
        images: number of images.
        classes: boxes of each class.
        sizes: boxes by the side of a square of their area, in percent of such a side of the image.
        objects: images by the number of their boxes.
    """

    images: dict[str, int]
    classes: Histogram
    sizes: Histogram
    objects: Histogram


def statistics(data: DetectionDataset) -> DataStatistics:
    """Count the objects of a data set by class and size, and its images by their number; no image is opened.

    Example:
        >>> from regard.data.formats import load_data
        >>> found = statistics(load_data("synthetic:local?train=3&val=2&test=0"))
        >>> found.images, sum(found.classes.counts["val"]) == sum(found.sizes.counts["val"])
        ({'train': 3, 'val': 2}, True)
    """
    images = {split: len(samples) for split, samples in data.splits.items()}
    classes: dict[str, tuple[int, ...]] = {}
    sizes: dict[str, tuple[int, ...]] = {}
    objects: dict[str, tuple[int, ...]] = {}
    for split, samples in data.splits.items():
        ids = np.concatenate([np.zeros(0, np.int64), *(sample.class_ids for sample in samples)])
        boxes = np.concatenate([np.zeros((0, 4)), *(sample.boxes_cxcywh for sample in samples)])
        numbers = np.array([len(sample.class_ids) for sample in samples], np.int64)
        classes[split] = tuple(np.bincount(ids, minlength=len(data.names)).tolist())
        sizes[split] = _binned(np.sqrt(boxes[:, 2] * boxes[:, 3]), SIDES[:-1])
        objects[split] = _binned(numbers, COUNTS)
    percents = [f"{100 * low:g}–{100 * high:g} %" for low, high in pairwise(SIDES)]
    lasts = [high - 1 for high in COUNTS[1:]]
    numbers_text = [str(low) if low == last else f"{low}–{last}" for low, last in zip(COUNTS, lasts, strict=False)]
    return DataStatistics(
        images,
        Histogram(tuple(data.names), classes),
        Histogram(tuple(percents), sizes),
        Histogram((*numbers_text, f"{COUNTS[-1]} or more"), objects),
    )


def _binned(values: NDArray[np.float64] | NDArray[np.int64], lows: Iterable[float]) -> tuple[int, ...]:
    """Count values by the last of ``lows`` that they reach."""
    edges = np.array([*lows, np.inf])
    return tuple(np.histogram(values, edges)[0].tolist())


def images_of(problems: Iterable[Problem], data: DetectionDataset) -> list[tuple[str, int] | None]:
    """Find the image of each problem, as its split and its index there; None for problems of something else.

    A problem of a label file is of the image of the same name; of several, the one in a folder of the same name.
    """
    names: dict[str, tuple[str, int]] = {}
    stems: dict[str, dict[str, tuple[str, int]]] = {}
    for split, samples in data.splits.items():
        for i, sample in enumerate(samples):
            if sample.image.name not in names:
                names[sample.image.name] = split, i
                stems.setdefault(Path(sample.image.name).stem, {})[sample.image.name] = split, i
    return [_image_of(WHERE.sub("", problem.place), names, stems) for problem in problems]


def _image_of(
    place: str, names: dict[str, tuple[str, int]], stems: dict[str, dict[str, tuple[str, int]]]
) -> tuple[str, int] | None:
    alike = stems.get(Path(place).stem, {})
    if place in names:
        return names[place]
    if len(alike) > 1:
        folder = Path(place).parent.parts[::-1]
        same = {name: _common(folder, Path(name).parent.parts[::-1]) for name in alike}
        alike = {name: alike[name] for name in alike if same[name] and same[name] == max(same.values())}
    return next(iter(alike.values())) if len(alike) == 1 else None


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Number of equal folders, from the innermost."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
