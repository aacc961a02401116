"""Gradients of one image through attention against float64, and gradients in one piece."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from regard.nn.gradients import contiguous_gradient
from regard.nn.position_attention import PositionAttention


def gradient_norm(layer: nn.Module, x: Tensor) -> float:
    layer(x).square().sum().backward()
    return float(sum(p.grad.double().square().sum() for p in layer.parameters() if p.grad is not None)) ** 0.5


@pytest.mark.parametrize("areas", [1, 4])
def test_one_image_has_the_gradients_of_float64(areas: int) -> None:
    layer = PositionAttention(24, 2, 1.0, areas, 7).eval()
    x = torch.randn(1, 24, 8, 6)
    exact = gradient_norm(deepcopy(layer).double(), x.double())
    assert gradient_norm(layer, x) == pytest.approx(exact, rel=1e-4)


def test_a_permuted_gradient_arrives_in_one_piece() -> None:
    seen: list[bool] = []
    x = torch.randn(2, 3, 5, requires_grad=True)
    before = x * 1
    before.register_hook(lambda gradient: seen.append(gradient.is_contiguous()))
    contiguous_gradient(before).transpose(1, 2).reshape(2, 15).mul(torch.arange(15.0)).sum().backward()
    assert seen == [True]
    assert x.grad is not None
    assert torch.equal(x.grad[0], torch.arange(15.0).view(5, 3).T)
