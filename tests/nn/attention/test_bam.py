from __future__ import annotations

import pytest
import torch
from slow import batch_norm, convolve
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.bam import BAM


def run(layers: nn.Sequential, x: Tensor) -> Tensor:
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            x = convolve(x, layer)
        elif isinstance(layer, nn.BatchNorm2d):
            x = batch_norm(x, layer)
        elif isinstance(layer, nn.ReLU):
            x = x.clamp(min=0)
        else:
            x = x.mean((2, 3), keepdim=True)
    return x


def test_by_loops() -> None:
    module, x = BAM(6, 2, 3).double().eval(), torch.randn(2, 6, 7, 11, dtype=torch.float64)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.2 if tensor.ndim == 1 else -0.7, 0.9)
    weights = 1 + 1 / (1 + torch.exp(-run(module.channel_attention, x) - run(module.spatial_attention, x)))
    assert torch.allclose(module.attention(x).weights, weights)
    assert torch.allclose(module(x), x * weights)


def test_sees_as_far_as_the_dilation_says() -> None:
    module = BAM(2, 1, 3).double().eval()
    x = torch.randn(1, 2, 17, 17, dtype=torch.float64, requires_grad=True)
    (seen,) = torch.autograd.grad(module.spatial_attention(x)[0, 0, 8, 8], x)
    rows = seen.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
    assert rows
    assert set(rows) <= {2, 5, 8, 11, 14}


def test_options() -> None:
    assert [BAM(c).hidden for c in (1, 64, 256)] == [4, 4, 16]
    for options in ({"reduction": 0}, {"dilation": 0}):
        with pytest.raises(RegardError, match="is too small"):
            BAM(8, **options)
