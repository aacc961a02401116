from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from regard.errors import RegardError
from regard.nn.attention.convolution import ConvolutionAsAttention


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 9), (2, 3), (11, 17)])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 5, "padding": "same", "bias": False},
        {"kernel_size": 7, "padding": 3, "groups": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 6},
    ],
)
def test_is_the_convolution_borders_included(options: dict[str, Any], size: tuple[int, int]) -> None:
    conv, x = nn.Conv2d(6, 12, **options).double(), torch.randn(2, 6, *size, dtype=torch.float64)
    torch.testing.assert_close(ConvolutionAsAttention.from_conv(conv)(x), conv(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        ConvolutionAsAttention.from_conv(conv.float())(x.float()), conv(x.float()), rtol=0, atol=1e-5
    )


def test_each_head_looks_at_one_place_or_off_the_map() -> None:
    block = ConvolutionAsAttention.from_conv(nn.Conv2d(2, 3, 3, padding=1))
    for row, column in ((0, 0), (2, 3), (4, 6)):
        weights = block.attention(torch.zeros(2, 2, 5, 7), (row, column)).weights
        assert weights.shape == (2, 9, 1, 5, 7)
        for head in range(9):
            y, x = row + head // 3 - 1, column + head % 3 - 1
            expected = torch.zeros(5, 7)
            if 0 <= y < 5 and 0 <= x < 7:
                expected[y, x] = 1
            assert torch.equal(weights[0, head, 0], expected)


def test_is_softmax_over_all_pairs_of_the_map_and_its_ring() -> None:
    """By the paper's equation, pair by pair, with nothing taken apart into rows and columns."""
    block, x = ConvolutionAsAttention(2, out_channels=3).double(), torch.randn(1, 2, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        block.centre.normal_()
        block.alpha.uniform_(0.1, 2)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    keys = [(y, z) for y in range(-1, 5) for z in range(-1, 4)]
    for i in range(4):
        for j in range(3):
            heads = []
            for head in range(9):
                row, column = block.centre[head].tolist()
                exponents = [
                    math.exp(-block.alpha[head].item() * ((y - i - row) ** 2 + (z - j - column) ** 2)) for y, z in keys
                ]
                weights = torch.tensor(exponents, dtype=torch.float64) / sum(exponents)
                heads.append((padded[0].flatten(1) * weights).sum(1))
                found = block.attention(x, (i, j)).weights[0, head, 0]
                torch.testing.assert_close(found, weights.view(6, 5)[1:-1, 1:-1], rtol=0, atol=1e-12)
            torch.testing.assert_close(block(x)[0, :, i, j], block.out(torch.cat(heads)), rtol=0, atol=1e-12)


def test_approaches_the_convolution_as_fast_as_the_next_best_neighbour_fades() -> None:
    conv, x = nn.Conv2d(4, 4, 3, padding=1).double(), torch.randn(1, 4, 9, 8, dtype=torch.float64)
    errors = [(ConvolutionAsAttention.from_conv(conv, a)(x) - conv(x)).abs().max().item() for a in (8.0, 12.0, 16.0)]
    for wide, narrow in pairwise(errors):
        assert math.log(wide / narrow) == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernel_size": 2}, "odd kernel"),
        ({"kernel_size": (3, 5), "padding": (1, 2)}, "square kernel"),
        ({"kernel_size": 3, "padding": 1, "stride": 2}, "stride 1"),
        ({"kernel_size": 3}, "padding=1"),
        ({"kernel_size": 3, "padding": (1, 0)}, "padding=1"),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, "padding_mode='zeros'"),
        ({"kernel_size": 3, "padding": (1, 2), "dilation": (1, 2)}, "same dilation"),
    ],
)
def test_other_convolutions_are_rejected(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RegardError) as error:
        ConvolutionAsAttention.from_conv(nn.Conv2d(2, 2, **options))
    assert said in str(error.value)


def test_options_are_checked() -> None:
    with pytest.raises(RegardError, match="kernel 2 is not odd"):
        ConvolutionAsAttention(4, 2)
    with pytest.raises(RegardError, match="dilation 0"):
        ConvolutionAsAttention(4, dilation=0)
