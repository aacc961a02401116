"""Non-maximum suppression: from decoded rows to detections.

Greedy suppression as in every detector since Felzenszwalb et al. (2010): of the boxes that overlap by more than the
threshold, the best scored one stays. Here the score is objectness times class probability. There is no time limit,
so the answer does not depend on the machine. It needs NumPy only, so that a prepared detector answers without torch.

A box is held only against those whose centre is near enough for the overlap to be possible, so that the cost grows
with the number of objects rather than with its square.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regard.config import DetectSettings

MAX_CANDIDATES = 30_000
"""At most this many boxes of an image, the best scored ones, enter suppression."""

Float32 = NDArray[np.float32]


def suppress(rows: Float32, settings: DetectSettings) -> Float32:
    """Return the detections of one image, best score first.

    With ``settings.multi_label`` a box stands once for every class that scores above ``conf``, otherwise only for its
    best class. ``settings.classes`` then drops the others, so a box whose best class is not wanted is gone.

    Args:
        rows: (N, 5 + classes): centre x, centre y, width, height, objectness, class probabilities.
        settings: thresholds and limits.

    Returns:
        (n, 6): left, top, right, bottom in the units of ``rows``, score, class index.
    """
    index, class_ids, scores = _candidates(rows, settings)
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    index, class_ids, scores = index[order], class_ids[order], scores[order]
    centres, halves = rows[index, :2], rows[index, 2:4] / 2
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    groups = np.zeros_like(class_ids) if settings.agnostic_nms else class_ids
    keep = greedy(boxes, groups, settings.iou, settings.max_det)
    return np.concatenate([boxes[keep], scores[keep, None], class_ids[keep, None].astype(np.float32)], axis=1)


def _candidates(
    rows: Float32, settings: DetectSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return row, class and score of all that scores above the threshold."""
    likely = np.flatnonzero(rows[:, 4] > settings.conf)  # lossless: no class can score above objectness
    all_scores = rows[likely, 4:5] * rows[likely, 5:]
    if settings.multi_label:
        index, class_ids = np.nonzero(all_scores > settings.conf)
    else:
        class_ids = all_scores.argmax(axis=1)
        index = np.flatnonzero(all_scores[np.arange(len(likely)), class_ids] > settings.conf)
        class_ids = class_ids[index]
    if settings.classes:
        wanted = np.isin(class_ids, settings.classes)
        index, class_ids = index[wanted], class_ids[wanted]
    return likely[index], class_ids, all_scores[index, class_ids]


def greedy(boxes_xyxy: Float32, groups: NDArray[np.int64], iou: float, limit: int) -> NDArray[np.int64]:
    """Return the indices of the boxes that stay, at most ``limit``.

    Two boxes of widths w >= v whose centres are d apart overlap by at most (v + w - 2 d) / (v + w + 2 d) along that
    axis, and their IoU is no more. It is above ``iou`` only where iou < v / w and d < (v + w) (1 - iou) / (2 + 2 iou),
    hence d < u (1 - iou) / (2 iou) for either width u: the reach of a box, beyond which it can suppress none.

    Args:
        boxes_xyxy: (N, 4), best score first.
        groups: (N,); boxes of different groups leave each other alone.
        iou: overlap above which the later box goes.
        limit: how many boxes may stay.
    """
    left, right = boxes_xyxy[:, 0], boxes_xyxy[:, 2]
    middle, width = (left + right) / 2, right - left
    widest = float(width.max(initial=0.0))
    reach = np.minimum(width * (1 - iou) / (2 * iou) if iou > 0 else np.inf, (width + widest) / 2) * 1.001 + 1e-3
    apart = float(np.ptp(middle)) + float(reach.max()) + 1 if len(middle) else 1.0
    place = middle.astype(np.float64) + groups * apart  # a group lies beyond the reach of every other
    order = np.argsort(place, kind="stable")
    place_sorted = place[order]
    first = np.searchsorted(place_sorted, place - reach, side="left").tolist()
    last = np.searchsorted(place_sorted, place + reach, side="right").tolist()
    x1, y1, x2, y2 = np.ascontiguousarray(boxes_xyxy[order].T)
    areas = (x2 - x1) * (y2 - y1)
    rank = np.argsort(order, kind="stable").tolist()  # where each box stands in that order
    gone = np.zeros(len(order), dtype=bool)
    keep: list[int] = []
    for i, at in enumerate(rank):
        if gone[at]:
            continue
        keep.append(i)
        if len(keep) == limit:
            break
        near = slice(first[i], last[i])
        across = np.minimum(x2[near], x2[at]) - np.maximum(x1[near], x1[at])
        down = np.minimum(y2[near], y2[at]) - np.maximum(y1[near], y1[at])
        common = np.maximum(across, 0) * np.maximum(down, 0)
        gone[near] |= common > iou * (areas[near] + areas[at] - common)
    return np.array(keep, dtype=np.int64)
