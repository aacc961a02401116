"""What prediction and evaluation ask of whatever finds: boxes and class scores for 8-bit images. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from regard.data.letterbox import restore_boxes
from regard.types import Detections, LetterboxTransform

if TYPE_CHECKING:
    from regard.backend import Backend


@runtime_checkable
class Finder(Protocol):
    """A detector that is ready to be asked, whatever computes it."""

    @property
    def names(self) -> Mapping[int, str]:
        """Class names, by class index."""

    @property
    def max_stride(self) -> int:
        """The number that the sides of the input must be multiples of, in pixels."""

    def rows(self, images: NDArray[np.uint8], conf: float) -> list[NDArray[np.float32]]:
        """Find for each of (B, 3, H, W) RGB images the boxes of which some class scores above ``conf``.

        A row of (n, 4 + nc) holds centre x, centre y, width and height in input pixels, and the class scores.
        """


@runtime_checkable
class ParallelFinder(Finder, Protocol):
    """A finder that gets through many pictures sooner when it looks at several at the same time."""

    def side_by_side(self) -> tuple[Finder, int]:
        """Return a finder whose ``rows`` may be asked by several threads at once, and how many threads that should be.

        Its answers are the same to rounding. With one thread it is to be asked by one at a time.
        """


def as_finder(detector: Backend | Finder) -> Finder:
    """Return what was given, or a module or exported file wrapped as a finder."""
    if isinstance(detector, Finder):
        return detector
    from regard.backend import BackendFinder

    return BackendFinder(detector)


def to_detections(
    rows: NDArray[np.float32], placement: LetterboxTransform, names: Mapping[int, str], source: str
) -> Detections:
    """Return suppressed rows (n, 6), in input pixels, as detections in pixels of the original image."""
    return Detections(
        boxes_xyxy=restore_boxes(rows[:, :4], placement).astype(np.float32),
        scores=rows[:, 4],
        class_ids=rows[:, 5].astype(np.int64),
        names=names,
        image_size=placement.image_size,
        source=source,
    )
