"""Prediction: frames through the letterbox, the network and suppression, back to pixels of the original."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from regard.backend import Backend, as_input, inference, to_detections
from regard.config import DetectSettings, require_positive
from regard.data.letterbox import letterbox, rect_size
from regard.nms import suppress
from regard.prediction.sources import Frame, Source, frames, is_single_image
from regard.types import Detections, Placement

PREDICT = DetectSettings()
"""The settings by which YOLOv5 shows what it found."""

_Placed: TypeAlias = tuple[Frame, NDArray[np.uint8], Placement]


def predict(
    backend: Backend,
    source: Source,
    *,
    imgsz: int = 640,
    settings: DetectSettings = PREDICT,
    batch: int = 1,
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
    backend: Backend,
    source: Source,
    *,
    imgsz: int = 640,
    settings: DetectSettings = PREDICT,
    batch: int = 1,
) -> Iterator[tuple[Frame, Detections]]:
    """Yield each frame with what was found in it, keeping no more than one batch in memory; see `predict`."""
    require_positive(imgsz=imgsz, batch=batch)
    stream = (_place(frame, imgsz, backend.max_stride) for frame in frames(source))
    for group in _equal_sized(stream, batch):
        images = torch.from_numpy(np.stack([image for _, image, _ in group])).permute(0, 3, 1, 2).contiguous()
        with inference(backend):
            found = suppress(backend(as_input(images, backend)), settings)
        for (frame, _, placement), rows in zip(group, found, strict=True):
            yield frame, to_detections(rows, placement, backend, frame.source)


def _place(frame: Frame, imgsz: int, stride: int) -> _Placed:
    height, width = frame.image.shape[:2]
    image, placement = letterbox(frame.image, rect_size((height, width), imgsz, stride))
    return frame, image, placement


def _equal_sized(stream: Iterable[_Placed], batch: int) -> Iterator[list[_Placed]]:
    """Cut a stream, in its order, into runs of at most ``batch`` inputs of one size."""
    for _, run in itertools.groupby(stream, key=lambda placed: placed[1].shape):
        while group := list(itertools.islice(run, batch)):
            yield group
