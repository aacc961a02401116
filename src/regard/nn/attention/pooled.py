"""Attention to pooled keys and values (Wang et al., PVT, 2102.12122, section 3.3: spatial-reduction attention).

b_i = W_o [sum_m softmax_m(q_i . k_m / sqrt(d)) v_m], with k and v from R(x), a map of ceil(H / r) x ceil(W / r):
R the mean over cells of r x r (as PVTv2's, 2106.13797), or PVT's own Norm(W_s * x), an r x r convolution of stride r
and a layer norm. r = 1 is plain attention, as in the paper.

Deviations: cells at the border hold what there is: the mean is over positions of the map alone, and the convolution
sees zeros beyond. PVTv2 pools to a fixed 7 x 7 and adds a convolution and a GELU; here the cell is fixed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.card import Card
from regard.nn.attention.dot_product import attention_weights, fused_attention
from regard.nn.attention.grouping import ceil_div
from regard.nn.attention.multi_head import MultiHead, Size
from regard.nn.attention.options import MAP_POSITIONS, check_at_least, check_choice, check_positions
from regard.nn.attention.tokens import merge_heads, split_heads, to_map, to_tokens

POOLINGS = ("mean", "conv")


class PooledAttention(MultiHead):
    """Every position attends to cells of ``reduction`` x ``reduction`` positions.

    ``attention`` spreads the weight of a cell evenly over its positions. With the mean that is what each position
    contributes; with the convolution, which mixes a cell's channels, it tells the cell alone.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        reduction: r, side of a cell; 1 for plain attention.
        pooling: "mean", or "conv" for a convolution and a layer norm.
        positions: kind of position, see ``POSITIONS``; one that acts on the map.

    Raises:
        RegardError: an option does not fit.
    """

    card = Card(
        family="low-rank",
        paper="2102.12122",
        equation="b_i = W_o [sum_m softmax_m(q_hi . k_hm / sqrt(d)) v_hm], k and v from the map reduced by r x r",
        parameters="4 * C**2 + 4 * C",
        flops="4 * N * C**2 + N * C + 4 * (C**2 + N * C) * ceiling(H / reduction) * ceiling(W / reduction)",
        peers=("timm.models.pvt_v2.Attention", "torch.nn.MultiheadAttention on pooled keys"),
        linear=False,
    )

    def __init__(
        self,
        in_channels: int,
        heads: int = 4,
        reduction: int = 2,
        pooling: str = "mean",
        positions: str = "none",
    ) -> None:
        check_positions("PooledAttention", positions, MAP_POSITIONS)
        check_at_least("PooledAttention", "reduction", reduction, 1)
        check_choice("PooledAttention", "pooling", pooling, POOLINGS)
        super().__init__(in_channels, heads, positions)
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
        return split_heads(q, self.heads), split_heads(k, self.heads), split_heads(v, self.heads)

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

    def unmixed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W): every projection and the pooling; queries stand for the missing values."""
        return to_map(self.out(merge_heads(self.project(x)[0])), (x.shape[2], x.shape[3]))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) and twice (B, heads, cells, d) -> (B, heads, N, d)."""
        return fused_attention(q, k, v)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Return the weights of one query (B, heads, 1, d) over all positions by way of cells: (B, heads, 1, N)."""
        return spread(attention_weights(q, k), self.reduction, size)

    def pairs(self, height: int, width: int) -> int:
        """Return a pair for each position and each cell."""
        return height * width * ceil_div(height, self.reduction) * ceil_div(width, self.reduction)

    def flops(self, height: int, width: int) -> int:
        """Return the projections of N queries and outputs and of all cells, the pooling, positions and mixing."""
        positions, c, r = height * width, self.in_channels, self.reduction
        cells = ceil_div(height, r) * ceil_div(width, r)
        pooling = 0 if r == 1 else c * positions if self.conv is None else 2 * r**2 * c**2 * cells
        projections = 4 * c**2 * (positions + cells)
        return projections + pooling + self.position.flops(height, width) + self.mixing_flops(height, width)

    def saved_elements(self, height: int, width: int) -> int:
        """Return input, queries, and mixed values twice, and pooled input, keys and values of cells."""
        r, c = self.reduction, self.in_channels
        cells = ceil_div(height, r) * ceil_div(width, r)
        of_conv = 0 if self.conv is None else c * cells * (r**2 + 1)
        return height * width * (4 * c + self.heads) + 3 * c * cells + of_conv


def spread(of_cells: Tensor, r: int, size: Size) -> Tensor:
    """Share out the weight of each cell of r x r evenly to its positions: (..., cells) -> (..., H * W)."""
    height, width = size
    of_cells = of_cells.reshape(*of_cells.shape[:-1], ceil_div(height, r), ceil_div(width, r))
    of_cells = of_cells / (_counts(height, r, of_cells)[:, None] * _counts(width, r, of_cells))
    return of_cells.repeat_interleave(r, -1).repeat_interleave(r, -2)[..., :height, :width].flatten(-2)


def _counts(n: int, r: int, like: Tensor) -> Tensor:
    """Return how many of ``n`` positions each cell of ``r`` holds: (ceil(n / r),), in the dtype of ``like``."""
    starts = torch.arange(ceil_div(n, r), device=like.device) * r
    return (n - starts).clamp(max=r).to(like.dtype)
