"""Which detections are right at IoU 0.5: precision and recall against confidence, and the confusion of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Sample
from regard.evaluation.coco import pixel_boxes
from regard.types import Detections

IOU = 0.5
CONFUSION_CONFIDENCE = 0.25
CONFIDENCE = np.linspace(0, 1, 1001)

Float = NDArray[np.float64]


def overlaps(found_xyxy: Float, labelled_xyxy: Float, crowd: NDArray[np.bool_]) -> Float:
    """IoU of detections and labelled boxes; with a crowd, the fraction of the detection inside it, as in COCO."""
    low = np.maximum(found_xyxy[:, None, :2], labelled_xyxy[None, :, :2])
    high = np.minimum(found_xyxy[:, None, 2:], labelled_xyxy[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    found_area = np.prod(found_xyxy[:, 2:] - found_xyxy[:, :2], axis=1)[:, None]
    labelled_area = np.prod(labelled_xyxy[:, 2:] - labelled_xyxy[:, :2], axis=1)[None]
    union = np.where(crowd[None], found_area, found_area + labelled_area - common)
    iou: Float = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return iou


def match(iou: Float, crowd: NDArray[np.bool_], thresholds: Sequence[float] | Float = (IOU,)) -> NDArray[np.int64]:
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


def _last_greatest(iou: Float, least: Float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the last of the greatest values of each row, (T,), and whether it reaches ``least``, (T,)."""
    best = iou.shape[1] - 1 - iou[:, ::-1].argmax(axis=1)
    return best, iou[np.arange(len(iou)), best] >= least


def judge(
    detections: Sequence[Detections], records: Sequence[Sample], classes: int
) -> tuple[list[tuple[NDArray[np.float32], NDArray[np.bool_]]], NDArray[np.int64]]:
    """Find the true positives, class by class, among the 100 best detections of each image.

    Returns:
        For each class the scores of all its detections, greatest first, and whether each is right; those that lie in
        a crowd are left out. And the number of its labelled boxes, (classes,).
    """
    scores: list[list[NDArray[np.float32]]] = [[] for _ in range(classes)]
    right: list[list[NDArray[np.bool_]]] = [[] for _ in range(classes)]
    labels = np.zeros(classes, dtype=np.int64)
    for image, record in zip(detections, records, strict=True):
        crowd = _crowd(record)
        labels += np.bincount(record.class_ids[~crowd], minlength=classes)
        iou = overlaps(image.boxes_xyxy.astype(np.float64), pixel_boxes(record, image.image_size), crowd)
        for class_id in np.unique(image.class_ids):
            found = np.flatnonzero(image.class_ids == class_id)
            found = found[np.argsort(-image.scores[found], kind="stable")][:100]
            labelled = np.flatnonzero(record.class_ids == class_id)
            taken = match(iou[np.ix_(found, labelled)], crowd[labelled])[0]
            is_right = taken >= 0
            counts = ~is_right
            counts[is_right] = ~crowd[labelled[taken[is_right]]]
            scores[class_id].append(image.scores[found][counts])
            right[class_id].append(is_right[counts])
    return [_best_first(s, r) for s, r in zip(scores, right, strict=True)], labels


def curve(scores: NDArray[np.float32], right: NDArray[np.bool_], labels: int) -> tuple[Float, Float, Float]:
    """Precision, recall and F1 of one class at each level of `CONFIDENCE`; NaN without labels."""
    if not labels:
        unknown = np.full(len(CONFIDENCE), np.nan)
        return unknown, unknown, unknown
    found = np.searchsorted(-scores, -CONFIDENCE, side="right")
    correct = np.concatenate([[0], np.cumsum(right)])[found]
    precision = correct / np.maximum(found, 1)
    return precision, correct / labels, 2 * correct / (found + labels)


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


def _best_first(
    scores: list[NDArray[np.float32]], right: list[NDArray[np.bool_]]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    if not scores:
        return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool)
    all_scores, all_right = np.concatenate(scores), np.concatenate(right)
    order = np.argsort(-all_scores, kind="stable")
    return all_scores[order], all_right[order]


def _crowd(record: Sample) -> NDArray[np.bool_]:
    return np.zeros(len(record.class_ids), dtype=bool) if record.crowd is None else record.crowd
