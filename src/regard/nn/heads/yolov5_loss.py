"""The YOLOv5 v6 detection loss: CIoU for boxes, binary cross-entropy for objectness and classes; and its assignment.

There is no paper; CIoU is arXiv:1911.08287. A labelled box is assigned to every anchor of every level whose sides
differ from its own by less than a factor, in its own cell and in up to two neighbours on the nearer sides. Each loss is
a mean over its level, weighted, and summed over the levels. Every mean is a local sum divided by a count over all
processes, so that processes that average their gradients compute what one process would on all their images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.config import LossSettings
from regard.errors import RegardError
from regard.geometry.iou import ciou
from regard.nn.heads.base import LossContext
from regard.nn.precision import at_least_float32
from regard.nn.raw_levels import OTHERS, centre_and_size
from regard.types import Targets


def yolov5_loss(
    levels: Sequence[Tensor], targets: Targets, anchors: Tensor, strides: Sequence[int], context: LossContext
) -> dict[str, Tensor]:
    """Compute the losses ``box``, ``obj`` and ``cls`` of a batch, in float32 or float64 for any raw precision.

    Every element of the raw objectness is reached, so a batch without any box trains too. The objectness gain is
    scaled by (image size / 640)^2.

    Args:
        levels: per level (B, A, ny, nx, OTHERS + nc): x, y, w, h, objectness, classes before the sigmoid.
        targets: the labelled boxes of the batch.
        anchors: (levels, A, 2) widths and heights in cells of their level.
        strides: input pixels per cell of each level; finer levels weigh more in the objectness loss.
        context: gains and thresholds, image size, and the sum over processes, which is called once.

    Raises:
        RegardError: there are more levels than the loss has weights for.
    """
    settings = context.settings
    anchors = at_least_float32(anchors)
    grids = [(level.shape[2], level.shape[3]) for level in levels]
    assigned = assign(targets, anchors, grids, settings.anchor_threshold)
    sums = torch.stack([_level_sums(*pair, context) for pair in zip(levels, assigned, strict=True)])  # (levels, 3)

    counts = context.sum_over_processes(_counts(levels, assigned))
    processes, of_each_mean = counts[0], counts[1:].view(-1, 3)
    weights = _weights(strides, levels[0].shape[-1] - OTHERS, settings, context.image_size)
    parts = processes * (sums.new_tensor(weights) * sums / of_each_mean.clamp(min=1)).sum(dim=0)
    return dict(zip(("box", "obj", "cls"), parts.unbind(), strict=True))


def level_balance(strides: Sequence[int]) -> tuple[float, ...]:
    """Weight of the objectness loss of each level: larger for finer levels, in any order of the levels.

    Three and four levels as in YOLOv5; five continue its decrease by a factor of four; a single one weighs 1.

    Raises:
        RegardError: there are not 1 to 5 levels.

    Example:
        >>> level_balance([8, 16, 32]), level_balance([32, 16, 8])
        ((4.0, 1.0, 0.4), (0.4, 1.0, 4.0))
    """
    balance = {
        1: (1.0,),
        2: (4.0, 1.0),
        3: (4.0, 1.0, 0.4),
        4: (4.0, 1.0, 0.25, 0.06),
        5: (4.0, 1.0, 0.25, 0.06, 0.015),
    }
    if len(strides) not in balance:
        raise RegardError(f"the model has {len(strides)} detection levels", expected="1 to 5")
    finest_first = sorted(strides)
    return tuple(balance[len(strides)][finest_first.index(stride)] for stride in strides)


def _counts(raw: Sequence[Tensor], assigned: Sequence[Assignment]) -> Tensor:
    """This process (1), and per level the numbers that box, objectness and class loss are means over; int64."""
    counts = [1]
    for level, found in zip(raw, assigned, strict=True):
        counts += [len(found), level[..., 4].numel(), len(found) * (level.shape[-1] - OTHERS)]
    return torch.tensor(counts, device=raw[0].device)


def _weights(
    strides: Sequence[int], classes: int, settings: LossSettings, image_size: int
) -> list[tuple[float, float, float]]:
    """Factors of the mean box, objectness and class loss of each level."""
    share = 3 / len(strides)
    box = settings.box * share
    obj = settings.obj * share * (image_size / 640) ** 2
    cls = settings.cls * share * classes / 80 if classes > 1 else 0.0  # a single class needs no classification
    return [(box, obj * balance, cls) for balance in level_balance(strides)]


def _level_sums(raw: Tensor, assigned: Assignment, context: LossContext) -> Tensor:
    """Sums of box, objectness and class loss over the assigned predictions and all cells of a level, (3,)."""
    settings = context.settings
    # Enough under autocast too, which lowers the precision of matrix products and convolutions alone: none is here.
    chosen = at_least_float32(raw[assigned.image, assigned.anchor, assigned.row, assigned.column])  # (P, OTHERS + nc)
    objectness, classes = at_least_float32(raw[..., 4]), chosen[:, OTHERS:]
    boxes = torch.cat(centre_and_size(chosen[:, :4].sigmoid(), assigned.anchor_wh), dim=1)
    quality = ciou(boxes, assigned.boxes_cxcywh)

    is_class = F.one_hot(assigned.class_ids, classes.shape[1]).to(classes.dtype)
    is_class = is_class * (1 - settings.label_smoothing) + settings.label_smoothing / 2
    return torch.stack(
        (
            (1 - quality).sum(),
            _bce_sum(objectness, _objectness_target(objectness, assigned, quality), settings.obj_positive_weight),
            _bce_sum(classes, is_class, settings.cls_positive_weight, context.class_weights),
        )
    )


def _objectness_target(objectness: Tensor, assigned: Assignment, quality: Tensor) -> Tensor:
    """Target of each cell, (B, A, ny, nx): the CIoU of its assigned prediction, detached and at least 0, else 0.

    Where several assignments share a cell the last one counts.
    """
    _, anchors, ny, nx = objectness.shape
    cell = ((assigned.image * anchors + assigned.anchor) * ny + assigned.row) * nx + assigned.column
    order = torch.arange(len(assigned), device=cell.device)
    last = torch.zeros(objectness.numel(), dtype=torch.int64, device=cell.device).scatter_reduce(0, cell, order, "amax")
    # All assignments to a cell write the same value: the order of writing, which devices leave open, does not matter.
    target = torch.zeros_like(objectness).flatten()
    return target.scatter(0, cell, quality.detach().clamp(min=0)[last[cell]]).view_as(objectness)


def _bce_sum(
    logits: Tensor, target: Tensor, positive_weight: float, class_weights: Sequence[float] | None = None
) -> Tensor:
    positive = logits.new_tensor(positive_weight)
    weight = None if class_weights is None else logits.new_tensor(class_weights)
    return F.binary_cross_entropy_with_logits(logits, target, weight, pos_weight=positive, reduction="sum")


@dataclass(frozen=True)
class Assignment:
    """The predictions of one level that are assigned to a labelled box, one row each.

    They are ordered by offset block (own cell, left, up, right, down), then anchor, then target.

    Attributes:
        image: (P,) int64, position in the batch.
        anchor: (P,) int64, index among the level's anchors.
        row: (P,) int64, cell index in 0..ny-1.
        column: (P,) int64, cell index in 0..nx-1.
        boxes_cxcywh: (P, 4), the box to predict in cells, its centre relative to the corner of the assigned cell.
        anchor_wh: (P, 2), the anchor's size in cells.
        class_ids: (P,) int64.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    boxes_cxcywh: Tensor
    anchor_wh: Tensor
    class_ids: Tensor

    def __len__(self) -> int:
        return len(self.image)


def assign(
    targets: Targets, anchors: Tensor, grids: Sequence[tuple[int, int]], anchor_threshold: float
) -> list[Assignment]:
    """Assign labelled boxes to the predictions of each level.

    Args:
        targets: the labelled boxes of the batch.
        anchors: (levels, A, 2) widths and heights in cells of their level.
        grids: (ny, nx) of each level.
        anchor_threshold: an anchor is a candidate when max(w/aw, aw/w, h/ah, ah/h) is below this.
    """
    return [
        _assign_level(targets, level_anchors, grid, anchor_threshold)
        for level_anchors, grid in zip(anchors, grids, strict=True)
    ]


def _assign_level(targets: Targets, anchors: Tensor, grid: tuple[int, int], threshold: float) -> Assignment:
    ny, nx = grid
    boxes = targets.boxes_cxcywh.to(anchors.dtype) * anchors.new_tensor((nx, ny, nx, ny))  # (T, 4) in cells
    ratio = boxes[None, :, 2:] / anchors[:, None, :]  # (A, T, 2)
    candidate = torch.maximum(ratio, 1 / ratio).amax(dim=-1) < threshold
    anchor, target = candidate.nonzero(as_tuple=True)  # in the order of anchor, then target

    chosen, cells = _cells(boxes[target, :2], grid)
    anchor, target = anchor[chosen], target[chosen]
    return Assignment(
        image=targets.image_index[target],
        anchor=anchor,
        row=cells[:, 1],
        column=cells[:, 0],
        boxes_cxcywh=torch.cat((boxes[target, :2] - cells, boxes[target, 2:]), dim=1),
        anchor_wh=anchors[anchor],
        class_ids=targets.class_ids[target],
    )


def _cells(centres: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Which of the (C, 2) ``centres`` each assignment is for, (P,), and its (column, row), (P, 2)."""
    ny, nx = grid
    size = centres.new_tensor((nx, ny))
    from_far_edge = size - centres
    left_up = (centres % 1 < 0.5) & (centres > 1)
    right_down = (from_far_edge % 1 < 0.5) & (from_far_edge > 1)
    own = torch.ones_like(left_up[:, :1])
    block, chosen = torch.cat((own, left_up, right_down), dim=1).T.nonzero(as_tuple=True)

    # A neighbour is the cell that contains the centre moved by half a cell. A centre exactly on a border between cells
    # is near both of them: the far one is then its own cell again, and never a cell that its prediction cannot reach.
    moves = centres.new_tensor(((0, 0), (-0.5, 0), (0, -0.5), (0.5, 0), (0, 0.5)))
    cells = (centres[chosen] + moves[block]).floor().clamp(min=0)
    return chosen, torch.minimum(cells, size - 1).long()
