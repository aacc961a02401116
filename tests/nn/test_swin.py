"""Swin blocks by their parts, and what the windows of two blocks connect."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.swin_transformer import PatchMerging as Reference

from regard.errors import RegardError
from regard.nn.attention.window import ShiftedWindowAttention
from regard.nn.swin import C3STR, PatchEmbed, PatchMerging, SwinBlock, SwinStage


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


def test_a_stage_is_its_blocks_with_shifts_in_turn() -> None:
    stage, x = SwinStage(12, 12, 3, num_heads=3, window=5).eval(), torch.randn(2, 12, 9, 11)
    y = x
    for i, block in enumerate(stage.blocks):
        assert isinstance(block, SwinBlock)
        assert (block.attn.num_heads, block.attn.window, block.attn.shift) == (3, 5, 2 * (i % 2))
        y = block(y)
    assert torch.equal(stage(x), y)
    for wrong in ((12, 24), (12, 12, 0)):
        with pytest.raises(RegardError, match="SwinStage: 12 to"):
            SwinStage(*wrong)
    with pytest.raises(RegardError, match="does not divide"):
        SwinStage(12, 12, 2, 5)


def test_merging_is_that_of_torchvision() -> None:
    ours, theirs, x = PatchMerging(5), Reference(5), torch.randn(2, 5, 6, 14)
    for tensor in ours.state_dict().values():
        tensor.uniform_(-1, 1)
    theirs.load_state_dict(ours.state_dict())
    assert torch.allclose(ours(x), theirs(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), atol=1e-5)
    assert PatchMerging(5, 7)(x).shape == (2, 7, 3, 7)


def test_every_patch_is_projected_and_normalised_alone() -> None:
    layer, x = PatchEmbed(3, 7, 2).double(), torch.randn(2, 3, 6, 10, dtype=torch.float64)
    y: Tensor = layer(x)
    assert y.shape == (2, 7, 3, 5)
    weight, bias = layer.proj.weight.flatten(1), layer.proj.bias
    for i in range(3):
        for j in range(5):
            patch = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten(1)
            z = patch @ weight.T + bias
            z = (z - z.mean(1, keepdim=True)) / (z.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            assert torch.allclose(y[:, :, i, j], z)
