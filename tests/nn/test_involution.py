"""Involution by loops over positions, channels and neighbours."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from regard.errors import RegardError
from regard.nn.involution import Involution


@pytest.mark.parametrize("stride", [1, 2])
def test_involution_by_loops(stride: int) -> None:
    layer = Involution(6, 3, stride, group_channels=2, reduction=2).double().eval()
    layer.reduce[1].running_mean.normal_()  # type: ignore[union-attr, operator]
    x = torch.randn(2, 6, 4, 10, dtype=torch.float64)
    source = functional.avg_pool2d(x, stride) if stride > 1 else x
    kernels = layer.span(layer.reduce(source))
    padded = functional.pad(x, (1, 1, 1, 1))
    y = torch.zeros(2, 6, 4 // stride, 10 // stride, dtype=torch.float64)
    for c in range(6):
        own = kernels[:, 9 * (c // 2) : 9 * (c // 2) + 9]
        for i in range(4 // stride):
            for j in range(10 // stride):
                patch = padded[:, c, i * stride : i * stride + 3, j * stride : j * stride + 3]
                y[:, c, i, j] = (patch.flatten(1) * own[:, :, i, j]).sum(1)
    assert torch.allclose(layer(x), y)


def test_what_it_cannot_do() -> None:
    assert Involution(5).groups == 1
    for wrong in ({"kernel_size": 4}, {"stride": 0}, {"group_channels": 5}):
        with pytest.raises(RegardError, match="Involution"):
            Involution(16, **wrong)
