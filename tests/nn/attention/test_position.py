from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.position import (
    POSITIONS,
    Conditional,
    Learned,
    Position,
    Relative,
    Rotary,
    Sinusoidal,
    choose_position,
    sinusoid,
)
from regard.nn.attention.self_attention import MultiHeadSelfAttention


def test_sinusoid_by_hand() -> None:
    # four channels: wavelengths 2 pi and 2 pi * 100, sines first
    expected = [[math.sin(p), math.sin(p / 100), math.cos(p), math.cos(p / 100)] for p in (0, 1, 2)]
    found = sinusoid(torch.arange(3, dtype=torch.float64), 4)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_sinusoidal_tells_the_row_in_the_first_half_and_the_column_in_the_second() -> None:
    found = Sinusoidal(8).on_map(torch.zeros(2, 8, 3, 5))
    for row in range(3):
        for column in range(5):
            here = [f(p / r) for p in (row, column) for f in (math.sin, math.cos) for r in (1, 100)]
            expected = torch.tensor(here).expand(2, 8)
            # the table is made in float32, whose sine is off by some 1e-7
            torch.testing.assert_close(found[:, :, row, column], expected, rtol=0, atol=1e-6)


def test_learned_is_the_table_at_its_own_size_and_interpolated_at_others() -> None:
    position, x = Learned(3, side=5).double(), torch.randn(2, 3, 5, 5, dtype=torch.float64)
    assert torch.equal(position.on_map(x), x + position.table)
    flat = position.on_map(torch.zeros(1, 3, 1, 1, dtype=torch.float64))
    torch.testing.assert_close(flat, position.table[:, :, 2:3, 2:3].double(), rtol=0, atol=1e-12)
    ramp = torch.arange(5, dtype=torch.float64)
    with torch.no_grad():
        position.table.copy_(ramp.expand(1, 3, 5, 5))
    # cell centres at (i + 1/2) / 10 of the width: half way between the table's, and held at its ends
    between = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4]
    found = position.on_map(torch.zeros(1, 3, 2, 10, dtype=torch.float64))[0, 0]
    torch.testing.assert_close(found, torch.tensor([between] * 2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_conditional_is_a_depth_wise_convolution_added() -> None:
    position, x = Conditional(3).double(), torch.randn(2, 3, 5, 7, dtype=torch.float64)
    for c in range(3):
        kernel, bias = position.conv.weight[c : c + 1], position.conv.get_parameter("bias")[c : c + 1]
        expected = x[:, c : c + 1] + F.conv2d(x[:, c : c + 1], kernel, bias, padding=1)
        torch.testing.assert_close(position.on_map(x)[:, c : c + 1], expected, rtol=0, atol=1e-12)


def test_rotary_by_complex_numbers() -> None:
    q, size = torch.randn(2, 3, 35, 8, dtype=torch.float64), (5, 7)
    found = Rotary(8).on_heads(q, size)
    for row in range(5):
        for column in range(7):
            # base 100 and two pairs each: the first turns by 1 a step, the second by 1 / 10
            angles = torch.tensor([row, row / 10, column, column / 10], dtype=torch.float64)
            turned = torch.complex(*q[:, :, row * 7 + column].chunk(2, -1)) * torch.polar(
                torch.ones_like(angles), angles
            )
            expected = torch.cat((turned.real, turned.imag), -1)
            torch.testing.assert_close(found[:, :, row * 7 + column], expected, rtol=0, atol=1e-12)


def scores_of_constant_vectors(size: tuple[int, int]) -> Tensor:
    """q . k of every pair of positions, one vector being everywhere the query and one the key: (H, W, H, W)."""
    generator = torch.Generator().manual_seed(1)
    q, k = (torch.randn(8, dtype=torch.float64, generator=generator).expand(1, 1, math.prod(size), -1) for _ in "qk")
    rotary = Rotary(8)
    return (rotary.on_heads(q, size) @ rotary.on_heads(k, size).mT).view(*size, *size)


def test_rotary_scores_depend_on_the_offset_alone() -> None:
    scores = scores_of_constant_vectors((5, 7))
    torch.testing.assert_close(scores[:-2, :-3, :-2, :-3], scores[2:, 3:, 2:, 3:], rtol=0, atol=1e-12)
    assert (scores[0, 0] - scores[0, 0, 0, 0]).abs().flatten()[1:].min() > 1e-3
    small = scores_of_constant_vectors((3, 2))  # and not on the map's size
    torch.testing.assert_close(small, scores[:3, :2, :3, :2], rtol=0, atol=1e-12)


def test_relative_by_slow_loop() -> None:
    position = Relative(2, reach=2)
    scores = position.on_scores((4, 5))
    assert scores.shape == (2, 20, 20)
    for i in range(20):
        for j in range(20):
            down, right = (max(-2, min(2, step)) for step in (j // 5 - i // 5, j % 5 - i % 5))
            assert torch.equal(scores[:, i, j], position.table[:, down + 2, right + 2])


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 9), (23, 21)])
@pytest.mark.parametrize("name", POSITIONS)
def test_any_size_and_dtype(name: str, size: tuple[int, int]) -> None:
    attention = MultiHeadSelfAttention(16, positions=name)
    assert attention(torch.randn(2, 16, *size)).shape == (2, 16, *size)
    assert attention.bfloat16()(torch.randn(2, 16, *size).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("name", POSITIONS)
def test_every_position_breaks_permutation_equivariance_and_none_keeps_it(name: str) -> None:
    attention = MultiHeadSelfAttention(16, positions=name).double()
    x, order = torch.randn(2, 16, 3, 5, dtype=torch.float64), torch.randperm(15)

    def shuffle(a: Tensor) -> Tensor:
        return a.flatten(2)[:, :, order].view_as(a)

    difference = (attention(shuffle(x)) - shuffle(attention(x))).abs().max()
    if name == "none":
        assert difference < 1e-12
    else:
        assert difference > 1e-5


@pytest.mark.parametrize("name", [name for name in POSITIONS if name != "none"])
def test_what_a_position_learns_gets_a_gradient(name: str) -> None:
    attention = MultiHeadSelfAttention(16, positions=name)
    attention(torch.randn(2, 16, 3, 5)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in attention.position.parameters())
    assert (sum(p.numel() for p in attention.position.parameters()) > 0) == (name not in ("sinusoidal", "rotary"))


def test_none_acts_nowhere() -> None:
    position, x = choose_position("none", 7, 1), torch.randn(2, 7, 3, 5)
    assert type(position) is Position
    assert position.on_map(x) is x
    assert position.on_heads(x, (3, 5)) is x
    assert position.on_scores((3, 5)) is None


def test_what_cannot_be_built() -> None:
    with pytest.raises(RegardError, match="unknown positions 'rotray'") as caught:
        choose_position("rotray", 16, 4)
    assert "rotary" in str(caught.value.hint)
    for name, channels, heads in (("sinusoidal", 6, 1), ("rotary", 24, 4)):
        with pytest.raises(RegardError, match=f"{name} positions .* 6 channels") as caught:
            choose_position(name, channels, heads)
        assert caught.value.expected == "a multiple of 4 channels, such as 4 or 8"
    with pytest.raises(RegardError) as caught:
        choose_position("sinusoidal", 3, 1)
    assert caught.value.expected == "a multiple of 4 channels, such as 4"
