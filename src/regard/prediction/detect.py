"""Prediction: frames through the letterbox, the network and NMS, back to pixels of the original image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.config import PREDICT, DetectSettings, PredictSettings, require_positive
from regard.data.letterbox import letterbox, letterbox_rect, to_detections
from regard.errors import RegardError
from regard.geometry.nms import nms_for, suppress, warn_of_nms_inside
from regard.prediction.films import Frame
from regard.prediction.live import is_live
from regard.prediction.sources import READING, Reading, Source, frames, is_single_image
from regard.system.prefetch import prefetch, prefetch_map
from regard.types import Detections, LetterboxTransform, Predictor

DEFAULT = PredictSettings()

_Letterboxed: TypeAlias = tuple[Frame, NDArray[np.uint8], LetterboxTransform]


def predict(
    predictor: Predictor,
    source: Source,
    *,
    imgsz: int | tuple[int, int] = DEFAULT.imgsz,
    settings: DetectSettings = PREDICT,
    batch: int = DEFAULT.batch,
    reading: Reading = READING,
) -> Detections | list[Detections]:
    """Detect objects: `Detections` for one image, a list for a folder, pattern, video or sequence.

    Args:
        predictor: such as a detector, which is left in the mode that it was in.
        source: see `Source`; an array is RGB, (H, W, 3) uint8.
        imgsz: the long side is scaled to this many pixels, and both sides padded to multiples of the stride; or
            (height, width), into which every image is fitted and padded, rounded up to multiples of the stride.
        settings: thresholds and limits.
        batch: number of images of equal input size that are processed at once, at most.
        reading: how the source is read.

    Raises:
        RegardError: the source does not exist, has no end or cannot be read, or a size below 1.
    """
    for one in source if isinstance(source, (list, tuple)) else [source]:
        if isinstance(one, (str, int)) and is_live(str(one)):
            what = f"{one!r} has no end, so that its detections never are a list"
            raise RegardError(what, hint="use regard.prediction.predict_iter, or the command regard predict")
    stream = predict_iter(predictor, source, imgsz=imgsz, settings=settings, batch=batch, reading=reading)
    found = [detections for _, detections in stream]
    return found[0] if is_single_image(source) else found


def predict_iter(
    predictor: Predictor,
    source: Source,
    *,
    imgsz: int | tuple[int, int] = DEFAULT.imgsz,
    settings: DetectSettings = PREDICT,
    batch: int = DEFAULT.batch,
    reading: Reading = READING,
) -> Iterator[tuple[Frame, Detections]]:
    """Yield each frame, in order, with its detections; see `predict`.

    The next frames are read while the detector computes, and a predictor that was opened for several images at a time
    gets them; only a few are kept in memory.
    """
    require_positive(imgsz=imgsz if isinstance(imgsz, int) else min(imgsz), batch=batch)
    warn_of_nms_inside(predictor, settings)
    settings = nms_for(predictor, settings)
    imgsz = getattr(predictor, "input_size", None) or imgsz
    place = partial(_letterboxed, imgsz=imgsz, stride=predictor.max_stride)
    place = partial(place, whole_pixels=getattr(predictor, "whole_pixels", False))
    letterboxed = prefetch(map(place, frames(source, reading)))
    detect, groups = partial(_detect, predictor, settings), _equal_sized(letterboxed, batch)
    streams = getattr(predictor, "streams", 1)
    for found in map(detect, groups) if streams == 1 else prefetch_map(detect, groups, streams):
        yield from found


@dataclass(frozen=True)
class Candidates:
    """What a network predicts in one image before NMS, so that thresholds can be changed without running it again.

    Attributes:
        rows: (N, 4 + classes), as `Predictor.predict` returns them.
        transform: how the image was placed on the input.
        names: class names, by class index.
        one_to_one: whether the boxes need no NMS.
    """

    rows: NDArray[np.float32]
    transform: LetterboxTransform
    names: Mapping[int, str]
    one_to_one: bool = False

    def detections(self, settings: DetectSettings = PREDICT) -> Detections:
        """Select detections; ``settings.conf`` should not be below that of `candidates`."""
        settings = settings.model_copy(update={"nms": settings.nms and not self.one_to_one})
        return to_detections(suppress(self.rows, settings), self.transform, self.names, "")


def candidates(predictor: Predictor, image: NDArray[np.uint8], *, imgsz: int, conf: float) -> Candidates:
    """Run a network on one (H, W, 3) uint8 RGB image and keep all boxes with a score above ``conf``.

    Example:
        >>> import regard
        >>> found = candidates(regard.load("odd-one-out"), np.zeros((90, 120, 3), np.uint8), imgsz=128, conf=0.01)
        >>> found.detections().image_size
        (90, 120)
    """
    require_positive(imgsz=imgsz)
    whole = getattr(predictor, "whole_pixels", False)
    boxed, transform = letterbox_rect(image, imgsz, predictor.max_stride, whole_pixels=whole)
    rows = predictor.predict(_planes([boxed]), conf)[0]
    return Candidates(rows, transform, predictor.names, bool(getattr(predictor, "one_to_one", False)))


def _detect(
    predictor: Predictor, settings: DetectSettings, group: Sequence[_Letterboxed]
) -> list[tuple[Frame, Detections]]:
    predictions = predictor.predict(_planes([image for _, image, _ in group]), settings.conf)
    return [
        (frame, to_detections(suppress(found, settings), transform, predictor.names, frame.source, frame.read))
        for (frame, _, transform), found in zip(group, predictions, strict=True)
    ]


def _planes(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Stack (H, W, 3) images of one size as (B, 3, H, W)."""
    planes = np.empty((len(images), 3, *images[0].shape[:2]), np.uint8)
    for own, image in zip(planes, images, strict=True):
        cv2.split(image, list(own))  # writes in place, ten times as fast as a transposed copy
    return planes


def _letterboxed(frame: Frame, imgsz: int | tuple[int, int], stride: int, whole_pixels: bool) -> _Letterboxed:
    if isinstance(imgsz, int):
        return frame, *letterbox_rect(frame.image, imgsz, stride, whole_pixels=whole_pixels)
    height, width = (math.ceil(side / stride) * stride for side in imgsz)
    return frame, *letterbox(frame.image, (height, width), whole_pixels=whole_pixels)


def _equal_sized(stream: Iterable[_Letterboxed], batch: int) -> Iterator[list[_Letterboxed]]:
    """Cut a stream, in its order, into groups of at most ``batch`` inputs of one size."""
    for _, run in itertools.groupby(stream, key=lambda letterboxed: letterboxed[1].shape):
        while group := list(itertools.islice(run, batch)):
            yield group
