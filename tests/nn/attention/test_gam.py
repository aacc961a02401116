"""The global attention mechanism by its definition, position by position."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from regard.errors import RegardError
from regard.nn.attention.gam import GAM


def example() -> tuple[GAM, Tensor]:
    module = GAM(6, 2, 3).double().eval()
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.3 if tensor.ndim == 1 else -0.7, 0.9)
    return module, torch.randn(2, 6, 5, 7, dtype=torch.float64)


def by_definition(module: GAM, x: Tensor) -> tuple[Tensor, Tensor]:
    first, _, second = module.channel_attention
    by_channel = torch.zeros_like(x)
    for i in range(5):
        for j in range(7):
            hidden = (x[:, :, i, j] @ first.weight.T + first.bias).clamp(min=0)
            by_channel[:, :, i, j] = 1 / (1 + torch.exp(-hidden @ second.weight.T - second.bias))
    y = x * by_channel
    for k in (0, 3):
        convolution, norm = module.spatial_attention[k], module.spatial_attention[k + 1]
        y = functional.conv2d(y, convolution.weight, convolution.bias, padding=1)
        mean, var, weight, bias = (
            t[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        y = (y - mean) / torch.sqrt(var + 1e-5) * weight + bias
        y = y.clamp(min=0) if k == 0 else 1 / (1 + torch.exp(-y))
    return by_channel, y


def test_by_definition() -> None:
    module, x = example()
    by_channel, by_position = by_definition(module, x)
    assert torch.allclose(module(x), x * by_channel * by_position)
    found = module.attention(x)
    assert found.kind == "elements"
    assert torch.allclose(found.weights, by_channel * by_position)


def test_a_single_value_in_training_uses_the_running_statistics() -> None:
    module, x = example()
    expected = module(x[:1, :, :1, :1])
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert torch.allclose(module.train()(x[:1, :, :1, :1]), expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_options() -> None:
    assert GAM(3).hidden == 1
    assert "one hidden unit" in GAM(3).note
    with pytest.raises(RegardError, match="reduction 0"):
        GAM(8, 0)
    with pytest.raises(RegardError, match="kernel_size 4"):
        GAM(8, 4, 4)
