from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert, complete_box_iou_loss

from regard.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from regard.geometry.iou import ciou


def random_boxes(n: int) -> Tensor:
    return torch.cat((torch.rand(n, 2) * 5, torch.rand(n, 2) * 3 + 0.1), 1).double()


def slow_ciou(a: Sequence[float], b: Sequence[float], alpha: float | None = None) -> tuple[float, float]:
    """Equations 8 to 11 of the paper, number by number; ``alpha`` holds it fixed. Returns CIoU and alpha."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    width = max(0.0, min(ax + aw / 2, bx + bw / 2) - max(ax - aw / 2, bx - bw / 2))
    height = max(0.0, min(ay + ah / 2, by + bh / 2) - max(ay - ah / 2, by - bh / 2))
    iou = width * height / (aw * ah + bw * bh - width * height)
    around_w = max(ax + aw / 2, bx + bw / 2) - min(ax - aw / 2, bx - bw / 2)
    around_h = max(ay + ah / 2, by + bh / 2) - min(ay - ah / 2, by - bh / 2)
    v = 4 / math.pi**2 * (math.atan(bw / bh) - math.atan(aw / ah)) ** 2
    alpha = v / (1 - iou + v) if alpha is None else alpha
    return iou - ((ax - bx) ** 2 + (ay - by) ** 2) / (around_w**2 + around_h**2) - alpha * v, alpha


def test_corners_by_hand_and_by_torchvision() -> None:
    assert cxcywh_to_xyxy(torch.tensor([5.0, 7.0, 2.0, 6.0])).tolist() == [4, 4, 6, 10]
    boxes = torch.randn(2, 3, 4)
    torch.testing.assert_close(cxcywh_to_xyxy(boxes), box_convert(boxes, "cxcywh", "xyxy"))
    assert cxcywh_to_xyxy(torch.empty(0, 4)).shape == (0, 4)


def test_ciou_by_hand() -> None:
    boxes = torch.tensor([[3.0, 5.0, 2.0, 7.0], [0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]).double()
    others = torch.tensor([[3.0, 5.0, 2.0, 7.0], [4.0, 3.0, 2.0, 2.0], [2.0, 1.0, 2.0, 2.0]]).double()
    # equal; apart, d^2 = 25 and c^2 = 6^2 + 5^2; half overlapping, IoU = 2/6, d^2 = 1, c^2 = 9 + 4
    expected = torch.tensor([1.0, -25 / 61, 1 / 3 - 1 / 13]).double()
    torch.testing.assert_close(ciou(boxes, others), expected, atol=1e-6, rtol=0)


def test_ciou_against_plain_python_and_torchvision() -> None:
    a, b = random_boxes(53), random_boxes(53)
    expected = torch.tensor([slow_ciou(p, q)[0] for p, q in zip(a.tolist(), b.tolist(), strict=True)]).double()
    torch.testing.assert_close(ciou(a, b), expected, atol=1e-5, rtol=0)
    library = 1 - complete_box_iou_loss(cxcywh_to_xyxy(a), cxcywh_to_xyxy(b))
    torch.testing.assert_close(ciou(a, b), library, atol=1e-5, rtol=0)


def test_ciou_gradient_holds_alpha_fixed() -> None:
    a, b = random_boxes(29), random_boxes(29)
    a.requires_grad_()
    (gradient,) = torch.autograd.grad(ciou(a, b).sum(), a)
    step = 1e-6
    for p, q, row in zip(a.tolist(), b.tolist(), gradient.tolist(), strict=True):
        alpha = slow_ciou(p, q)[1]
        for i in range(4):
            up, down = ([x + sign * step * (j == i) for j, x in enumerate(p)] for sign in (1, -1))
            slope = (slow_ciou(up, q, alpha)[0] - slow_ciou(down, q, alpha)[0]) / (2 * step)
            assert row[i] == pytest.approx(slope, abs=1e-4)


def test_ciou_gradcheck_where_alpha_is_zero() -> None:
    size = torch.tensor([[2.0, 3.0], [1.0, 5.0], [4.0, 2.0]]).double()
    b = torch.cat((torch.rand(3, 2).double(), size * 1.3), 1)
    centre = torch.rand(3, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda c: ciou(torch.cat((c, size), 1), b), (centre,))


def test_a_box_without_area_has_finite_gradients() -> None:
    a = torch.zeros(1, 4, requires_grad=True)
    quality = ciou(a, torch.tensor([[1.0, 2.0, 3.0, 5.0]]))
    quality.sum().backward()
    assert torch.isfinite(quality).all()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


def test_no_boxes() -> None:
    assert ciou(torch.empty(0, 4), torch.empty(0, 4)).shape == (0,)


def test_box_forms_agree_with_torchvision_for_arrays_and_tensors() -> None:
    boxes = random_boxes(31)
    corners = box_convert(boxes, "cxcywh", "xyxy")
    torch.testing.assert_close(cxcywh_to_xyxy(boxes), corners)
    torch.testing.assert_close(xyxy_to_cxcywh(corners), boxes)
    np.testing.assert_allclose(cxcywh_to_xyxy(boxes.numpy()), corners.numpy())
    np.testing.assert_allclose(xyxy_to_cxcywh(corners.numpy().astype(np.float32)), boxes.numpy(), rtol=1e-5)
