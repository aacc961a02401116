"""Gradients of one image through attention against float64, and gradients in one piece."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

import regard
from regard.nn.gradients import contiguous_gradient, with_gradient
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


NAMES = (
    *("yolov8n", "yolov8n-p2", "yolov8n-p6", "yolov8n-ghost", "yolov9t", "yolov10n", "yolo11n", "yolo12n"),
    *("yolo26n", "yolo26n-p2", "yolo26n-p6", "yolov5n"),
)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NAMES)
def test_one_image_has_the_gradients_of_float64_in_every_layer(
    name: str, mode: str, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    model = regard.load(name).train()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.train(mode == "train")
    x = torch.rand(1, 3, 128, 192)
    twin = deepcopy(model).double()
    for norm in twin.modules():
        if isinstance(norm, nn.BatchNorm2d):  # float64 has the fault too
            norm.register_forward_hook(lambda _module, _inputs, y: with_gradient(y, Tensor.contiguous))
    weights = [torch.randn(level.shape) for level in model(x)]

    def gradients(detector: nn.Module, image: Tensor) -> dict[str, Tensor]:
        levels = detector(image)
        sum((level * w.to(level.dtype)).sum() for level, w in zip(levels, weights, strict=True)).backward()
        return {key: p.grad.double() for key, p in detector.named_parameters() if p.grad is not None}

    found = gradients(model.to(memory_format=layout), x.to(memory_format=layout))
    exact = gradients(twin, x.double())
    whole = float(torch.stack([g.square().sum() for g in exact.values()]).sum().sqrt())
    for key, gradient in exact.items():
        error = float((found[key] - gradient).norm())
        assert error < 1e-2 * float(gradient.norm()) + 1e-8 * whole, key
