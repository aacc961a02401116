"""The objects that a detector missed and the boxes that it found wrongly, one by one, the worst first.

The kinds of wrong boxes are those of Bolya et al., TIDE, arXiv:2008.08115, section 2.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Sample
from regard.evaluation.coco import pixel_boxes
from regard.evaluation.matching import CONFUSION_CONFIDENCE, IOU, Bool, Float, match, overlaps
from regard.types import Detections

BACKGROUND_IOU = 0.1
"""Below this IoU with every label, a detection is of the background."""

ErrorKind = Literal["missed", "wrong class", "poorly located", "duplicate", "wrong class and place", "background"]


@dataclass(frozen=True)
class DetectionError:
    """An object that was missed, or a box that was found wrongly.

    Attributes:
        image: index of its sample.
        kind: ``missed``, or why the box is wrong.
        box_xyxy: the label or the wrong box, left, top, right, bottom in pixels of the image.
        class_id: of the label or of the wrong box.
        other: class of the label that a box of the wrong class lies on, else None.
        score: of the wrong box; of a missed object, the best below the threshold, 0 if it was not found at all.
        iou: of the wrong box with the label nearest to it; of a missed object, with that best box.
        badness: 0 to 1: the score of a wrong box, and 1 - score of a missed object.
    """

    image: int
    kind: ErrorKind
    box_xyxy: tuple[float, float, float, float]
    class_id: int
    other: int | None
    score: float
    iou: float
    badness: float


def find_errors(
    detections: Sequence[Detections], samples: Sequence[Sample], conf: float = CONFUSION_CONFIDENCE
) -> list[DetectionError]:
    """List the errors of all detections with a score of at least ``conf``, the worst first; large before small ones.

    Detections are matched with labels as in COCO, at an IoU of 0.5. What lies in a crowd is no error.

    Args:
        detections: of each sample, best with scores far below ``conf`` too, by which missed objects are ranked.
        samples: the labelled images.
        conf: confidence threshold.

    Example:
        >>> from regard.data.formats import load_data
        >>> samples = load_data("synthetic:context?train=0&val=2&test=0").splits["val"]
        >>> nothing = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0), image_size=(90, 120))
        >>> errors = find_errors([nothing, nothing], samples)
        >>> len(errors) == sum(len(sample.class_ids) for sample in samples), errors[0].kind, errors[0].badness
        (True, 'missed', 1.0)
    """
    every = enumerate(zip(detections, samples, strict=True))
    errors = [error for i, (found, sample) in every for error in _in_image(i, found, sample, conf)]
    return sorted(errors, key=lambda error: (-error.badness, -_area(error)))


def _area(error: DetectionError) -> float:
    left, top, right, bottom = error.box_xyxy
    return (right - left) * (bottom - top)


def _in_image(index: int, found: Detections, sample: Sample, conf: float) -> Iterator[DetectionError]:
    crowd = np.zeros(len(sample.class_ids), bool) if sample.crowd is None else sample.crowd
    labels = pixel_boxes(sample, found.image_size)
    iou = overlaps(found.boxes_xyxy.astype(np.float64), labels, crowd)
    taken = matched(found, sample, iou, crowd, conf)
    for i in np.flatnonzero((found.scores >= conf) & (taken < 0)):
        if iou[i, crowd].max(initial=0) >= IOU:
            continue
        score = float(found.scores[i])
        kind, other = _kind(int(found.class_ids[i]), iou[i], sample, crowd)
        nearest = float(iou[i, ~crowd].max(initial=0))
        box = found.boxes_xyxy[i].tolist()
        yield DetectionError(index, kind, tuple(box), int(found.class_ids[i]), other, score, nearest, score)
    for j in np.flatnonzero(~crowd & ~np.isin(np.arange(len(labels)), taken)):
        near = np.flatnonzero((found.class_ids == sample.class_ids[j]) & (iou[:, j] >= IOU) & (found.scores < conf))
        best = near[found.scores[near].argmax()] if len(near) else None
        score, overlap = (0.0, 0.0) if best is None else (float(found.scores[best]), float(iou[best, j]))
        box = labels[j].tolist()
        yield DetectionError(
            index, "missed", tuple(box), int(sample.class_ids[j]), None, score, overlap, round(1 - score, 6)
        )


def matched(found: Detections, sample: Sample, iou: Float, crowd: Bool, conf: float) -> NDArray[np.int64]:
    """The label that each detection takes, -1 for none."""
    taken = np.full(len(found.scores), -1, np.int64)
    for class_id in np.unique(found.class_ids):
        own = np.flatnonzero((found.class_ids == class_id) & (found.scores >= conf))
        own = own[np.argsort(-found.scores[own], kind="stable")]
        labelled = np.flatnonzero(sample.class_ids == class_id)
        chosen = match(iou[np.ix_(own, labelled)], crowd[labelled])[0]
        taken[own] = np.append(labelled, -1)[chosen]  # -1 reads the value appended
    return taken


def _kind(class_id: int, iou: Float, sample: Sample, crowd: Bool) -> tuple[ErrorKind, int | None]:
    """Why an unmatched detection is wrong, and the class of the label that it lies on where that is another."""
    same = (sample.class_ids == class_id) & ~crowd
    other = (sample.class_ids != class_id) & ~crowd
    own, foreign = float(iou[same].max(initial=0)), float(iou[other].max(initial=0))
    confused = int(sample.class_ids[np.where(other, iou, -1).argmax()]) if foreign >= BACKGROUND_IOU else None
    if own >= IOU:
        return "duplicate", None
    if foreign >= IOU:
        return "wrong class", confused
    if own >= BACKGROUND_IOU:
        return "poorly located", None
    if foreign >= BACKGROUND_IOU:
        return "wrong class and place", confused
    return "background", None
