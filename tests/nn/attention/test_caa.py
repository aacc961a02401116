from __future__ import annotations

import pytest
import torch
from slow import convolve

from regard.errors import RegardError
from regard.nn.attention.caa import CAA


def test_by_loops() -> None:
    module, x = CAA(3, 5).double(), torch.randn(2, 3, 7, 11, dtype=torch.float64)
    _, first, along, down, last = module.layers
    means = torch.zeros_like(x)
    for i in range(7):
        for j in range(11):  # places outside of the map count as zeros
            means[:, :, i, j] = x[:, :, max(0, i - 3) : i + 4, max(0, j - 3) : j + 4].sum((2, 3)) / 49
    y = convolve(means, first)
    strip = torch.zeros_like(y)
    for t in range(5):
        for j in range(11):
            if 0 <= j + t - 2 < 11:
                strip[..., j] += along.weight[:, 0, 0, t, None] * y[..., j + t - 2]
    y, strip = strip + along.bias[:, None, None], torch.zeros_like(y)
    for t in range(5):
        for i in range(7):
            if 0 <= i + t - 2 < 7:
                strip[..., i, :] += down.weight[:, 0, t, 0, None] * y[..., i + t - 2, :]
    weights = 1 / (1 + torch.exp(-convolve(strip + down.bias[:, None, None], last)))
    torch.testing.assert_close(module(x), x * weights, rtol=0, atol=1e-12)


def test_options() -> None:
    with pytest.raises(RegardError, match="kernel_size 6"):
        CAA(8, 6)
