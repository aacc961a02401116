"""Non-maximum suppression: from predictions to detections.

Greedy suppression as in every detector since Felzenszwalb et al. (2010): of the boxes that overlap by more than the
threshold, the best scored one stays. There is no time limit, so the answer does not depend on the machine. It needs
NumPy only, so a compiled model predicts without torch.

A box is compared only with those whose centre is near enough for the overlap to be possible, so the cost grows with
the number of objects and not with its square. Many boxes are compared at once, because one call of NumPy costs as much
as a thousand comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regard.config import DetectSettings
from regard.errors import warn
from regard.geometry.boxes import cxcywh_to_xyxy

if TYPE_CHECKING:  # Detections.with_nms calls this file
    from regard.types import Predictor

MAX_CANDIDATES = 30_000
"""Largest number of boxes of an image, the best scored ones, that enter suppression."""

BLOCK = 512
"""Number of boxes that are compared together."""

MOST_BANDS = 10_000
"""Largest number of bands of height that an image is cut into: positions remain exact to a thousandth of a pixel."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Indices = NDArray[np.int64]


def suppress(rows: Float32, settings: DetectSettings) -> Float32:
    """Turn the predictions for one image into detections, the best score first.

    With ``settings.multi_label`` a box counts once for every class that scores above ``conf``, otherwise only for its
    best class. ``settings.classes`` then drops the other classes, so a box whose best class is not wanted is dropped.
    Boxes without area are dropped first: a head that predicts distances to the sides can give negative ones.

    Without ``settings.nms`` the best ``max_det`` stay however they overlap, as one-to-one branches are trained for
    (YOLOv10, 2405.14458): a box counts for every class above ``conf``, with ``agnostic_nms`` for its best one.

    Args:
        rows: (N, 4 + nc): centre x, centre y, width, height, class scores.
        settings: thresholds and limits.

    Returns:
        (n, 6): left, top, right, bottom in the units of ``rows``, score, class index.

    Example:
        >>> rows = np.array([[50, 50, 20, 20, 0.9, 0.1], [51, 50, 20, 20, 0.8, 0.0]], np.float32)
        >>> suppress(rows, DetectSettings(conf=0.25, iou=0.45)).round(2).tolist()
        [[40.0, 40.0, 60.0, 60.0, 0.8999999761581421, 0.0]]
    """
    rows = rows[(rows[:, 2:4] > 0).all(axis=1)]
    if not settings.nms:
        settings = settings.model_copy(update={"multi_label": not settings.agnostic_nms})
    index, class_ids, scores = _candidates(rows, settings)
    order = _best_first(scores)
    index, class_ids, scores = index[order], class_ids[order], scores[order]
    boxes = cxcywh_to_xyxy(rows[index, :4])
    groups = np.zeros_like(class_ids) if settings.agnostic_nms else class_ids
    whole = np.arange(min(len(boxes), settings.max_det))
    keep = greedy(boxes, groups, settings.iou, settings.max_det) if settings.nms else whole
    return np.concatenate([boxes[keep], scores[keep, None], class_ids[keep, None].astype(np.float32)], axis=1)


def _candidates(rows: Float32, settings: DetectSettings) -> tuple[Indices, Indices, Float32]:
    """Row, class and score of everything that scores above the threshold."""
    all_scores = rows[:, 4:]
    if settings.multi_label:
        flat = np.flatnonzero(all_scores > settings.conf)  # of two axes at once, NumPy takes twice as long
        index, class_ids = np.divmod(flat, all_scores.shape[1])
    else:
        index = np.flatnonzero(all_scores.max(axis=1) > settings.conf)
        class_ids = all_scores[index].argmax(axis=1)
    if settings.classes:
        wanted = np.isin(class_ids, settings.classes)
        index, class_ids = index[wanted], class_ids[wanted]
    return index, class_ids, all_scores[index, class_ids]


def _best_first(scores: Float32) -> Indices:
    """Order of the best `MAX_CANDIDATES` positive scores; among equal ones the first comes first.

    The bits of positive floats are in the order of their values. With the index below them they form integers of which
    no two are equal, so any sort is stable, and the best can be selected before.
    """
    keys = (~scores.view(np.int32)).astype(np.int64) << 32 | np.arange(len(scores))
    if len(keys) > MAX_CANDIDATES:
        keys = np.partition(keys, MAX_CANDIDATES)[:MAX_CANDIDATES]
    return np.sort(keys) & 0xFFFFFFFF


@dataclass(frozen=True)
class _Places:
    """Positions of boxes on one line: all groups and bands of height one after another, beyond each other's reach.

    Attributes:
        place: (N,), horizontally, plus the start of the box's group and band.
        reach: (N,), how far from it horizontally another box may be.
        band: (N,), counted from the top, as whole numbers.
        first, last: (N,), the bands in which another box may be.
        length: of a band.
    """

    place: Float64
    reach: Float64
    band: Float64
    first: Float64
    last: Float64
    length: float

    @classmethod
    def of(cls, columns: Float32, groups: Indices, iou: float) -> _Places:
        """Place boxes, given as (4, N).

        Two boxes of widths w >= v whose centres are d apart overlap by at most (v + w - 2 d) / (v + w + 2 d) along that
        axis, and their IoU is no more. It is above ``iou`` only where iou < v / w and d < (v + w) (1 - iou) / (2 + 2
        iou), hence d < u (1 - iou) / (2 iou) for either width u: the reach of a box, beyond which it can suppress none.
        So it is along the other axis.
        """
        middle = ((columns[:2] + columns[2:]) / 2).astype(np.float64)
        sides = (columns[2:] - columns[:2]).astype(np.float64)
        reach = (sides + sides.max(axis=1, keepdims=True)) / 2
        if iou > 0:
            reach = np.minimum(reach, sides * (1 - iou) / (2 * iou))
        reach = reach * 1.001 + 1e-3
        (x, y), (across, down) = middle - middle.min(axis=1, keepdims=True), reach
        height = max(float(down.mean()), float(y.max()) / MOST_BANDS)  # so that few boxes reach into many bands
        band, first, last = np.floor(np.stack([y, np.maximum(y - down, 0), np.minimum(y + down, y.max())]) / height)
        length = float(x.max()) + float(across.max()) + 1
        group_length = length * (float(band.max()) + 1)
        return cls(groups * group_length + band * length + x, across, band, first, last, length)

    def near(self, these: Indices, those: Indices) -> tuple[Indices, Indices]:
        """Pairs of one of these and one of those boxes that may overlap by too much."""
        those = those[np.argsort(self.place[those])]
        line = self.place[those]
        bands = (self.last[these] - self.first[these]).astype(np.int64) + 1
        asking, further = _runs(bands)
        asking = these[asking]
        middle = self.place[asking] + (self.first[asking] + further - self.band[asking]) * self.length
        begin = np.searchsorted(line, middle - self.reach[asking], side="left")
        end = np.searchsorted(line, middle + self.reach[asking], side="right")
        pair, offset = _runs(end - begin)
        return asking[pair], those[begin[pair] + offset]


def _runs(counts: Indices) -> tuple[Indices, Indices]:
    """For counts 2, 0, 3: 0 0 2 2 2 and 0 1 0 1 2, the owner of each item and its number there."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]


def greedy(boxes_xyxy: Float32, groups: Indices, iou: float, limit: int) -> Indices:
    """Find the indices of the boxes that stay, at most ``limit``.

    Args:
        boxes_xyxy: (N, 4), best score first.
        groups: (N,); boxes of different groups do not affect each other.
        iou: overlap above which the later box is dropped.
        limit: largest number of boxes.
    """
    keep = np.zeros(0, dtype=np.int64)
    if not len(boxes_xyxy):
        return keep
    columns = np.ascontiguousarray(boxes_xyxy.T)
    places = _Places.of(columns, groups, iou)
    for start in range(0, len(boxes_xyxy), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes_xyxy)))
        if len(keep):
            later, _ = _overlapping(columns, iou, *places.near(block, keep))
            block = np.delete(block, later - start)
        earlier, later = places.near(block, block)
        ordered = earlier < later
        pairs = _overlapping(columns, iou, earlier[ordered], later[ordered])
        keep = np.append(keep, _survivors(block, *pairs))
        if len(keep) >= limit:
            break
    return keep[:limit]


def _overlapping(columns: Float32, iou: float, these: Indices, those: Indices) -> tuple[Indices, Indices]:
    """Keep those of the pairs whose IoU is above ``iou``; columns are (4, N): left, top, right, bottom."""
    ax1, ay1, ax2, ay2 = columns[:, these]
    bx1, by1, bx2, by2 = columns[:, those]
    across, down = np.minimum(ax2, bx2) - np.maximum(ax1, bx1), np.minimum(ay2, by2) - np.maximum(ay1, by1)
    common = np.maximum(across, 0) * np.maximum(down, 0)
    above = common > iou * ((bx2 - bx1) * (by2 - by1) + (ax2 - ax1) * (ay2 - ay1) - common)
    return these[above], those[above]


def _survivors(boxes: Indices, earlier: Indices, later: Indices) -> Indices:
    """The boxes, best first, that no better remaining box overlaps; pairs are (better, worse)."""
    worse: dict[int, list[int]] = {}
    for box, other in zip(earlier.tolist(), later.tolist(), strict=True):
        worse.setdefault(box, []).append(other)
    gone: set[int] = set()
    for box in sorted(worse):
        if box not in gone:
            gone.update(worse[box])
    return np.array([box for box in boxes.tolist() if box not in gone], dtype=np.int64)


def nms_for(predictor: object, asked: DetectSettings) -> DetectSettings:
    """Settings for what a predictor gives: the boxes of a one-to-one branch are not suppressed."""
    return asked.model_copy(update={"nms": asked.nms and not getattr(predictor, "one_to_one", False)})


def warn_of_nms_inside(predictor: Predictor, asked: DetectSettings) -> None:
    """Warn where NMS inside an exported file has already dropped boxes that are asked for."""
    inside = getattr(predictor, "nms", None)
    if not isinstance(inside, DetectSettings):
        return
    lost = [
        f"{name} {getattr(inside, name)} (asked for: {getattr(asked, name)})"
        for name, drops_more in (
            ("conf", inside.conf > asked.conf),
            ("iou", inside.iou < asked.iou),
            ("max_det", inside.max_det < asked.max_det),
            ("agnostic_nms", inside.agnostic_nms and not asked.agnostic_nms),
            ("multi_label", asked.multi_label and not inside.multi_label),
            ("classes", bool(inside.classes) and not set(asked.classes or [-1]) <= set(inside.classes)),
        )
        if drops_more
    ]
    if lost:
        what = f"the exported file has NMS inside that drops more: {', '.join(lost)}"
        warn(f"{what}; export it without NMS for other settings")
