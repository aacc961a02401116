"""Attention to pooled keys and values (Wang et al., PVT, 2102.12122, section 3.3: spatial-reduction attention).

b_i = W_o [sum_m softmax_m(q_i . k_m / sqrt(d)) v_m], with k and v from R(x), a map of ceil(H / r) x ceil(W / r):
R the mean over cells of r x r (as PVTv2's, 2106.13797), or PVT's own Norm(W_s * x), an r x r convolution of stride r
and a layer norm. r = 1 is plain attention, as in the paper.

Deviations: cells at the border contain fewer positions: the mean is over positions of the map alone, and the
convolution sees zeros beyond. PVTv2 pools to a fixed 7 x 7 and adds a convolution and a GELU; here the cell is fixed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import (
    Card,
    Size,
    attention_weights,
    ceil_div,
    check_at_least,
    check_choice,
    fused_attention,
    split_heads,
    to_tokens,
)
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import MAP_POSITIONS, check_pos_embed

POOLINGS = ("mean", "conv")


class PooledAttention(MultiHead):
    """Every position attends to cells of ``reduction`` x ``reduction`` positions.

    ``attention`` spreads the weight of a cell evenly over its positions. With the mean that is what each position
    contributes; with the convolution, which mixes a cell's channels, it shows the cell alone.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        reduction: r, side of a cell; 1 for plain attention.
        pooling: "mean", or "conv" for a convolution and a layer norm.
        pos_embed: kind of position, see ``POSITIONS``; one that acts on the map.
    """

    card = Card(
        family="low-rank",
        paper="2102.12122",
        equation="b_i = W_o [sum_m softmax_m(q_hi . k_hm / sqrt(d)) v_hm], k and v from the map reduced by r x r",
        parameters="4 * C**2 + 4 * C",
        flops="4 * N * C**2"
        " + (4 * C**2 + 4 * N * C + (reduction**2 + 1) * C + 2) * ceiling(H / reduction) * ceiling(W / reduction)",
        peers=("timm.models.pvt_v2.Attention", "torch.nn.MultiheadAttention on pooled keys"),
        when="When every position should see the whole map coarsely: keys and values are pooled, so the cost is N^2"
        " divided by the positions of a cell.",
        linear=False,
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        reduction: int = 2,
        pooling: str = "mean",
        pos_embed: str = "none",
    ) -> None:
        check_pos_embed("PooledAttention", pos_embed, MAP_POSITIONS)
        check_at_least("PooledAttention", "reduction", reduction, 1)
        check_choice("PooledAttention", "pooling", pooling, POOLINGS)
        super().__init__(in_channels, num_heads, pos_embed)
        self.reduction = reduction
        learned = pooling == "conv" and reduction > 1
        self.conv = nn.Conv2d(in_channels, in_channels, reduction, stride=reduction) if learned else None
        self.norm = nn.LayerNorm(in_channels) if learned else None

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries (B, heads, H * W, d), keys and values (B, heads, cells, d)."""
        placed = self.position.on_map(x)
        weight, bias, c = self.qkv.weight, self.qkv.bias, self.in_channels
        q = F.linear(to_tokens(placed), weight[:c], bias[:c])
        k, v = F.linear(self.pool(placed), weight[c:], bias[c:]).chunk(2, -1)
        return split_heads(q, self.num_heads), split_heads(k, self.num_heads), split_heads(v, self.num_heads)

    def pool(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> one token for each cell, (B, cells, C)."""
        r, (height, width) = self.reduction, x.shape[2:]
        if r == 1:
            return to_tokens(x)
        padded = F.pad(x, (0, ceil_div(width, r) * r - width, 0, ceil_div(height, r) * r - height))
        if self.conv is not None and self.norm is not None:
            normed: Tensor = self.norm(to_tokens(self.conv(padded)))
            return normed
        share = _counts(height, r, x)[:, None] * _counts(width, r, x) / r**2
        return to_tokens(F.avg_pool2d(padded, r) / share)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) and twice (B, heads, cells, d) -> (B, heads, N, d)."""
        return fused_attention(q, k, v)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Weights of one query (B, heads, 1, d) over all positions by way of cells: (B, heads, 1, N)."""
        return spread(attention_weights(q, k), self.reduction, size)


def spread(of_cells: Tensor, r: int, size: Size) -> Tensor:
    """Share out the weight of each cell of r x r evenly to its positions: (..., cells) -> (..., H * W)."""
    height, width = size
    of_cells = of_cells.reshape(*of_cells.shape[:-1], ceil_div(height, r), ceil_div(width, r))
    of_cells = of_cells / (_counts(height, r, of_cells)[:, None] * _counts(width, r, of_cells))
    return of_cells.repeat_interleave(r, -1).repeat_interleave(r, -2)[..., :height, :width].flatten(-2)


def _counts(n: int, r: int, like: Tensor) -> Tensor:
    """Number of the ``n`` positions in each cell of ``r``: (ceil(n / r),), in the dtype of ``like``."""
    starts = torch.arange(ceil_div(n, r), device=like.device) * r
    return (n - starts).clamp(max=r).to(like.dtype)
