"""AP with weights for images, for a bootstrap over images, without matching detections again.

Detections are matched with labels once, as COCO does; the AP of a weighted set of images is then a matter of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Sample
from regard.evaluation.coco import pixel_boxes
from regard.evaluation.matching import match, overlaps
from regard.types import Detections

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST = 100
"""Detections of a class that count in an image."""
CELLS = 2**22
"""Weights that are held at once."""


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class in all images, best score first.

    Attributes:
        images: (D,) int64, the image that each lies in.
        right: (10, D) bool, whether it takes a labelled box, for each IoU threshold.
        ignored: (10, D) bool, whether it lies in a crowd.
        labels: (images,) int64, labelled boxes that are no crowds.
    """

    images: NDArray[np.int64]
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    labels: NDArray[np.int64]


def match_classes(detections: Sequence[Detections], records: Sequence[Sample], classes: int) -> list[ClassMatches]:
    """Match the detections of each record's image with its labels, class by class."""
    return [_class_matches(detections, records, class_id) for class_id in range(classes)]


def weighted_ap(
    matches: Sequence[ClassMatches], weights: NDArray[np.int64], ious: slice = slice(None)
) -> NDArray[np.float64]:
    """Compute AP for each row of weights, (B,); NaN if no image with a label has a weight.

    Args:
        matches: of every class.
        weights: (B, images), how often each image counts.
        ious: which of the thresholds 0.50, 0.55 ... 0.95; ``slice(1)`` gives AP50.
    """
    by_class = np.stack([_class_ap(own, weights, ious) for own in matches])
    known = ~np.isnan(by_class)
    count = known.sum(axis=0)
    return np.where(known, by_class, 0).sum(axis=0) / np.where(count, count, np.nan)


def _class_ap(own: ClassMatches, weights: NDArray[np.int64], ious: slice) -> NDArray[np.float64]:
    rows = max(CELLS // max(len(own.images), 1), 1)
    parts = [_rows_ap(own, weights[i : i + rows], ious) for i in range(0, len(weights), rows)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _rows_ap(own: ClassMatches, weights: NDArray[np.int64], ious: slice) -> NDArray[np.float64]:
    labels = weights @ own.labels
    each = weights[:, own.images]
    counted = np.cumsum(each, axis=1)
    total = np.zeros(len(weights))
    right, ignored = own.right[ious], own.ignored[ious]
    for is_right, is_ignored in zip(right, ignored, strict=True):
        places = np.flatnonzero(is_right)
        found = np.cumsum(each[:, places], axis=1)
        kept = np.cumsum(each * ~is_ignored, axis=1) if is_ignored.any() else counted
        precision = found / np.maximum(kept[:, places], 1)  # falls between the right ones: only they can be greatest
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = found / np.maximum(labels, 1)[:, None]
        reached = np.searchsorted(RECALLS, recall, side="right")
        total += (best * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return np.where(labels > 0, total / len(right), np.nan)


def _class_matches(detections: Sequence[Detections], records: Sequence[Sample], class_id: int) -> ClassMatches:
    scores, images, right, ignored = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)], [], []
    labels = np.zeros(len(records), dtype=np.int64)
    for index, (image, record) in enumerate(zip(detections, records, strict=True)):
        found = np.flatnonzero(image.class_ids == class_id)
        found = found[np.argsort(-image.scores[found], kind="stable")][:MOST]
        labelled = record.class_ids == class_id
        crowd = np.zeros(int(labelled.sum()), dtype=bool) if record.crowd is None else record.crowd[labelled]
        labels[index] = (~crowd).sum()
        boxes = pixel_boxes(record, image.image_size)[labelled]
        taken = match(overlaps(image.boxes_xyxy[found].astype(np.float64), boxes, crowd), crowd, IOUS)
        in_crowd = (taken >= 0) & np.append(crowd, False)[taken]  # -1 reads the value appended
        scores.append(image.scores[found])
        images.append(np.full(len(found), index))
        right.append((taken >= 0) & ~in_crowd)
        ignored.append(in_crowd)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    none = np.zeros((len(IOUS), 0), dtype=bool)
    return ClassMatches(
        images=np.concatenate(images)[order],
        right=np.concatenate([none, *right], axis=1)[:, order],
        ignored=np.concatenate([none, *ignored], axis=1)[:, order],
        labels=labels,
    )
