from __future__ import annotations

import math

import pytest
import torch
from timm.layers import GlobalContext as TimmGlobalContext

from regard.errors import RegardError
from regard.nn.attention.global_context import GlobalContext


@pytest.mark.parametrize("fusion", ["add", "scale"])
def test_equals_timm(fusion: str) -> None:
    peer = TimmGlobalContext(24, fuse_add=fusion == "add", fuse_scale=fusion == "scale", rd_channels=8).double()
    mlp = peer.mlp_add if fusion == "add" else peer.mlp_scale
    torch.nn.init.normal_(mlp.fc2.weight)  # zero in timm
    block = GlobalContext(24, fusion=fusion).double()
    assert block.norm.eps == 1e-5
    mlp.norm.eps = block.norm.eps  # 1e-6 in timm
    block.w_k.load_state_dict(peer.conv_attn.state_dict())
    for ours, theirs in ((block.w_v1, mlp.fc1), (block.norm, mlp.norm), (block.w_v2, mlp.fc2)):
        ours.load_state_dict({key: t.view_as(getattr(ours, key)) for key, t in theirs.state_dict().items()})
    x = torch.randn(2, 24, 7, 5, dtype=torch.float64)
    assert torch.allclose(block(x), peer(x), rtol=0, atol=1e-12)


def test_context_by_loops() -> None:
    block, x = GlobalContext(3).double(), torch.randn(1, 3, 2, 4, dtype=torch.float64)
    columns = x[0].flatten(1).T
    key = block.w_k.weight.detach().flatten()
    scores = [math.exp(float(key @ c + block.w_k.bias.detach())) for c in columns]
    alpha = torch.tensor([s / sum(scores) for s in scores], dtype=torch.float64)
    found = block.attention(x)
    assert found.kind == "spatial"
    assert torch.allclose(found.weights.flatten(), alpha, rtol=0, atol=1e-12)
    pooled = sum(a * c for a, c in zip(alpha, columns, strict=True))
    z = block.w_v2(block.norm(block.w_v1(pooled)).relu())
    assert torch.allclose(block(x), x + z[None, :, None, None], rtol=0, atol=1e-12)


def test_duplicated_positions_change_nothing() -> None:
    block, x = GlobalContext(5).double(), torch.randn(2, 5, 3, 7, dtype=torch.float64)
    twice = torch.cat((x, x), 2)
    assert torch.allclose(block(twice)[:, :, :3], block(x), rtol=0, atol=1e-12)
    assert torch.allclose(block.attention(twice).weights.sum((1, 2)), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("channels", [1, 3, 30])
def test_few_channels_still_make_a_difference(channels: int) -> None:
    block, x = GlobalContext(channels), torch.rand(2, channels, 3, 5)
    z = block.context(torch.cat((x, 2 * x)))
    assert (z[:2] - z[2:]).abs().max() > 1e-3


def test_it_does_not_start_as_the_identity() -> None:
    x = torch.randn(2, 16, 3, 5)
    assert (GlobalContext(16)(x) - x).abs().mean() > 0.01


def test_options() -> None:
    assert GlobalContext(512).hidden == 32
    with pytest.raises(RegardError, match=r"unknown fusion 'scal'[\s\S]*did you mean 'scale'"):
        GlobalContext(16, fusion="scal")
    with pytest.raises(RegardError, match="reduction -1 is too small"):
        GlobalContext(16, -1)
