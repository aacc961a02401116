"""A labelled image, and a data set made of them, whatever file format it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ImageSource(Protocol):
    """Something that yields one image: a file, or a scene drawn on the fly."""

    @property
    def name(self) -> str:
        """A path or another name that is unique in the data set."""

    def read(self) -> NDArray[np.uint8]:
        """Return the image as (H, W, 3) uint8 RGB, upright.

        Raises:
            RegardError: the image cannot be read.
        """


@dataclass(frozen=True)
class Sample:
    """One image and its labelled boxes.

    Attributes:
        image: where the pixels come from.
        boxes_cxcywh: (N, 4) float64, centre and size as fractions of the upright image.
        class_ids: (N,) int64.
        image_id: the id in a COCO file; of YOLO labels the file's number where all have one; else the position in
            the split.
        areas: (N,) float64, object area in pixels where the labels give one (COCO), else None.
        crowd: (N,) bool where the labels mark crowds (COCO ``iscrowd``), else None. Training leaves crowds out.
        labelled_size: (height, width) in pixels that the label file gives for the image (COCO, VOC), else None.
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
    """Something wrong with a data set, and what is done about it.

    Attributes:
        kind: a short fixed name, such as "zero-area box".
        place: the file, and the line or object in it.
        found: what was found.
        done: what the loader does about it, such as "box dropped".
    """

    kind: str
    place: str
    found: str
    done: str


@dataclass(frozen=True)
class DetectionDataset:
    """A detection data set.

    Attributes:
        names: class names, by class id.
        splits: "train", "val", "test" (those that exist) to their records.
        format: "yolo", "coco", "voc" or "synthetic".
        source: what the user named.
        problems: what was wrong with the labels; images are opened only by ``data.check``.
        category_ids: the ids that the classes have in a COCO file, else None.
    """

    names: tuple[str, ...]
    splits: Mapping[str, tuple[Sample, ...]]
    format: str
    source: str
    problems: tuple[Problem, ...] = ()
    category_ids: tuple[int, ...] | None = None
