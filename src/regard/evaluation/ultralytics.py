"""Mean average precision as Ultralytics computes it, from the same detections as AP by the COCO protocol.

It differs from COCO in four rules: precision is interpolated linearly between the points of the curve, where COCO takes
the best precision at that or a greater recall; the curve starts at precision 1; all detections of an image count, and
not the best 100 of each class; and crowds are unknown. Precision and recall are those at the score where the mean F1,
smoothed over a tenth of all scores, is largest. The rules are written from a description of measured results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regard.data.dataset import Sample
from regard.evaluation.matching import IOUS, Bool, Float, match_classes
from regard.types import Detections

RECALLS, SCORES = np.linspace(0, 1, 101), np.linspace(0, 1, 1000)
SMOOTHED = 101
"""Number of neighbouring scores that mean F1 is averaged over."""
TINY = 1e-16


@dataclass(frozen=True)
class UltralyticsMetrics:
    """Mean average precision, precision and recall; NaN without labelled boxes.

    Attributes:
        map: mean over IoU 0.50, 0.55 ... 0.95 and over the classes that the data have.
        map50: at IoU 0.5.
        precision: mean over these classes, at IoU 0.5 and ``confidence``.
        recall: likewise.
        confidence: score where the smoothed mean F1 is largest.
        class_map: of each class, by class index.
        class_map50: likewise.
    """

    map: float
    map50: float
    precision: float
    recall: float
    confidence: float
    class_map: tuple[float, ...]
    class_map50: tuple[float, ...]


def ultralytics_metrics(
    detections: Sequence[Detections], records: Sequence[Sample], classes: int
) -> UltralyticsMetrics:
    """Measure detections against labels; arguments as for `regard.evaluation.score`.

    Boxes are compared in pixels of the original image and clipped to it; Ultralytics compares them in those of the
    network's input, unclipped, which changes IoUs by rounding only, except at the borders.
    """
    matches = match_classes(detections, records, classes, IOUS, most=None)
    ap = np.full((classes, len(IOUS)), np.nan)
    at_scores = []
    for i, own in enumerate(matches):
        if labels := int(own.labels.sum()):
            correct = own.right & ~own.ignored
            ap[i] = linear_ap(correct, labels)
            at_scores.append(precision_recall(correct[0], own.scores, labels))
    if not at_scores:
        nan = float("nan")
        return UltralyticsMetrics(nan, nan, nan, nan, nan, (nan,) * classes, (nan,) * classes)
    precision, recall = np.stack(at_scores, axis=1)  # (classes with labels, scores)
    best = int(smooth((2 * precision * recall / (precision + recall + TINY)).mean(axis=0)).argmax())
    return UltralyticsMetrics(
        map=float(np.nanmean(ap)),
        map50=float(np.nanmean(ap[:, 0])),
        precision=float(precision[:, best].mean()),
        recall=float(recall[:, best].mean()),
        confidence=float(SCORES[best]),
        class_map=tuple(ap.mean(axis=1).tolist()),
        class_map50=tuple(ap[:, 0].tolist()),
    )


def linear_ap(correct: Bool, labels: int) -> Float:
    """Area under the curve of precision and recall, linearly interpolated at 101 recalls, for each IoU, (T,).

    Args:
        correct: (T, D), the detections of one class in the order of falling scores.
        labels: labelled boxes of the class, at least 1.

    Example:
        >>> linear_ap(np.array([[True, False, True]]), 2).round(4)
        array([0.8283])
    """
    if not correct.shape[1]:
        return np.zeros(len(correct))
    found = correct.cumsum(axis=1)
    recall, precision = found / (labels + TINY), found / np.arange(1, correct.shape[1] + 1)
    areas = []
    for r, p in zip(recall, precision, strict=True):
        envelope = np.maximum.accumulate(np.concatenate(([1.0], p, [0.0, 0.0]))[::-1])[::-1]
        curve = np.interp(RECALLS, np.concatenate(([0.0], r, [r[-1], 1.0])), envelope)
        areas.append(((curve[1:] + curve[:-1]) / 2 * np.diff(RECALLS)).sum())  # the trapezoidal rule
    return np.array(areas)


def precision_recall(correct: Bool, scores: np.ndarray, labels: int) -> tuple[Float, Float]:
    """Precision and recall of one class at each of `SCORES`, linearly interpolated between its detections.

    Args:
        correct: (D,), in the order of falling ``scores`` (D,).
        scores: of the detections.
        labels: labelled boxes of the class, at least 1.
    """
    if not len(correct):
        return np.zeros(len(SCORES)), np.zeros(len(SCORES))
    found = correct.cumsum()
    precision, recall = found / np.arange(1, len(correct) + 1), found / (labels + TINY)
    falling = -scores.astype(np.float64)
    return np.interp(-SCORES, falling, precision, left=1), np.interp(-SCORES, falling, recall, left=0)


def smooth(values: Float) -> Float:
    """Average each value with its neighbours, `SMOOTHED` in all; beyond the ends the last ones are repeated."""
    padded = np.pad(values, SMOOTHED // 2, mode="edge")
    return np.convolve(padded, np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")
