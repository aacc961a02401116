from __future__ import annotations

import pytest
import torch
from masked import close
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.pooled import PooledAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention


def cells_by_slicing(x: Tensor, r: int) -> Tensor:
    """(B, C, H, W) -> (B, cells, C), the mean of each cell."""
    height, width = x.shape[2:]
    corners = [(i, j) for i in range(0, height, r) for j in range(0, width, r)]
    return torch.stack([x[:, :, i : i + r, j : j + r].mean((2, 3)) for i, j in corners], 1)


def torch_attention(module: PooledAttention) -> nn.MultiheadAttention:
    peer = nn.MultiheadAttention(module.in_channels, module.num_heads, batch_first=True).double()
    weights = {"in_proj_weight": module.qkv.weight, "in_proj_bias": module.qkv.bias}
    peer.load_state_dict({**weights, "out_proj.weight": module.out.weight, "out_proj.bias": module.out.bias})
    return peer


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 9), (8, 4)])
@pytest.mark.parametrize("reduction", [2, 3, 8])
def test_equals_torch_attention_to_the_means_of_cells(size: tuple[int, int], reduction: int) -> None:
    module, x = PooledAttention(12, 3, reduction).double(), torch.randn(2, 12, *size, dtype=torch.float64)
    tokens, cells = x.flatten(2).transpose(1, 2), cells_by_slicing(x, reduction)
    expected, weights = torch_attention(module)(tokens, cells, cells, average_attn_weights=False)
    close(module(x).flatten(2).transpose(1, 2), expected)
    row, column = size[0] // 2, size[1] - 1
    found = module.attention(x, (row, column)).weights[:, :, 0]
    of_cells = weights[:, :, row * size[1] + column]
    # The weight of a cell is shared out evenly, so that summed over the cell it is the cell's again.
    summed = cells_by_slicing(found, reduction).transpose(1, 2)
    counts = cells_by_slicing_count(size, reduction)
    close(summed * counts, of_cells)
    close(found.sum((-2, -1)), torch.ones(2, 3, dtype=torch.float64))


def cells_by_slicing_count(size: tuple[int, int], r: int) -> Tensor:
    ones = torch.ones(size, dtype=torch.float64)
    return torch.tensor(
        [float(ones[i : i + r, j : j + r].sum()) for i in range(0, size[0], r) for j in range(0, size[1], r)],
        dtype=torch.float64,
    )


def test_the_row_is_what_every_value_contributes() -> None:
    module, x = PooledAttention(6, 1, 2).double(), torch.randn(2, 6, 5, 3, dtype=torch.float64)
    with torch.no_grad():
        module.out.weight.copy_(torch.eye(6))
        module.out.bias.zero_()
    values = F.linear(x.flatten(2).transpose(1, 2), module.qkv.weight[12:], module.qkv.bias[12:])
    row = module.attention(x, (4, 1)).weights[:, 0, 0].flatten(1)
    close(module(x)[:, :, 4, 1], torch.einsum("bn,bnc->bc", row, values))


@pytest.mark.parametrize("pooling", ["mean", "conv"])
def test_reduction_1_is_plain_attention(pooling: str) -> None:
    plain, ours = MultiHeadSelfAttention(12).double(), PooledAttention(12, reduction=1, pooling=pooling).double()
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 12, 7, 5, dtype=torch.float64)
    close(ours(x), plain(x))
    close(ours.attention(x, (6, 1)).weights, plain.attention(x, (6, 1)).weights)


def test_the_convolution_of_pvt() -> None:
    module = PooledAttention(12, 3, 2, "conv").double()
    assert module.conv is not None
    assert module.norm is not None
    x = torch.randn(2, 12, 5, 4, dtype=torch.float64)
    beyond = F.pad(x, (0, 0, 0, 1))
    patches = F.unfold(beyond, 2, stride=2).transpose(1, 2)
    reduced = module.norm(patches @ module.conv.weight.flatten(1).T + module.conv.bias)
    tokens = x.flatten(2).transpose(1, 2)
    expected = torch_attention(module)(tokens, reduced, reduced)[0]
    close(module(x).flatten(2).transpose(1, 2), expected)


def test_equals_timm() -> None:
    from timm.models.pvt_v2 import Attention as PVTAttention

    peer = PVTAttention(12, num_heads=3, sr_ratio=2, linear_attn=False, qkv_bias=True).double().eval()
    module = PooledAttention(12, 3, 2, "conv").double()
    weights = {
        "qkv.weight": torch.cat((peer.q.weight, peer.kv.weight)),
        "qkv.bias": torch.cat((peer.q.bias, peer.kv.bias)),
        "out.weight": peer.proj.weight,
        "out.bias": peer.proj.bias,
        **{f"conv.{key}": t for key, t in peer.sr.state_dict().items()},
        **{f"norm.{key}": t for key, t in peer.norm.state_dict().items()},
    }
    module.load_state_dict(weights)
    assert module.norm is not None
    module.norm.eps = peer.norm.eps
    x = torch.randn(2, 12, 6, 4, dtype=torch.float64)
    close(module(x).flatten(2).transpose(1, 2), peer(x.flatten(2).transpose(1, 2), (6, 4)))


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="reduction 0 is too small"):
        PooledAttention(8, reduction=0)
    with pytest.raises(RegardError, match="unknown pooling 'max'"):
        PooledAttention(8, pooling="max")
    with pytest.raises(RegardError, match="cannot use 'rotary'"):
        PooledAttention(16, pos_embed="rotary")
