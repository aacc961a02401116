"""How far an exported file is from PyTorch: the largest difference of any number, on an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.data.letterbox import letterbox
from regard.exporting.runtime import ExportedDetector
from regard.exporting.suppression import SuppressedDetector, select_boxes
from regard.graph.detector import Detector
from regard.types import Predictions


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
            more (rounding grows with the cell, however near to 0 the centre lies); of a probability, as it is.
        detections: how many boxes PyTorch keeps of the file's predictions; None where no suppression is inside.
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

    def within(self, tolerance: float) -> bool:
        """Return whether no relative difference is above ``tolerance``; NaN is."""
        return self.relative <= tolerance and self.detections_relative <= tolerance


def example(image: NDArray[np.uint8], batch: int, height: int, width: int) -> Tensor:
    """Return a batch (batch, 3, height, width) of an RGB image in 0..1, every second one mirrored."""
    placed, _ = letterbox(image, (height, width))
    upright = torch.from_numpy(placed).permute(2, 0, 1).float() / 255
    return torch.stack([upright.flip(2) if i % 2 else upright for i in range(batch)])


def compare(detector: Detector, exported: ExportedDetector, images: Tensor) -> Deviation:
    """Run both on images (B, 3, H, W) and measure their difference.

    Args:
        detector: in evaluation mode, on the CPU, in float32.
        exported: what was made of it.
        images: RGB in 0..1.
    """
    with torch.no_grad():
        expected = detector(images)
    *detections, boxes, scores = exported.run(images, exported.header.outputs)
    found = Predictions(boxes, scores)
    batch, _, height, width = images.shape
    if [x.shape for x in found] != [x.shape for x in expected]:
        return Deviation(batch, height, width, math.inf, math.inf, math.inf)
    settings = exported.header.nms
    count, relative = None, 0.0
    if settings is not None:
        # From the file's own predictions, since rounding may lift a box over a threshold.
        suppressed = SuppressedDetector(detector, settings, select_boxes).suppress(found)
        count, relative = len(suppressed), _compare_detections(detections[0], suppressed, exported.max_stride)
    return Deviation(
        batch,
        height,
        width,
        pixels=float((found.boxes - expected.boxes).abs().max()),
        probability=float((found.scores - expected.scores).abs().max()),
        relative=prediction_difference(found, expected, exported.max_stride),
        detections=count,
        detections_relative=relative,
    )


def prediction_difference(found: Predictions, expected: Predictions, stride: int) -> float:
    """Measure the largest relative difference of two predictions; see `Deviation.relative`."""
    rows = relative_difference(torch.cat(found, dim=-1), torch.cat(expected, dim=-1), slice(0, 4), stride)
    return float(np.max(rows.numpy()))  # NaN where one is


def relative_difference(found: Tensor, expected: Tensor, pixels: slice, stride: int) -> Tensor:
    """Return differences of the same shape; the columns ``pixels`` hold numbers in pixels."""
    difference = (found - expected).abs()
    difference[..., pixels] /= expected[..., pixels].abs().clamp(min=stride)
    return difference


def _compare_detections(found: Tensor, expected: Tensor, stride: int) -> float:
    """Return the largest relative difference of detections (M, 7), infinite where one side has more.

    Each is held against the nearest of the other side, as equal scores may come in any order.
    """
    if len(found) != len(expected):
        return math.inf
    if not len(expected):
        return 0.0
    distances = relative_difference(found[:, None], expected[None], slice(1, 5), stride).amax(2)  # (found, expected)
    return float(torch.maximum(distances.amin(0).max(), distances.amin(1).max()))
