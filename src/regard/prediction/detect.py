"""Prediction: frames through the letterbox, the network and suppression, back to pixels of the original."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.ahead import ahead, map_ahead
from regard.config import PREDICT, DetectSettings, PredictSettings, require_positive
from regard.data.letterbox import letterbox_rect
from regard.finder import Finder, ParallelFinder, as_finder, to_detections
from regard.geometry.nms import suppress
from regard.prediction.sources import Frame, Source, frames, is_single_image
from regard.types import Detections, LetterboxTransform

if TYPE_CHECKING:
    from regard.backend import Backend

DEFAULT = PredictSettings()

_Placed: TypeAlias = tuple[Frame, NDArray[np.uint8], LetterboxTransform]


def predict(
    backend: Backend | Finder,
    source: Source,
    *,
    imgsz: int = DEFAULT.imgsz,
    settings: DetectSettings = PREDICT,
    batch: int = DEFAULT.batch,
) -> Detections | list[Detections]:
    """Return what the detector finds: `Detections` for one picture, a list for a folder, pattern, video or sequence.

    Args:
        backend: the detector; a module is asked in evaluation mode and left as it was.
        source: see `Source`; an array is RGB, (H, W, 3) uint8.
        imgsz: the long side is brought to this many pixels, and both sides padded to multiples of the stride.
        settings: thresholds and limits.
        batch: at most this many pictures of equal input size go through the network at once.

    Raises:
        RegardError: the source does not exist or cannot be read, or a size below 1.
    """
    stream = predict_iter(backend, source, imgsz=imgsz, settings=settings, batch=batch)
    found = [detections for _, detections in stream]
    return found[0] if is_single_image(source) else found


def predict_iter(
    backend: Backend | Finder,
    source: Source,
    *,
    imgsz: int = DEFAULT.imgsz,
    settings: DetectSettings = PREDICT,
    batch: int = DEFAULT.batch,
) -> Iterator[tuple[Frame, Detections]]:
    """Yield each frame, in order, with what was found in it; see `predict`.

    The next frames are read while the detector is at work, and a `ParallelFinder` looks at several at once; a few, and
    no more, are held in memory.
    """
    require_positive(imgsz=imgsz, batch=batch)
    finder, at_once = as_finder(backend), 1
    if isinstance(finder, ParallelFinder) and not _is_one_picture(source):
        finder, at_once = finder.side_by_side()
    placed = ahead(_place(frame, imgsz, finder.max_stride) for frame in frames(source))
    find, groups = partial(_find, finder, settings), _equal_sized(placed, batch)
    for found in map(find, groups) if at_once == 1 else map_ahead(find, groups, at_once):
        yield from found


def _is_one_picture(source: Source) -> bool:
    if isinstance(source, (str, Path, np.ndarray)):
        return is_single_image(source)
    return len(source) == 1 and is_single_image(source[0])


def _find(finder: Finder, settings: DetectSettings, group: Sequence[_Placed]) -> list[tuple[Frame, Detections]]:
    found = finder.rows(_planes([image for _, image, _ in group]), settings.conf)
    return [
        (frame, to_detections(suppress(rows, settings), placement, finder.names, frame.source))
        for (frame, _, placement), rows in zip(group, found, strict=True)
    ]


def _planes(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return (H, W, 3) images of one size as (B, 3, H, W)."""
    planes = np.empty((len(images), 3, *images[0].shape[:2]), np.uint8)
    for own, image in zip(planes, images, strict=True):
        cv2.split(image, list(own))  # writes in place, ten times as fast as a transposed copy
    return planes


def _place(frame: Frame, imgsz: int, stride: int) -> _Placed:
    image, placement = letterbox_rect(frame.image, imgsz, stride)
    return frame, image, placement


def _equal_sized(stream: Iterable[_Placed], batch: int) -> Iterator[list[_Placed]]:
    """Cut a stream, in its order, into runs of at most ``batch`` inputs of one size."""
    for _, run in itertools.groupby(stream, key=lambda placed: placed[1].shape):
        while group := list(itertools.islice(run, batch)):
            yield group
