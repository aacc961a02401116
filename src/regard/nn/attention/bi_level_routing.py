"""Bi-level routing attention (Zhu et al., BiFormer, 2303.08810, section 3.2).

The map is cut into S x S regions. With Q_r and K_r the means of queries and keys over each, every region picks the
k regions with the largest Q_r . K_r, the same for all heads; its queries attend to all positions of these:
b_i = W_o [sum_{j in picked(region of i)} softmax_j(q_i . k_j / sqrt(d)) v_j + (P * v)_i], P a depth-wise convolution.
With k = S^2 this is plain attention. Cost is 4 C N^2 k / S^2.

The gradient passes through the keys and values of picked regions; what has not been picked gets none, and the choice,
which is piecewise constant, has none.

Deviations: regions have ceil(H / S) rows and ceil(W / S) columns; at the border they may have fewer or no positions,
and one without positions is not picked before all that have some. The authors' code pads the map with zeros, which
take part. P has no bias.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.core import (
    Card,
    Size,
    attention_weights,
    ceil_div,
    check_at_least,
    fused_attention,
    no_autocast,
)
from regard.nn.attention.multi_head import ValueConvolution
from regard.nn.attention.partition import Axis, gather, pairs, put_back, slots
from regard.nn.attention.position import check_pos_embed


class Regions(NamedTuple):
    """Regions of a map, and which of them each picks in each image.

    Attributes:
        tokens: (R, m) token of each slot of each region.
        real: (R, m) whether the slot is on the map.
        at: (N,) slot of each token among all R * m.
        picked: (B, R, k).
    """

    tokens: Tensor
    real: Tensor
    at: Tensor
    picked: Tensor


class BiLevelRoutingAttention(ValueConvolution):
    """Every region of the map attends to the few regions that resemble it most.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        regions: S, for S x S regions.
        topk: k, number of regions that each attends to.
        kernel: odd side of the convolution of the values; 0 for none.
        pos_embed: kind of position, see ``POSITIONS``; not relative.

    Raises:
        RegardError: ``topk`` is not 1 to ``regions`` squared, or as for every ``ValueConvolution``.
    """

    card = Card(
        family="sparse",
        paper="2303.08810",
        equation="b_i = W_o [sum_{j in picked(region of i)} softmax_j(q_hi . k_hj / sqrt(d)) v_hj + (P * v)_i]",
        parameters="4 * C**2 + 4 * C + kernel**2 * C",
        flops="8 * N * C**2 + (2 * kernel**2 + 1) * C * N + 2 * C * regions**4"
        " + 4 * C * regions**2 * ceiling(H / regions) * ceiling(W / regions)"
        " + 4 * C * topk * regions**2 * (ceiling(H / regions) * ceiling(W / regions))**2",
        peers=("its definition, region by region", "MultiHeadSelfAttention with all regions"),
        when="When each region should pick the regions that its positions attend to; the cost is N^2 times the share"
        " of regions that are picked.",
        linear=False,
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        regions: int = 7,
        topk: int = 4,
        kernel: int = 5,
        pos_embed: str = "none",
    ) -> None:
        check_pos_embed("BiLevelRoutingAttention", pos_embed)
        check_at_least("BiLevelRoutingAttention", "regions", regions, 1)
        if not 1 <= topk <= regions**2:
            what = f"BiLevelRoutingAttention: topk {topk} of {regions} x {regions} regions"
            raise RegardError(what, expected=f"1 to {regions**2}")
        super().__init__(in_channels, num_heads, kernel, pos_embed)
        self.regions = regions
        self.topk = topk

    def route(self, q: Tensor, k: Tensor, size: Size) -> Regions:
        """Queries and keys (B, heads, N, d) -> the regions that each region picks."""
        lengths = [ceil_div(n, self.regions) for n in size]
        rows, columns = (
            Axis.blocks(n, length, self.regions, q.device) for n, length in zip(size, lengths, strict=True)
        )
        inside = [
            (torch.arange(self.regions, device=q.device)[:, None] * length + torch.arange(length, device=q.device)) < n
            for n, length in zip(size, lengths, strict=True)
        ]
        real = (inside[0][:, None, :, None] & inside[1][None, :, None]).flatten(2).flatten(0, 1)
        tokens = pairs(rows.keys, columns.keys, size[1])
        with torch.no_grad(), no_autocast(q):
            of_queries, of_keys = (_means(gather(t, tokens), real, q.shape[0]) for t in (q, k))
            scores = (of_queries @ of_keys.mT).masked_fill(~real.any(-1), -torch.inf)
            picked = scores.topk(self.topk, -1).indices
        return Regions(tokens, real, slots(rows, columns), picked)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d), the attention alone."""
        regions = self.route(q, k, size)
        tokens = regions.tokens[regions.picked].flatten(2)  # (B, R, k * m)
        keys, values = _pick(k, tokens), _pick(v, tokens)
        allowed = regions.real[regions.picked].flatten(2).transpose(0, 1)  # (R, B, k * m)
        allowed = allowed[:, :, None].expand(-1, -1, self.num_heads, -1).flatten(1, 2)[:, :, None]
        mixed = fused_attention(gather(q, regions.tokens), keys, values, allowed=allowed)
        return put_back(mixed, regions.at, q)

    def row_among(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Weights of one of the queries, 0 outside of the regions that its region picked: (B, heads, 1, N)."""
        regions = self.route(q, k, size)
        region = regions.at // regions.tokens.shape[1]
        at = query[0] * size[1] + query[1]
        picked = regions.picked.index_select(1, region[at : at + 1])[:, 0]  # (B, k)
        allowed = (region == picked[..., None]).any(1)
        return attention_weights(q[:, :, at : at + 1], k, allowed=allowed[:, None, None])


def _means(blocks: Tensor, real: Tensor, batch: int) -> Tensor:
    """Means over what is on the map, all heads side by side: (R, B * heads, m, d) -> (B, R, heads * d)."""
    inside = real.to(torch.promote_types(blocks.dtype, torch.float32))
    share = inside / inside.sum(1, keepdim=True).clamp(min=1)
    means = (share[:, None, None] @ blocks.to(inside.dtype))[:, :, 0]  # (R, B * heads, d)
    return means.view(means.shape[0], batch, -1).transpose(0, 1) if batch else means.new_zeros(0, *real.shape)


def _pick(x: Tensor, tokens: Tensor) -> Tensor:
    """Tokens that regions picked in each image: (B, heads, N, d), (B, R, M) -> (R, B * heads, M, d)."""
    batch, heads, n, d = x.shape
    rows = x.transpose(1, 2).reshape(batch * n, heads * d)
    starts = torch.arange(batch, device=x.device)[:, None, None] * n
    chosen = rows.index_select(0, (tokens + starts).flatten()).view(*tokens.shape, heads, d)
    return chosen.permute(1, 0, 3, 2, 4).flatten(1, 2)
