"""Overlap of boxes on tensors: the same on every device, and differentiable."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def ciou(a_cxcywh: Tensor, b_cxcywh: Tensor, eps: float = 1e-7) -> Tensor:
    """Measure the complete IoU of each box of ``a`` with the box of ``b`` in the same place.

    CIoU = IoU - d^2 / c^2 - alpha * v, with d the distance between the centres, c the diagonal of the smallest box
    around both, v = 4 / pi^2 * (atan(w_b / h_b) - atan(w_a / h_a))^2 and alpha = v / (1 - IoU + v), which passes no
    gradient. ``torchvision.ops.complete_box_iou_loss`` is one minus the same, but it is NaN for a box without height,
    which a prediction can shrink to, and it waits for the device to mask boxes that do not overlap.

    Args:
        a_cxcywh: (..., 4) boxes.
        b_cxcywh: (..., 4) boxes in the same unit.
        eps: added to the denominators.

    Returns:
        (...), in -2..1: 1 for equal boxes, negative for distant ones.

    Source: Zheng et al., Distance-IoU Loss, arXiv:1911.08287, equations 8 to 11.

    Example:
        >>> box = torch.tensor([[0.5, 0.5, 1.0, 1.0]])
        >>> round(ciou(box, box).item(), 4)
        1.0
    """
    centre_a, size_a = a_cxcywh.chunk(2, dim=-1)
    centre_b, size_b = b_cxcywh.chunk(2, dim=-1)
    (low_a, high_a), (low_b, high_b) = _corners(a_cxcywh), _corners(b_cxcywh)

    overlap = _area((torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0))
    iou = overlap / (_area(size_a) + _area(size_b) - overlap + eps)

    distance = (centre_a - centre_b).square().sum(-1)
    diagonal = (torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)).square().sum(-1)

    v = 4 / math.pi**2 * (_slope(size_b, eps) - _slope(size_a, eps)).square()
    alpha = (v / (1 - iou + v + eps)).detach()
    return iou - distance / (diagonal + eps) - alpha * v


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    centre, size = boxes.chunk(2, dim=-1)
    return centre - size / 2, centre + size / 2


def _area(wh: Tensor) -> Tensor:
    return wh[..., 0] * wh[..., 1]


def _slope(wh: Tensor, eps: float) -> Tensor:
    return torch.atan(wh[..., 0] / (wh[..., 1] + eps))
