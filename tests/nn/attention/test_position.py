from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.swin_transformer import ShiftedWindowAttentionV2

from regard.errors import RegardError
from regard.nn.attention.position import (
    POSITIONS,
    Conditional,
    Learned,
    LogSpaced,
    Position,
    Relative,
    Rotary,
    Sinusoidal,
    choose_position,
    sinusoid,
)
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.attention.window import WindowAttention


def test_sinusoid_by_hand() -> None:
    # four channels: wavelengths 2 pi and 2 pi * 100, sines first
    expected = [[math.sin(p), math.sin(p / 100), math.cos(p), math.cos(p / 100)] for p in (0, 1, 2)]
    found = sinusoid(torch.arange(3, dtype=torch.float64), 4)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_sinusoidal_encodes_the_row_in_the_first_half_and_the_column_in_the_second() -> None:
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
    # cell centres at (i + 1/2) / 10 of the width: half way between the table's, and constant at its ends
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


def log_cpb_by_hand(position: LogSpaced, down: int, right: int) -> Tensor:
    """2111.09883, equations 3 and 4, with the authors' scaling and bound; softmax does not see the 8 that is taken."""
    spaced = [math.copysign(math.log2(1 + 8 * abs(o) / position.reach) / math.log2(8), o) for o in (down, right)]
    hidden = (position.hidden.weight @ torch.tensor(spaced, dtype=torch.float64) + position.hidden.bias).clamp(min=0)
    return 16 / (1 + (-position.out.weight @ hidden).exp()) - 8


def test_log_cpb_by_slow_loop_within_reach_and_beyond() -> None:
    position = LogSpaced(3, reach=2).double()
    scores = position.on_scores((4, 5))
    assert scores.shape == (3, 20, 20)
    for i in range(20):
        for j in range(20):
            expected = log_cpb_by_hand(position, j // 5 - i // 5, j % 5 - i % 5)
            torch.testing.assert_close(scores[:, i, j], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", [2, 5, 7])
def test_log_cpb_is_the_bias_of_torchvision(window: int) -> None:
    position = LogSpaced(3, reach=window - 1)
    peer = ShiftedWindowAttentionV2(6, [window, window], [0, 0], 3)
    peer.cpb_mlp.load_state_dict(
        {"0.weight": position.hidden.weight, "0.bias": position.hidden.bias, "2.weight": position.out.weight}
    )
    # its offsets are of query from key, and it has the sigmoid's 8 more
    expected = peer.get_relative_position_bias()[0].transpose(1, 2) - 8
    torch.testing.assert_close(position.on_scores((window, window)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("kind", [Relative, LogSpaced])
def test_the_offsets_that_occur_have_the_bias_of_all_pairs(kind: type[Relative | LogSpaced], step: int) -> None:
    position = kind(2, 4, step).double()
    rows, columns = torch.tensor([-4, 0, 3]), torch.tensor([[4], [-1]])
    found = position.at(rows * step, columns * step)
    assert found.shape == (2, 2, 3)
    pairs = position.on_scores((5, 5)).view(2, 5, 5, 5, 5)
    for i, column in enumerate(columns.flatten().tolist()):
        for j, row in enumerate(rows.tolist()):
            query = max(0, -row), max(0, -column)
            expected = pairs[:, *query, query[0] + row, query[1] + column]
            torch.testing.assert_close(found[:, i, j], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [Relative, LogSpaced])
def test_a_row_is_that_of_all_pairs(kind: type[Relative | LogSpaced]) -> None:
    position, size = kind(2, 3).double(), (4, 7)
    scores = position.on_scores(size)
    for row in range(4):
        for column in range(7):
            found, at = position.on_row((row, column), size), row * 7 + column
            torch.testing.assert_close(found, scores[:, at : at + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [MultiHeadSelfAttention, WindowAttention])
def test_log_cpb_works_under_autocast(kind: type[MultiHeadSelfAttention | WindowAttention]) -> None:
    module, x = kind(16, pos_embed="log_cpb"), torch.randn(2, 16, 9, 11)
    exact = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module(x).float(), exact, rtol=0, atol=0.03 * exact.abs().max().item())


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 9), (23, 21)])
@pytest.mark.parametrize("name", POSITIONS)
def test_any_size_and_dtype(name: str, size: tuple[int, int]) -> None:
    attention = MultiHeadSelfAttention(16, pos_embed=name)
    assert attention(torch.randn(2, 16, *size)).shape == (2, 16, *size)
    assert attention.bfloat16()(torch.randn(2, 16, *size).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("name", POSITIONS)
def test_every_position_breaks_permutation_equivariance_and_none_keeps_it(name: str) -> None:
    attention = MultiHeadSelfAttention(16, pos_embed=name).double()
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
    attention = MultiHeadSelfAttention(16, pos_embed=name)
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
    with pytest.raises(RegardError, match="unknown pos_embed 'rotray'") as caught:
        choose_position("rotray", 16, 4)
    assert "rotary" in str(caught.value.hint)
    for name, channels, heads in (("sinusoidal", 6, 1), ("rotary", 24, 4)):
        with pytest.raises(RegardError, match=f"{name} positions .* 6 channels") as caught:
            choose_position(name, channels, heads)
        assert caught.value.expected == "a multiple of 4 channels, such as 4 or 8"
    with pytest.raises(RegardError) as caught:
        choose_position("sinusoidal", 3, 1)
    assert caught.value.expected == "a multiple of 4 channels, such as 4"
