"""Matching of detections with labels by class and IoU threshold, precision and recall, and the confusion of classes.

Detections are matched with labels once, as in COCO. Precision, recall, and the AP of a weighted set of images, as a
bootstrap over images needs it, are sums over the matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Sample
from regard.evaluation.coco import pixel_boxes
from regard.types import Detections

IOU = 0.5
IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST = 100
"""Detections of a class that count in an image."""
CONFUSION_CONFIDENCE = 0.25
CONFIDENCE = np.linspace(0, 1, 1001)
CELLS = 2**22
"""Number of weights in memory at a time."""

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class in all images, best score first.

    Attributes:
        images: (D,) int64, the image that each lies in.
        scores: (D,) float32.
        right: (T, D) bool, whether it takes a labelled box, for each IoU threshold.
        ignored: (T, D) bool, whether it lies in a crowd.
        labels: (images,) int64, labelled boxes that are no crowds.
    """

    images: NDArray[np.int64]
    scores: NDArray[np.float32]
    right: Bool
    ignored: Bool
    labels: NDArray[np.int64]


def overlaps(found_xyxy: Float, labelled_xyxy: Float, crowd: Bool) -> Float:
    """IoU of detections and labelled boxes; with a crowd, the fraction of the detection inside it, as in COCO."""
    low = np.maximum(found_xyxy[:, None, :2], labelled_xyxy[None, :, :2])
    high = np.minimum(found_xyxy[:, None, 2:], labelled_xyxy[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    found_area = np.prod(found_xyxy[:, 2:] - found_xyxy[:, :2], axis=1)[:, None]
    labelled_area = np.prod(labelled_xyxy[:, 2:] - labelled_xyxy[:, :2], axis=1)[None]
    union = np.where(crowd[None], found_area, found_area + labelled_area - common)
    iou: Float = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return iou


def match(iou: Float, crowd: Bool, thresholds: Sequence[float] | Float = (IOU,)) -> NDArray[np.int64]:
    """Assign detections to labelled boxes of their class, as pycocotools does.

    Greedy: each detection takes the free box of greatest overlap, and of several equal ones the last; failing that a
    crowd, which any number of detections may take.

    Args:
        iou: (D, L), a row for each detection, best score first.
        crowd: (L,), which of the labelled boxes are crowds.
        thresholds: (T,), the least IoU of a match.

    Returns:
        (T, D), the index of the labelled box that each detection takes, or -1.

    Example:
        >>> match(np.array([[0.7, 0.7], [0.6, 0.4]]), np.array([False, False]))
        array([[1, 0]])
    """
    least = np.minimum(thresholds, 1 - 1e-10)  # as in pycocotools: an IoU of 1 may be rounded
    levels = np.arange(len(least))
    taken = np.full((len(least), len(iou)), -1, dtype=np.int64)
    free, has_crowd = np.tile(~crowd, (len(least), 1)), crowd.any()
    for i in np.flatnonzero((iou >= least.min()).any(axis=1)):  # most detections overlap nothing
        best, hit = _last_greatest(np.where(free, iou[i], -1.0), least)
        taken[hit, i] = best[hit]
        free[levels[hit], best[hit]] = False
        if has_crowd:
            best, in_crowd = _last_greatest(np.where(crowd, iou[i], -1.0)[None], least)
            taken[in_crowd & ~hit, i] = best[0]
    return taken


def _last_greatest(iou: Float, least: Float) -> tuple[NDArray[np.int64], Bool]:
    """Find the last of the greatest values of each row, (T,), and whether it reaches ``least``, (T,)."""
    best = iou.shape[1] - 1 - iou[:, ::-1].argmax(axis=1)
    return best, iou[np.arange(len(iou)), best] >= least


def match_classes(
    detections: Sequence[Detections],
    records: Sequence[Sample],
    classes: int,
    thresholds: Sequence[float] | Float = IOUS,
    most: int | None = MOST,
) -> list[ClassMatches]:
    """Match the ``most`` best detections of each class in each record's image with its labels, class by class."""
    labels = np.zeros((classes, len(records)), dtype=np.int64)
    parts: list[list[tuple[int, NDArray[np.float32], Bool, Bool]]] = [[] for _ in range(classes)]
    for index, (image, record) in enumerate(zip(detections, records, strict=True)):
        crowd = _crowd(record)
        labels[:, index] = np.bincount(record.class_ids[~crowd], minlength=classes)
        iou = overlaps(image.boxes_xyxy.astype(np.float64), pixel_boxes(record, image.image_size), crowd)
        for class_id in np.unique(image.class_ids):
            found = np.flatnonzero(image.class_ids == class_id)
            found = found[np.argsort(-image.scores[found], kind="stable")][:most]
            labelled = np.flatnonzero(record.class_ids == class_id)
            taken = match(iou[np.ix_(found, labelled)], crowd[labelled], thresholds)
            in_crowd = np.append(crowd[labelled], False)[taken]  # -1 reads the value appended
            parts[class_id].append((index, image.scores[found], (taken >= 0) & ~in_crowd, in_crowd))
    return [_joined(own, counts, len(thresholds)) for own, counts in zip(parts, labels, strict=True)]


def curve(own: ClassMatches) -> tuple[Float, Float, Float]:
    """Precision, recall and F1 of one class at each level of `CONFIDENCE`; NaN without labels."""
    labels = int(own.labels.sum())
    if not labels:
        unknown = np.full(len(CONFIDENCE), np.nan)
        return unknown, unknown, unknown
    counts = ~own.ignored[0]
    found = np.searchsorted(-own.scores[counts], -CONFIDENCE, side="right")
    correct = np.concatenate([[0], np.cumsum(own.right[0][counts])])[found]
    precision = correct / np.maximum(found, 1)
    return precision, correct / labels, 2 * correct / (found + labels)


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


def confusion_matrix(detections: Sequence[Detections], records: Sequence[Sample], classes: int) -> NDArray[np.int64]:
    """Count which labelled class was detected as which, (classes + 1, classes + 1), the last being background.

    Detections that score at least 0.25 and labelled boxes are paired independent of their class, those of largest IoU
    first, down to an IoU of 0.5. What lies in a crowd is left out.
    """
    counts = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    for image, record in zip(detections, records, strict=True):
        crowd, confident = _crowd(record), image.scores >= CONFUSION_CONFIDENCE
        boxes, found_ids = image.boxes_xyxy[confident].astype(np.float64), image.class_ids[confident]
        iou = overlaps(boxes, pixel_boxes(record, image.image_size), crowd)
        found_of = _pair(iou[:, ~crowd])
        labelled_ids = record.class_ids[~crowd]
        for label, found in enumerate(found_of):
            counts[labelled_ids[label], found_ids[found] if found >= 0 else classes] += 1
        alone = np.ones(len(found_ids), dtype=bool)
        alone[found_of[found_of >= 0]] = False
        alone &= ~(iou[:, crowd] >= IOU).any(axis=1)
        counts[classes] += np.bincount(found_ids[alone], minlength=classes + 1)
    return counts


def _pair(iou: Float) -> NDArray[np.int64]:
    """Pair each labelled box with a detection; -1 for none."""
    found_of = np.full(iou.shape[1], -1, dtype=np.int64)
    order = np.argsort(-iou, axis=None, kind="stable")[: int((iou >= IOU).sum())]
    for found, label in zip(*np.unravel_index(order, iou.shape), strict=True):
        if found_of[label] < 0 and found not in found_of:
            found_of[label] = found
    return found_of


def _joined(
    parts: Sequence[tuple[int, NDArray[np.float32], Bool, Bool]], labels: NDArray[np.int64], thresholds: int
) -> ClassMatches:
    """Join the matches of one class in all images, best score first; those of equal scores in the images' order."""
    none = np.zeros((thresholds, 0), dtype=bool)
    scores = np.concatenate([np.zeros(0, np.float32), *(part[1] for part in parts)])
    images = np.concatenate([np.zeros(0, np.int64), *(np.full(len(part[1]), part[0]) for part in parts)])
    order = np.argsort(-scores, kind="stable")
    return ClassMatches(
        images=images[order],
        scores=scores[order],
        right=np.concatenate([none, *(part[2] for part in parts)], axis=1)[:, order],
        ignored=np.concatenate([none, *(part[3] for part in parts)], axis=1)[:, order],
        labels=labels,
    )


def _crowd(record: Sample) -> Bool:
    return np.zeros(len(record.class_ids), dtype=bool) if record.crowd is None else record.crowd
