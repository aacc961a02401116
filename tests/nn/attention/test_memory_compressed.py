from __future__ import annotations

import pytest
import torch
from masked import close
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.memory_compressed import MemoryCompressedAttention
from regard.nn.attention.pooled import PooledAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention


def by_slicing(module: MemoryCompressedAttention, tokens: Tensor, which: int, size: tuple[int, int]) -> Tensor:
    """Compress keys (1) or values (2) cell by cell and head by head: (B, N, C) -> (B, cells, C)."""
    r, c, d = module.reduction, module.in_channels, module.in_channels // module.num_heads
    weight, bias = module.qkv.weight[which * c : (which + 1) * c], module.qkv.bias[which * c : (which + 1) * c]
    projected = (tokens @ weight.T + bias).view(len(tokens), *size, c)
    conv = module.compress[which - 1]
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    cells = []
    for i in range(0, size[0], r):
        for j in range(0, size[1], r):
            cell = projected[:, i : i + r, j : j + r]
            kernel = conv.weight[:, :, : cell.shape[1], : cell.shape[2]]  # beyond the border there is nothing to weigh
            heads = [
                torch.einsum("byxd,odyx->bo", cell[..., own], kernel[own])
                for own in (slice(h * d, (h + 1) * d) for h in range(module.num_heads))
            ]
            cells.append(torch.cat(heads, 1) + conv.bias)
    return torch.stack(cells, 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 9), (6, 3)])
@pytest.mark.parametrize("reduction", [2, 3])
def test_equals_torch_attention_to_compressed_keys(size: tuple[int, int], reduction: int) -> None:
    module, x = MemoryCompressedAttention(12, 3, reduction).double(), torch.randn(2, 12, *size, dtype=torch.float64)
    tokens = x.flatten(2).transpose(1, 2)
    peer = nn.MultiheadAttention(12, 3, batch_first=True).double()
    identity, c = torch.eye(12, dtype=torch.float64), module.in_channels
    keys_as_they_are = torch.zeros(2 * c, dtype=torch.float64)
    peer.load_state_dict(
        {
            "in_proj_weight": torch.cat((module.qkv.weight[:c], identity, identity)),
            "in_proj_bias": torch.cat((module.qkv.bias[:c], keys_as_they_are)),
            "out_proj.weight": module.out.weight,
            "out_proj.bias": module.out.bias,
        }
    )
    keys, values = (by_slicing(module, tokens, which, size) for which in (1, 2))
    expected, weights = peer(tokens, keys, values, average_attn_weights=False)
    close(module(x).flatten(2).transpose(1, 2), expected)
    row = module.attention(x, (size[0] - 1, 0)).weights[:, :, 0]
    of_cells = weights[:, :, (size[0] - 1) * size[1]]
    cells = [row[..., i : i + reduction, j : j + reduction] for i in range(0, size[0], reduction)
             for j in range(0, size[1], reduction)]  # fmt: skip
    close(torch.stack([cell.sum((-2, -1)) for cell in cells], -1), of_cells)
    assert all((cell == cell[..., :1, :1]).all() for cell in cells)


def test_the_mean_as_kernel_is_pooled_attention() -> None:
    ours, pooled = MemoryCompressedAttention(12, 3, 2).double(), PooledAttention(12, 3, 2).double()
    ours.load_state_dict(pooled.state_dict(), strict=False)
    for conv in ours.compress:
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        conv.weight.data = torch.eye(4).repeat(3, 1)[:, :, None, None].expand(-1, -1, 2, 2).double() / 4
        conv.bias.data.zero_()
    x = torch.randn(2, 12, 6, 4, dtype=torch.float64)
    close(ours(x), pooled(x))
    close(ours.attention(x, (5, 1)).weights, pooled.attention(x, (5, 1)).weights)


def test_reduction_1_is_plain_attention() -> None:
    plain, ours = MultiHeadSelfAttention(12).double(), MemoryCompressedAttention(12, reduction=1).double()
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 12, 7, 5, dtype=torch.float64)
    close(ours(x), plain(x))


def test_float32() -> None:
    module, x = MemoryCompressedAttention(12), torch.randn(2, 12, 13, 9)
    found = module(x)
    close(found, module.double()(x.double()).float(), 1e-5)


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="reduction 0 is too small"):
        MemoryCompressedAttention(8, reduction=0)
    with pytest.raises(RegardError, match="cannot use 'rotary'"):
        MemoryCompressedAttention(16, pos_embed="rotary")
