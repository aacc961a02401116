"""Deviation of an exported file from PyTorch: the largest difference of any number, on an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from regard.data.letterbox import letterbox
from regard.geometry.boxes import cxcywh_to_xyxy
from regard.geometry.nms import suppress
from regard.runtimes.base import Float32, Session
from regard.types import Predictor

ALL = -1.0
"""A confidence that every box is above."""


@dataclass(frozen=True)
class Deviation:
    """The largest differences between an exported file and PyTorch on one batch.

    Attributes:
        batch: images in the batch.
        height: of the input, in pixels.
        width: of the input, in pixels.
        pixels: largest difference of a box's centre or size, in input pixels.
        probability: largest difference of a class score.
        relative: largest relative difference: of a box, in parts of the number or of the largest stride, whichever is
            more (rounding grows with the cell, however close to 0 the centre is); of a score, as it is.
        detections: number of the file's boxes that NMS keeps; None without NMS inside.
        detections_relative: as ``relative``, between these and those of the file; infinite where their number differs.
    """

    batch: int
    height: int
    width: int
    pixels: float
    probability: float
    relative: float
    detections: int | None = None
    detections_relative: float = 0.0

    @property
    def worst(self) -> float:
        """The largest relative difference."""
        return max(self.relative, self.detections_relative)

    def within(self, tolerance: float) -> bool:
        """Whether no relative difference is above ``tolerance``; NaN is."""
        return self.relative <= tolerance and self.detections_relative <= tolerance


def example_images(image: NDArray[np.uint8], batch: int, height: int, width: int) -> NDArray[np.uint8]:
    """Batch (batch, 3, height, width) of an RGB image, every second one mirrored."""
    placed = letterbox(image, (height, width))[0].transpose(2, 0, 1)
    return np.stack([placed[:, :, ::-1] if i % 2 else placed for i in range(batch)])


def compare(expected: Predictor, found: Predictor, images: NDArray[np.uint8]) -> Deviation:
    """Run both on images (B, 3, H, W) and measure their difference.

    Args:
        expected: the detector in PyTorch.
        found: the opened file; where it has NMS inside, the detections are measured too.
        images: RGB.
    """
    batch, _, height, width = images.shape
    nms = found.nms if isinstance(found, Session) else None
    everything = found.without_nms() if isinstance(found, Session) else found
    theirs, ours = everything.predict(images, ALL), expected.predict(images, ALL)
    if [rows.shape for rows in theirs] != [rows.shape for rows in ours]:
        return Deviation(batch, height, width, math.inf, math.inf, math.inf)
    count, relative = None, 0.0
    if nms is not None:
        # From the file's own boxes, since rounding may lift a score over a threshold.
        outside = [suppress(rows, nms) for rows in theirs]
        inside = [_detections(rows) for rows in found.predict(images, ALL)]
        count = sum(map(len, outside))
        relative = max(map(partial(_compare_detections, stride=expected.max_stride), inside, outside))
    a, b = np.stack(theirs), np.stack(ours)
    difference = np.abs(a - b)
    return Deviation(
        batch,
        height,
        width,
        pixels=float(difference[..., :4].max()),
        probability=float(difference[..., 4:].max()),
        relative=float(_relative(a, b, expected.max_stride).max()),
        detections=count,
        detections_relative=relative,
    )


def _relative(found: Float32, expected: Float32, stride: int) -> Float32:
    """Differences of the same shape; the first four columns are in pixels, the others are used unchanged."""
    difference = np.abs(found - expected)
    difference[..., :4] /= np.maximum(np.abs(expected[..., :4]), stride)
    return difference


def _detections(rows: Float32) -> Float32:
    """Turn (n, 4 + nc), with one score each, into (n, 6): left, top, right, bottom, score, class."""
    boxes, scores = cxcywh_to_xyxy(rows[:, :4]), rows[:, 4:]
    return np.column_stack((boxes, scores.max(axis=1, initial=0), scores.argmax(axis=1))).astype(np.float32)


def _compare_detections(found: Float32, expected: Float32, stride: int) -> float:
    """Largest relative difference of detections (n, 6), infinite where one side has more.

    Each is compared with the nearest of the other side, as equal scores may come in any order.
    """
    if len(found) != len(expected):
        return math.inf
    if not len(expected):
        return 0.0
    distances = _relative(found[:, None], expected[None], stride).max(axis=2)  # (found, expected)
    return float(max(distances.min(axis=0).max(), distances.min(axis=1).max()))
