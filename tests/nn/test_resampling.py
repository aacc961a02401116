"""Space to depth and CARAFE, position by position."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from regard.errors import RegardError
from regard.nn.conv import Focus
from regard.nn.resampling import CARAFE, SpaceToDepth, SPDConv


def test_phases_by_loops() -> None:
    x = torch.rand(2, 3, 9, 15)
    y = SpaceToDepth(3, 3)(x)
    assert y.shape == (2, 27, 3, 5)
    for row in range(3):
        for column in range(3):
            block = 3 * (row + 3 * column)
            assert torch.equal(y[:, block : block + 3], x[:, :, row::3, column::3])
    focus = Focus(3, 5).eval()
    assert torch.equal(focus.conv(SpaceToDepth(3)(x[..., :8, :14])), focus(x[..., :8, :14]))
    with pytest.raises(RegardError, match="scale is 0"):
        SpaceToDepth(3, 0)


def test_the_block_in_place_of_a_strided_convolution() -> None:
    layer = SPDConv(3, 5).eval()
    x = torch.rand(2, 3, 6, 10)
    assert torch.equal(layer(x), layer.conv(SpaceToDepth(3)(x)))
    assert layer(x).shape == (2, 5, 3, 5)


@pytest.mark.parametrize(("k_up", "scale"), [(3, 2), (5, 3)])
def test_carafe_by_loops(k_up: int, scale: int) -> None:
    layer = CARAFE(3, 3, k_up, 7, scale).double()
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    scores = layer.encode(layer.compress(x))
    padded = functional.pad(x, [k_up // 2] * 4)
    y = torch.zeros(2, 3, 4 * scale, 5 * scale, dtype=torch.float64)
    for image in range(2):
        for i in range(4 * scale):
            for j in range(5 * scale):
                row, column = i // scale, j // scale
                own = (i % scale) * scale + j % scale  # which kernel of this position
                kernel = scores[image, own :: scale**2, row, column].softmax(0).view(k_up, k_up)
                y[image, :, i, j] = (padded[image, :, row : row + k_up, column : column + k_up] * kernel).sum((1, 2))
    assert torch.allclose(layer(x), y)


@pytest.mark.parametrize("wrong", [{"kernel_up": 4}, {"kernel_encoder": 2}, {"hidden": 0}, {"scale": 0}])
def test_carafe_rejects_what_it_cannot_do(wrong: dict[str, int]) -> None:
    with pytest.raises(RegardError, match="CARAFE"):
        CARAFE(8, **wrong)
