"""Task-aligned assignment of labelled boxes to predictions (TOOD, Feng et al., 2108.07755, section 3.2).

A prediction suits a target by t = p^alpha * q^beta, with p its score for the target's class and q its CIoU. Each target
takes the most suitable predictions whose centre lies inside it; a prediction that several targets take goes to the one
that it overlaps most. Pure functions of detached tensors, one image at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.geometry.boxes import xyxy_to_cxcywh
from regard.geometry.iou import ciou

ALPHA, BETA = 0.5, 6.0
INSIDE = 1e-9
"""Pixels that an anchor point must be away from each side of a box to lie inside it."""


@dataclass(frozen=True)
class Assignment:
    """The predictions of one image that are assigned to a target, in increasing order.

    Attributes:
        anchor: (P,) int64, positions among the N predictions.
        target: (P,) int64, positions among the T targets.
        score: (P,) the score that each is to have for its target's class, 0 to 1.
    """

    anchor: Tensor
    target: Tensor
    score: Tensor


def least_side(strides: Sequence[int]) -> int:
    """Side in pixels to which shorter sides of a box are lengthened when its candidates are looked for.

    Example:
        >>> least_side([8, 16, 32]), least_side([32])
        (16, 32)
    """
    return sorted(strides)[min(1, len(strides) - 1)]


def assign(
    scores: Tensor,
    boxes_xyxy: Tensor,
    points: Tensor,
    targets_xyxy: Tensor,
    class_ids: Tensor,
    *,
    least_side: float,
    topk: int = 10,
    keep: int | None = None,
) -> Assignment:
    """Assign the targets of one image.

    Args:
        scores: (N, nc) class scores, 0 to 1.
        boxes_xyxy: (N, 4) predicted boxes in input pixels.
        points: (N, 2) anchor points, x and y in input pixels.
        targets_xyxy: (T, 4) labelled boxes in input pixels.
        class_ids: (T,) int64.
        least_side: see `least_side`.
        topk: predictions that each target takes at first.
        keep: predictions that each target keeps in the end; all where None.

    Example:
        >>> points = torch.tensor([[8.0, 8.0], [24.0, 8.0]])
        >>> box = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
        >>> found = assign(torch.full((2, 1), 0.25), box.expand(2, 4), points, box, torch.tensor([0]), least_side=16)
        >>> found.anchor, found.score
        (tensor([0]), tensor([1.]))
    """
    if not len(targets_xyxy):
        none = class_ids.new_zeros(0)
        return Assignment(none, none, scores.new_zeros(0))
    candidate = _candidates(points, targets_xyxy, least_side)
    quality, fit = _fit(scores, boxes_xyxy, targets_xyxy, class_ids, candidate)
    chosen = candidate & _largest(fit, topk)
    contested = (chosen.sum(0) > 1).nonzero().squeeze(1)  # few columns
    best = torch.where(candidate[:, contested], quality[:, contested], -1.0).argmax(0)  # the first of equals
    chosen[:, contested] = False
    chosen[best, contested] = True
    if keep is not None:
        chosen &= _largest(torch.where(chosen, fit, -1.0), keep)
    anchor, target = chosen.T.nonzero(as_tuple=True)
    fit, quality = (torch.where(chosen, x, 0.0) for x in (fit, quality))
    scale = quality.amax(1) / (fit.amax(1) + 1e-9)
    return Assignment(anchor, target, fit[target, anchor] * scale[target])


def _candidates(points: Tensor, targets_xyxy: Tensor, least: float) -> Tensor:
    """(T, N): whether a point lies inside a target, whose short sides are lengthened about the centre."""
    centre, size = xyxy_to_cxcywh(targets_xyxy).chunk(2, 1)
    half = torch.where(size < least, least, size) / 2
    low, high = centre - half, centre + half
    lengthened = size < least
    low = torch.where(lengthened, low, targets_xyxy[:, :2])
    high = torch.where(lengthened, high, targets_xyxy[:, 2:])
    (x, y), (left, top), (right, bottom) = points.T, low.T[..., None], high.T[..., None]
    return (x - left > INSIDE) & (y - top > INSIDE) & (right - x > INSIDE) & (bottom - y > INSIDE)


def _fit(
    scores: Tensor, boxes_xyxy: Tensor, targets_xyxy: Tensor, class_ids: Tensor, candidate: Tensor
) -> tuple[Tensor, Tensor]:
    """CIoU q, at least 0, and suitability t of each target and prediction, (T, N); 0 where it is no candidate."""
    target, anchor = candidate.nonzero(as_tuple=True)
    predicted, wanted = xyxy_to_cxcywh(boxes_xyxy[anchor]), xyxy_to_cxcywh(targets_xyxy[target])
    overlap = ciou(wanted, predicted).clamp(min=0)
    quality, fit = scores.new_zeros(candidate.shape), scores.new_zeros(candidate.shape)
    quality[target, anchor] = overlap
    fit[target, anchor] = scores[anchor, class_ids[target]].pow(ALPHA) * overlap.pow(BETA)
    return quality, fit


def _largest(values: Tensor, count: int) -> Tensor:
    """(T, N): whether a value is among the ``count`` largest of its row."""
    top = values.topk(min(count, values.shape[1]), dim=1).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter(1, top, True)
