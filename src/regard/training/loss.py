"""The YOLOv5 v6 detection loss: CIoU for boxes, binary cross-entropy for objectness and classes.

Each part is a mean over its level, weighted, and summed over the levels (there is no paper; CIoU is arXiv:1911.08287).
Every mean is a local sum divided by a count over all processes, so that processes that average their gradients compute
what one process would on all their images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.boxes import ciou
from regard.config import LossSettings
from regard.errors import RegardError
from regard.training.assign import Assignment, assign
from regard.types import Targets


@dataclass(frozen=True)
class DetectionLoss:
    """The loss of one batch.

    In several processes each value is this process's share times their number: the mean over the processes is the
    value of the whole batch.

    Attributes:
        total: scalar to differentiate, (box + obj + cls) times the images in the whole batch.
        box: scalar, detached, after gains.
        obj: scalar, detached, after gains.
        cls: scalar, detached, after gains.
        positives: how many positives this process had on each level.
    """

    total: Tensor
    box: Tensor
    obj: Tensor
    cls: Tensor
    positives: tuple[int, ...]


def identity_reduce(counts: Tensor) -> Tensor:
    """Return ``counts`` as they are: their sum over the processes when there is only one."""
    return counts


def detection_loss(
    raw: Sequence[Tensor],
    targets: Targets,
    anchors: Tensor,
    settings: LossSettings,
    image_size: int,
    sum_over_processes: Callable[[Tensor], Tensor] = identity_reduce,
) -> DetectionLoss:
    """Return the loss of one batch, computed in float32 or better whatever the precision of ``raw``.

    It reaches every element of ``raw``'s objectness, so that a batch without any box trains too.

    Args:
        raw: per level (B, A, ny, nx, 5 + nc): x, y, w, h, objectness, classes before the sigmoid.
        targets: the labelled boxes of the batch.
        anchors: (levels, A, 2) widths and heights in cells of their level.
        settings: gains and thresholds.
        image_size: the input size in pixels by which objectness is weighted, (size / 640)^2.
        sum_over_processes: returns the sum of an int64 vector over all processes; called once.

    Raises:
        RegardError: there are more levels than the loss has weights for.
    """
    anchors = _at_least_float32(anchors)
    grids = [(level.shape[2], level.shape[3]) for level in raw]
    positives = assign(targets, anchors, grids, settings.anchor_threshold)
    sums = torch.stack([_level_sums(*pair, settings) for pair in zip(raw, positives, strict=True)])  # (levels, 3)

    counts = sum_over_processes(_counts(raw, positives))
    processes, images, of_each_mean = counts[0], counts[1], counts[2:].view(-1, 3)
    weights = sums.new_tensor(_weights(len(raw), raw[0].shape[-1] - 5, settings, image_size))  # (levels, 3)
    parts = processes * (weights * sums / of_each_mean.clamp(min=1)).sum(dim=0)
    box, obj, cls = parts.detach().unbind()
    return DetectionLoss(images * parts.sum(), box, obj, cls, tuple(len(found) for found in positives))


def level_balance(levels: int) -> tuple[float, ...]:
    """Return the weight of each level's objectness, finest level first.

    Three and four levels as YOLOv5; five continue its fall by a factor of four; a single one weighs 1.

    Raises:
        RegardError: ``levels`` is not 1..5.
    """
    balance = {
        1: (1.0,),
        2: (4.0, 1.0),
        3: (4.0, 1.0, 0.4),
        4: (4.0, 1.0, 0.25, 0.06),
        5: (4.0, 1.0, 0.25, 0.06, 0.015),
    }
    if levels not in balance:
        raise RegardError(f"the model has {levels} detection levels", expected="1 to 5")
    return balance[levels]


def _counts(raw: Sequence[Tensor], positives: Sequence[Assignment]) -> Tensor:
    """Return this process (1), its images, and per level what box, objectness and class loss are means over; int64."""
    counts = [1, len(raw[0])]
    for level, found in zip(raw, positives, strict=True):
        counts += [len(found), level[..., 4].numel(), len(found) * (level.shape[-1] - 5)]
    return torch.tensor(counts, device=raw[0].device)


def _weights(levels: int, classes: int, settings: LossSettings, image_size: int) -> list[tuple[float, float, float]]:
    """Return for each level what its mean box, objectness and class loss are multiplied by."""
    share = 3 / levels
    box = settings.box * share
    obj = settings.obj * share * (image_size / 640) ** 2
    cls = settings.cls * share * classes / 80 if classes > 1 else 0.0  # a single class needs no telling apart
    return [(box, obj * balance, cls) for balance in level_balance(levels)]


def _level_sums(raw: Tensor, positives: Assignment, settings: LossSettings) -> Tensor:
    """Return the sums of box, objectness and class loss over one level's positives and cells, (3,)."""
    chosen = _at_least_float32(raw[positives.image, positives.anchor, positives.row, positives.column])  # (P, 5 + nc)
    objectness, classes = _at_least_float32(raw[..., 4]), chosen[:, 5:]
    quality = ciou(_boxes_in_cells(chosen[:, :4], positives.anchor_wh), positives.boxes_cxcywh)

    is_class = F.one_hot(positives.class_ids, classes.shape[1]).to(classes.dtype)
    is_class = is_class * (1 - settings.label_smoothing) + settings.label_smoothing / 2
    return torch.stack(
        (
            (1 - quality).sum(),
            _bce_sum(objectness, _objectness_target(objectness, positives, quality), settings.obj_positive_weight),
            _bce_sum(classes, is_class, settings.cls_positive_weight),
        )
    )


def _boxes_in_cells(raw_cxcywh: Tensor, anchor_wh: Tensor) -> Tensor:
    """Decode (P, 4) raw boxes to cells, the centre relative to the corner of the predicting cell."""
    s = raw_cxcywh.sigmoid()
    return torch.cat((2 * s[:, :2] - 0.5, (2 * s[:, 2:]).square() * anchor_wh), dim=1)


def _objectness_target(objectness: Tensor, positives: Assignment, quality: Tensor) -> Tensor:
    """Return the target of each cell, (B, A, ny, nx): the CIoU of its positive, detached and at least 0, else 0.

    Where several positives share a cell the last one counts.
    """
    _, anchors, ny, nx = objectness.shape
    cell = ((positives.image * anchors + positives.anchor) * ny + positives.row) * nx + positives.column
    order = torch.arange(len(positives), device=cell.device)
    last = torch.zeros(objectness.numel(), dtype=torch.int64, device=cell.device).scatter_reduce(0, cell, order, "amax")
    # All positives of a cell write the same value: the order of writing, which devices leave open, does not matter.
    target = torch.zeros_like(objectness).flatten()
    return target.scatter(0, cell, quality.detach().clamp(min=0)[last[cell]]).view_as(objectness)


def _bce_sum(logits: Tensor, target: Tensor, positive_weight: float) -> Tensor:
    weight = logits.new_tensor(positive_weight)
    return F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction="sum")


def _at_least_float32(x: Tensor) -> Tensor:
    # Enough under autocast too, which lowers the precision of matrix products and convolutions alone: none is here.
    return x.to(torch.promote_types(x.dtype, torch.float32))
