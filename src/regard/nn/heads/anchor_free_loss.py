"""The losses of anchor-free heads: CIoU for boxes, binary cross-entropy for classes, and a loss of the four distances.

Distances are learned as distributions over whole cells (distribution focal loss, GFL, Li et al., 2006.04388, section
3.2), or directly by their absolute error. CIoU is 1911.08287, the assignment 2108.07755. Every loss is a sum over the
assigned predictions weighted by their target score, divided by the sum S of all target scores over all processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from regard.geometry.iou import ciou
from regard.nn.heads.base import LossContext
from regard.nn.heads.task_aligned import Assignment, assign, least_side
from regard.nn.precision import at_least_float32
from regard.types import Targets

BELOW_LAST_BIN = 0.01
TOPK, TOPK_ONE_TO_ONE, KEEP_ONE_TO_ONE = 10, 7, 1


@dataclass(frozen=True)
class Grid:
    """Where the predictions of all levels are, in the order of the levels, each row by row.

    Attributes:
        points: (N, 2) anchor points, x and y in cells of their level.
        strides: (N, 1) input pixels per cell.
        size: (height, width) of the input in pixels.
    """

    points: Tensor
    strides: Tensor
    size: tuple[int, int]


def make_grid(levels: Sequence[Tensor], strides: Sequence[int]) -> Grid:
    """Find the cells of raw levels (B, C, H_i, W_i)."""
    points, per_cell = [], []
    for level, stride in zip(levels, strides, strict=True):
        height, width = level.shape[2:]
        y = torch.arange(height, device=level.device, dtype=torch.float32) + 0.5
        x = torch.arange(width, device=level.device, dtype=torch.float32) + 0.5
        points.append(torch.stack((x.expand(height, width), y[:, None].expand(height, width)), 2).reshape(-1, 2))
        per_cell.append(torch.full_like(points[-1][:, :1], stride))  # a size read here would be fixed in an export
    return Grid(
        torch.cat(points),
        torch.cat(per_cell),
        (levels[0].shape[2] * strides[0], levels[0].shape[3] * strides[0]),
    )


def expected_distances(bins: Tensor) -> Tensor:
    """(..., 4 * R) logits, side-major -> (..., 4) expected distances in cells; R = 1 are the distances themselves."""
    per_side = bins.reshape(*bins.shape[:-1], 4, bins.shape[-1] // 4)
    if per_side.shape[-1] == 1:
        return per_side.squeeze(-1)
    # A column, and not a vector: OpenCV multiplies only matrices.
    count = torch.arange(per_side.shape[-1], dtype=bins.dtype, device=bins.device)[:, None]
    return (per_side.softmax(-1) @ count).squeeze(-1)


def boxes_in_cells(distances: Tensor, points: Tensor) -> Tensor:
    """Distances (..., N, 4) left, top, right, bottom of points (N, 2) -> boxes xyxy (..., N, 4), all in cells."""
    low, high = distances.chunk(2, -1)
    return torch.cat((points - low, points + high), -1)


def distribution_loss(bins: Tensor, distances: Tensor) -> Tensor:
    """Distribution focal loss (2006.04388, equation 6), a mean over the four sides.

    Args:
        bins: (P, 4 * R) logits, side-major.
        distances: (P, 4) in cells; clamped to 0 and just below the last bin.

    Returns:
        (P,).
    """
    logits = bins.reshape(*bins.shape[:-1], 4, bins.shape[-1] // 4)
    distances = distances.clamp(0, logits.shape[-1] - 1 - BELOW_LAST_BIN)
    low = distances.floor()
    share = distances - low
    log_p, at = logits.log_softmax(-1), low.long().unsqueeze(-1)
    below, above = log_p.gather(-1, at).squeeze(-1), log_p.gather(-1, at + 1).squeeze(-1)
    return -((1 - share) * below + share * above).mean(-1)


@dataclass(frozen=True)
class Branch:
    """Raw outputs of one branch, in float32 or better.

    Attributes:
        bins: (B, N, 4 * R).
        logits: (B, N, nc).
        topk: see `regard.nn.heads.task_aligned.assign`.
        keep: likewise.
    """

    bins: Tensor
    logits: Tensor
    topk: int = TOPK
    keep: int | None = None


def flatten_levels(levels: Sequence[Tensor], classes: int) -> tuple[Tensor, Tensor]:
    """Levels [(B, 4 * R + nc, H_i, W_i)] -> bins (B, N, 4 * R) and class logits (B, N, nc), in float32 or better."""
    rows = torch.cat([level.flatten(2) for level in levels], 2).transpose(1, 2)
    rows = at_least_float32(rows)
    return rows[..., :-classes], rows[..., -classes:]


def anchor_free_losses(
    branches: Sequence[Branch], grid: Grid, strides: Sequence[int], targets: Targets, context: LossContext
) -> list[dict[str, Tensor]]:
    """Compute ``box``, ``cls`` and ``dfl`` of each branch; ``dfl`` is the absolute error of the distances where R is 1.

    A box is a target if its corners sum to more than 0. Class weights multiply the terms of their class, not S.

    Args:
        branches: raw outputs.
        grid: where they are.
        strides: input pixels per cell of each level.
        targets: the labelled boxes of the batch.
        context: gains, class weights, and the sum over processes, which is called once.
    """
    labels = _labels(targets, branches[0].bins, grid)
    assigned = [_assign(branch, grid, strides, labels) for branch in branches]
    own = [torch.cat([image.score for image in found]).sum() for found in assigned]
    processes, *totals = context.sum_over_processes(torch.stack([torch.ones_like(own[0]), *own])).unbind()
    sums = [_sums(branch, grid, found, labels, context) for branch, found in zip(branches, assigned, strict=True)]
    return [
        {name: processes * value / total.clamp(min=1) for name, value in parts.items()}
        for parts, total in zip(sums, totals, strict=True)
    ]


@dataclass(frozen=True)
class _Labels:
    """Labelled boxes of each image: corners in input pixels (T, 4), and classes (T,)."""

    boxes: list[Tensor]
    classes: list[Tensor]


def _labels(targets: Targets, like: Tensor, grid: Grid) -> _Labels:
    height, width = grid.size
    pixels = targets.boxes_cxcywh.to(like) * like.new_tensor((width, height, width, height))
    corners = cxcywh_to_xyxy(pixels)
    valid = corners.sum(1) > 0
    images = [(targets.image_index == i) & valid for i in range(len(like))]
    return _Labels([corners[own] for own in images], [targets.class_ids[own] for own in images])


@torch.no_grad()
def _assign(branch: Branch, grid: Grid, strides: Sequence[int], labels: _Labels) -> list[Assignment]:
    least, points = least_side(strides), grid.points * grid.strides
    predicted = boxes_in_cells(expected_distances(branch.bins), grid.points) * grid.strides
    images = zip(branch.logits.sigmoid(), predicted, labels.boxes, labels.classes, strict=True)
    return [
        assign(scores, found, points, boxes, classes, least_side=least, topk=branch.topk, keep=branch.keep)
        for scores, found, boxes, classes in images
    ]


def _sums(
    branch: Branch, grid: Grid, found: Sequence[Assignment], labels: _Labels, context: LossContext
) -> dict[str, Tensor]:
    """The losses times S, after their gains."""
    image = torch.cat([torch.full_like(a.anchor, i) for i, a in enumerate(found)])
    anchor = torch.cat([a.anchor for a in found])
    boxes = torch.cat([own[a.target] for own, a in zip(labels.boxes, found, strict=True)])
    classes = torch.cat([own[a.target] for own, a in zip(labels.classes, found, strict=True)])
    score = torch.cat([a.score for a in found])

    wanted = torch.zeros_like(branch.logits)
    wanted[image, anchor, classes] = score
    weight = None if context.class_weights is None else branch.logits.new_tensor(context.class_weights)
    cls = F.binary_cross_entropy_with_logits(branch.logits, wanted, weight, reduction="sum")

    bins, points, stride = branch.bins[image, anchor], grid.points[anchor], grid.strides[anchor]
    distances = expected_distances(bins)
    corners = boxes / stride
    overlap = ciou(xyxy_to_cxcywh(boxes_in_cells(distances, points)), xyxy_to_cxcywh(corners))
    unused = branch.bins.sum() * 0  # reaches every box output, in a batch without boxes too
    box = ((1 - overlap) * score).sum() + unused
    from_point = torch.cat((points - corners[:, :2], corners[:, 2:] - points), 1)
    if bins.shape[1] > 4:
        side = (distribution_loss(bins, from_point) * score).sum()
    else:
        height, width = grid.size
        share = stride / stride.new_tensor((width, height, width, height))
        side = (((distances - from_point).abs() * share).mean(1) * score).sum()
    gains = context.settings.anchor_free
    return {"box": gains.box * box, "cls": gains.cls * cls, "dfl": gains.dfl * side}
