"""Attention without products of queries and keys (Tay et al., Synthesizer, 2005.00743, sections 3.2 to 3.4).

b_i = W_o [sum_j softmax_j(F_h(i)_j) v_hj]. Dense: F_h(i) = W2_h relu(W1_h x_i + b1_h) + b2_h, from the query alone, one
output for each position j. Random: F_h(i)_j = r1_hi . r2_hj, learned and the same for every input (the factorised
form, R = R1 R2^T; at rank N it includes every matrix R of the plain random form).

The paper's N is fixed. Here what is learned for each position, the columns of W2 and b2, or r1 and r2, is learned on a
base grid of side x side positions, as a field over the map, and on a map of another size interpolated along both axes
(bilinear, over the unit square). On a map of the base size this is exactly the paper's form. A field is sampled more
finely on larger maps, so that the weights keep their shape and each grows smaller as the softmax shares out to more
positions; on smaller maps detail of the fields is skipped, and retraining is wise.

F is a product of what belongs to i and what belongs to j, which the fused kernel takes as queries and keys: b2 is one
channel more, in which every query is 1. So no N x N weights are stored. Deviation: biases of values and of W_o.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import Card, Size, check_at_least, fused_attention, split_heads, to_tokens
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import MAP_POSITIONS, check_pos_embed


class DenseSynthesizer(MultiHead):
    """Every position predicts from its own vector how it weighs all others.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads, each of ``in_channels / num_heads`` channels, and as many hidden units.
        side: of the base grid that weights of positions are learned on.
        pos_embed: kind of position, see ``POSITIONS``; one that acts on the map.
    """

    card = Card(
        family="global",
        paper="2005.00743",
        equation="b_i = W_o [sum_j softmax_j((W2_h relu(W1_h x_i))_j) v_hj]",
        parameters="3 * C**2 + 3 * C + (C + num_heads) * side**2",
        flops="6 * N * C**2 + 2 * N**2 * (2 * C + num_heads) + N * (2 * C + num_heads)",
        peers=("the paper's layers, on the base grid",),
        when="When each position should predict its weights over the map from its own vector, without keys; the cost"
        " grows with N^2.",
        linear=False,
    )

    def __init__(self, in_channels: int, num_heads: int = 4, side: int = 20, pos_embed: str = "none") -> None:
        check_pos_embed("DenseSynthesizer", pos_embed, MAP_POSITIONS)
        check_at_least("DenseSynthesizer", "side", side, 1)
        super().__init__(in_channels, num_heads, pos_embed)
        del self.qkv
        self.side = side
        channels = in_channels // num_heads
        self.hidden = nn.Linear(in_channels, in_channels)
        self.value = nn.Linear(in_channels, in_channels)
        self.keys = nn.Parameter(torch.randn(num_heads, channels, side, side) / math.sqrt(channels))
        self.bias = nn.Parameter(torch.zeros(num_heads, 1, side, side))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> hidden units and fields (B, heads, H * W, d + 1), and values (B, heads, H * W, d)."""
        tokens = to_tokens(self.position.on_map(x))
        hidden, v = (split_heads(t, self.num_heads) for t in (self.hidden(tokens).relu(), self.value(tokens)))
        q = F.pad(hidden, (0, 1), value=1.0) * math.sqrt(hidden.shape[-1] + 1)  # undoes the kernel's scaling
        k = spread(torch.cat((self.keys, self.bias), 1), (x.shape[2], x.shape[3])).to(q.dtype)
        return q, k.expand(x.shape[0], -1, -1, -1), v

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """Hidden units and fields (B, heads, N, d + 1), values (B, heads, N, d) -> (B, heads, N, d)."""
        return fused_attention(q, k, v)


class RandomSynthesizer(MultiHead):
    """Positions weigh each other as they have learned to, independently of the input.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        rank: of the learned matrix of each head.
        side: of the base grid that weights of positions are learned on.
    """

    card = Card(
        family="global",
        paper="2005.00743",
        equation="b_i = W_o [sum_j softmax_j(r1_hi . r2_hj) v_hj]",
        parameters="2 * C**2 + 2 * C + 2 * num_heads * rank * side**2",
        flops="4 * N * C**2 + 2 * N**2 * (num_heads * rank + C) + N * num_heads * rank",
        peers=("the paper's matrix R, on the base grid",),
        when="When the weights over positions should be learned and be the same for every image; the cost grows with"
        " N^2.",
        linear=False,
    )

    def __init__(self, in_channels: int, num_heads: int = 4, rank: int = 8, side: int = 20) -> None:
        check_at_least("RandomSynthesizer", "rank", rank, 1)
        check_at_least("RandomSynthesizer", "side", side, 1)
        super().__init__(in_channels, num_heads)
        del self.qkv
        self.rank = rank
        self.side = side
        self.value = nn.Linear(in_channels, in_channels)
        self.r1 = nn.Parameter(torch.randn(num_heads, rank, side, side) / rank**0.25)
        self.r2 = nn.Parameter(torch.randn(num_heads, rank, side, side) / rank**0.25)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> both fields (B, heads, H * W, rank) and values (B, heads, H * W, d)."""
        v = split_heads(self.value(to_tokens(x)), self.num_heads)
        size = (x.shape[2], x.shape[3])
        q, k = (spread(r, size).to(v.dtype).expand(x.shape[0], -1, -1, -1) for r in (self.r1, self.r2))
        return q * math.sqrt(self.rank), k, v  # undoes the kernel's scaling

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """Fields (B, heads, N, rank) and values (B, heads, N, d) -> (B, heads, N, d)."""
        return fused_attention(q, k, v)


def spread(fields: Tensor, size: Size) -> Tensor:
    """Resize learned fields to a map: (heads, d, side, side) -> (1, heads, H * W, d), last dimension contiguous."""
    resized = F.interpolate(fields, size=size, mode="bilinear", align_corners=False)
    return resized.flatten(2).mT.contiguous()[None]
