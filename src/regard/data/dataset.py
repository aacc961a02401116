"""A labelled image and a data set of such images, independent of the file format."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from regard.errors import RegardError, first_names, nearest

SINGLE_CLASS = "item"
"""Name of the one class that ``merge_classes`` makes."""


class NoLabelsError(RegardError):
    """A data set has images, but no labels."""


class ImageSource(Protocol):
    """One image that is read on demand: a file, or a scene that is drawn."""

    @property
    def name(self) -> str:
        """A path, or another name that is unique in the data set."""

    def read(self) -> NDArray[np.uint8]:
        """Decode the image to (H, W, 3) uint8 RGB, upright.

        Raises:
            RegardError: the image cannot be read.
        """


@dataclass(frozen=True)
class Sample:
    """One image and its labelled boxes.

    Attributes:
        image: source of the pixels.
        boxes_cxcywh: (N, 4) float64, centre and size as fractions of the upright image.
        class_ids: (N,) int64.
        image_id: the id in a COCO file; for YOLO labels the number in the file name if every name is a number;
            otherwise the position in the split.
        areas: (N,) float64, object areas in pixels if the labels state them (COCO), else None.
        crowd: (N,) bool, True for boxes around groups of objects (COCO ``iscrowd``), which training ignores; None if
            the format has no such flag.
        labelled_size: (height, width) in pixels as stated in the label file (COCO, VOC), else None.
    """

    image: ImageSource
    boxes_cxcywh: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    image_id: int
    areas: NDArray[np.float64] | None = None
    crowd: NDArray[np.bool_] | None = None
    labelled_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Problem:
    """A defect of a data set and how the loader deals with it.

    Attributes:
        kind: a short fixed name, such as "zero-area box".
        place: the file, and the object in it if it has no lines.
        found: what was found there.
        done: how the loader deals with it, such as "box dropped".
        line: 1-based line in the file.
        lost: whether the data set is read without something that it contains: a box, an image, a label file.
    """

    kind: str
    place: str
    found: str
    done: str
    line: int | None = None
    lost: bool = False

    @property
    def where(self) -> str:
        """The place with its line."""
        return self.place if self.line is None else f"{self.place}:{self.line}"


@dataclass(frozen=True)
class DetectionDataset:
    """A detection data set.

    Attributes:
        names: class names, indexed by class id.
        splits: samples of "train", "val" and "test", as far as these splits exist; only "all" if none is named.
        format: name of the format, such as "yolo", "coco", "voc", "labelme" or "synthetic".
        source: the path or name that the user gave.
        problems: defects of the labels. Images are not opened here; ``regard.data.check`` does that.
        category_ids: COCO ids of the classes, None for other formats.
    """

    names: tuple[str, ...]
    splits: Mapping[str, tuple[Sample, ...]]
    format: str
    source: str
    problems: tuple[Problem, ...] = ()
    category_ids: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        counts = ", ".join(f"{split}: {len(samples)}" for split, samples in self.splits.items())
        return f"DetectionDataset({self.source!r}, {self.format}, {len(self.names)} classes, images {{{counts}}})"

    def map(self, function: Callable[[Sample], Sample]) -> DetectionDataset:
        """Apply ``function`` to every sample of every split."""
        splits = {split: tuple(function(sample) for sample in samples) for split, samples in self.splits.items()}
        return replace(self, splits=splits)


def keep_classes(data: DetectionDataset, classes: Sequence[str]) -> DetectionDataset:
    """Drop the boxes of all classes except ``classes``. Class ids, names and images do not change.

    Args:
        data: the data set.
        classes: class names; a number is taken as a class id unless a class has that name.

    Raises:
        RegardError: the data set has no such class.

    Example:
        >>> from regard.data.formats import load_data
        >>> data = load_data("synthetic:context?train=3&val=0&test=0")
        >>> [len(sample.class_ids) for sample in keep_classes(data, ["odd"]).splits["train"]]
        [1, 1, 1]
    """
    kept = [class_index(name, data.names) for name in classes]
    return data.map(lambda sample: _select(sample, np.isin(sample.class_ids, kept)))


def merge_classes(data: DetectionDataset) -> DetectionDataset:
    """Assign every box to class 0, named "item". A data set with a single class is not changed."""
    if len(data.names) == 1:
        return data
    merged = data.map(lambda sample: replace(sample, class_ids=np.zeros_like(sample.class_ids)))
    return replace(merged, names=(SINGLE_CLASS,), category_ids=None)


MOST_LISTED = 20
"""Classes that an error names."""


def folded_name(name: str) -> str:
    """A class name without differences of spelling: capitals, spaces, hyphens and underscores.

    Example:
        >>> folded_name("Traffic_Light") == folded_name("traffic light")
        True
    """
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def class_index(name: str, names: Sequence[str]) -> int:
    """Find a class by its name, or else by its id written as a decimal number.

    Raises:
        RegardError: no class has this name or id; the nearest name is suggested.

    Example:
        >>> class_index("dog", ["cat", "dog"]), class_index("0", ["cat", "dog"])
        (1, 0)
    """
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    raise RegardError(
        f"unknown class {name!r}",
        expected=f"an index from 0 to {len(names) - 1}, or one of {first_names(names, MOST_LISTED)}",
        hint=nearest(name, names),
    )


def _select(sample: Sample, kept: NDArray[np.bool_]) -> Sample:
    return replace(
        sample,
        boxes_cxcywh=sample.boxes_cxcywh[kept],
        class_ids=sample.class_ids[kept],
        areas=None if sample.areas is None else sample.areas[kept],
        crowd=None if sample.crowd is None else sample.crowd[kept],
    )
