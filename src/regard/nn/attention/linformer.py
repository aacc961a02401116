"""Linformer (Wang et al., 2006.04768, equation 7): keys and values projected along the axis of positions, N to k.

b_i = W_o [sum_m softmax_m(q_i . (E x W_k)_m / sqrt(d)) (F x W_v)_m], with learned E and F of (k, N), one pair for all
heads ("headwise sharing", section 4).

The paper's N is fixed. Here E and F are learned on a base grid of side x side positions; for a map of another size
they are interpolated along both axes (bilinear, as fields over the unit square) and scaled by side^2 / (H W), so that
sums over positions keep their scale: E x is then the same integral of the map by finer or coarser steps. On a map of
the base size this is exactly the paper's form; far from it, retraining is wise, and below the base size detail of E
and F is skipped.

Deviations: the above; biases after the projections; E and F start from normal values of variance 1 / side^2, by
which projected tokens start at the scale of the map's own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import (
    Card,
    Size,
    attention_weights,
    check_at_least,
    fused_attention,
    mixing,
    split_heads,
    to_tokens,
)
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import MAP_POSITIONS, check_pos_embed


class Linformer(MultiHead):
    """Every position attends to ``rank`` learned mixtures of all positions.

    ``attention`` gives the implied weights of positions, softmax weights times F: they may be negative and need not
    sum to 1.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        rank: k, the number of mixtures.
        side: of the base grid that E and F are learned on; 20 suits the coarsest map of an image of 640.
        pos_embed: kind of position, see ``POSITIONS``; one that acts on the map.
    """

    card = Card(
        family="low-rank",
        paper="2006.04768",
        equation="b_i = W_o [sum_m softmax_m(q_hi . (E x W_hk)_m / sqrt(d)) (F x W_hv)_m]",
        parameters="4 * C**2 + 4 * C + 2 * rank * side**2",
        flops="4 * (N + rank) * C**2 + 8 * N * rank * C",
        peers=("torch.nn.MultiheadAttention on projected keys",),
        when="When global attention should go through a fixed number of learned projections of the map; the cost"
        " grows linearly with N, and maps far from the base grid call for retraining.",
    )

    def __init__(
        self, in_channels: int, num_heads: int = 4, rank: int = 64, side: int = 20, pos_embed: str = "none"
    ) -> None:
        check_pos_embed("Linformer", pos_embed, MAP_POSITIONS)
        check_at_least("Linformer", "rank", rank, 1)
        check_at_least("Linformer", "side", side, 1)
        super().__init__(in_channels, num_heads, pos_embed)
        self.rank = rank
        self.side = side
        self.e = nn.Parameter(torch.randn(rank, side, side) / side)
        self.f = nn.Parameter(torch.randn(rank, side, side) / side)

    def projection(self, learned: Tensor, size: Size) -> Tensor:
        """E or F for a map of ``size``: (rank, side, side) -> (rank, H * W)."""
        resized = F.interpolate(learned[None], size=size, mode="bilinear", align_corners=False)[0].flatten(1)
        return resized * (self.side**2 / (size[0] * size[1]))

    def mixtures(self, learned: Tensor, tokens: Tensor, size: Size) -> Tensor:
        """Learned sums of all positions, E x or F x: (B, H * W, C) -> (B, rank, C)."""
        without = tokens[:, :1].expand(-1, self.rank, -1)
        return mixing(lambda: self.projection(learned, size) @ tokens, without=without)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries (B, heads, H * W, d), keys and values (B, heads, rank, d)."""
        size = (x.shape[2], x.shape[3])
        tokens = to_tokens(self.position.on_map(x))
        q, k, v = (
            F.linear(t, w, b)
            for t, w, b in zip(
                (tokens, self.mixtures(self.e, tokens, size), self.mixtures(self.f, tokens, size)),
                self.qkv.weight.chunk(3),
                self.qkv.bias.chunk(3),
                strict=True,
            )
        )
        return split_heads(q, self.num_heads), split_heads(k, self.num_heads), split_heads(v, self.num_heads)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) and twice (B, heads, rank, d) -> (B, heads, N, d)."""
        return fused_attention(q, k, v)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Weights of one query (B, heads, 1, d) over all positions by way of F: (B, heads, 1, N)."""
        return attention_weights(q, k) @ self.projection(self.f, size)
