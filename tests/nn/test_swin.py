"""Swin blocks by their parts, and what the windows of two blocks connect."""

from __future__ import annotations

import torch

from regard.nn.attention.window import ShiftedWindowAttention
from regard.nn.swin import C3STR, SwinBlock


def test_a_block_by_its_parts() -> None:
    block, x = SwinBlock(64, shifted=True).double().eval(), torch.randn(2, 64, 9, 11, dtype=torch.float64)
    assert isinstance(block.attn, ShiftedWindowAttention)
    assert (block.attn.num_heads, block.attn.window, block.attn.shift) == (2, 7, 3)
    last = (0, 2, 3, 1)
    z = x + block.attn(block.norm1(x.permute(last)).permute(0, 3, 1, 2))
    y = z.permute(last) + block.mlp(block.norm2(z.permute(last)))
    assert torch.allclose(block(x), y.permute(0, 3, 1, 2))


def test_c3_by_its_parts() -> None:
    layer, x = C3STR(6, 10, repeats=3).eval(), torch.randn(2, 6, 9, 15)
    assert [isinstance(block.attn, ShiftedWindowAttention) for block in layer.m] == [False, True, False]  # type: ignore[union-attr]
    y = layer.m(layer.cv1(x))
    assert torch.equal(layer(x), layer.cv3(torch.cat((y, layer.cv2(x)), 1)))


def reached(repeats: int) -> int:
    """Columns of a map of 21 that the value at the left edge can change."""
    stack = C3STR(16, 16, repeats=repeats).double().eval().m
    x = torch.randn(1, 8, 1, 21, dtype=torch.float64)
    other = x.clone()
    other[..., 0] = -2 * other[..., 0].flip(1)
    return int((stack(x) - stack(other)).abs().sum((0, 1, 2)).nonzero().max()) + 1


def test_shifted_windows_connect_their_neighbours() -> None:
    assert reached(1) == 7
    assert reached(2) > 7
