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

from regard.nn.attention.card import Card
from regard.nn.attention.dot_product import attention_weights, fused_attention
from regard.nn.attention.multi_head import MultiHead, Size
from regard.nn.attention.options import MAP_POSITIONS, check_at_least, check_positions
from regard.nn.attention.tokens import split_heads, to_map, to_tokens


class Linformer(MultiHead):
    """Every position attends to ``rank`` learned mixtures of all positions.

    ``attention`` gives the implied weights of positions, softmax weights times F: they may be negative and need not
    sum to 1.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        rank: k, the number of mixtures.
        side: of the base grid that E and F are learned on; 20 suits the coarsest map of an image of 640.
        positions: kind of position, see ``POSITIONS``; one that acts on the map.

    Raises:
        RegardError: an option does not fit.
    """

    card = Card(
        family="low-rank",
        paper="2006.04768",
        equation="b_i = W_o [sum_m softmax_m(q_hi . (E x W_hk)_m / sqrt(d)) (F x W_hv)_m]",
        parameters="4 * C**2 + 4 * C + 2 * rank * side**2",
        flops="4 * (N + rank) * C**2 + 8 * N * rank * C",
        peers=("torch.nn.MultiheadAttention on projected keys",),
    )

    def __init__(
        self, in_channels: int, heads: int = 4, rank: int = 64, side: int = 20, positions: str = "none"
    ) -> None:
        check_positions("Linformer", positions, MAP_POSITIONS)
        check_at_least("Linformer", "rank", rank, 1)
        check_at_least("Linformer", "side", side, 1)
        super().__init__(in_channels, heads, positions)
        self.rank = rank
        self.side = side
        self.e = nn.Parameter(torch.randn(rank, side, side) / side)
        self.f = nn.Parameter(torch.randn(rank, side, side) / side)

    def projection(self, learned: Tensor, size: Size) -> Tensor:
        """Return E or F for a map of ``size``: (rank, side, side) -> (rank, H * W)."""
        resized = F.interpolate(learned[None], size=size, mode="bilinear", align_corners=False)[0].flatten(1)
        return resized * (self.side**2 / (size[0] * size[1]))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries (B, heads, H * W, d), keys and values (B, heads, rank, d)."""
        size = (x.shape[2], x.shape[3])
        tokens = to_tokens(self.position.on_map(x))
        q, k, v = (
            F.linear(t, w, b)
            for t, w, b in zip(
                (tokens, self.projection(self.e, size) @ tokens, self.projection(self.f, size) @ tokens),
                self.qkv.weight.chunk(3),
                self.qkv.bias.chunk(3),
                strict=True,
            )
        )
        return split_heads(q, self.heads), split_heads(k, self.heads), split_heads(v, self.heads)

    def unmixed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W): projections of channels alone; all that mixes positions is left out."""
        tokens = to_tokens(self.position.on_map(x))
        queries = F.linear(tokens, self.qkv.weight[: self.in_channels], self.qkv.bias[: self.in_channels])
        return to_map(self.out(queries), (x.shape[2], x.shape[3]))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) and twice (B, heads, rank, d) -> (B, heads, N, d)."""
        return fused_attention(q, k, v)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Return the weights of one query (B, heads, 1, d) over all positions by way of F: (B, heads, 1, N)."""
        return attention_weights(q, k) @ self.projection(self.f, size)

    def pairs(self, height: int, width: int) -> int:
        """Return twice a pair for each position and mixture: one to attend to it, one to make it."""
        return 2 * height * width * self.rank

    def flops(self, height: int, width: int) -> int:
        """Return the projections of N queries and outputs and of k keys and values, positions and mixing.

        E and F of the map's size are the same for every image and not counted.
        """
        projections = 4 * (height * width + self.rank) * self.in_channels**2
        return projections + self.position.flops(height, width) + self.mixing_flops(height, width)

    def saved_elements(self, height: int, width: int) -> int:
        """Return input, queries and mixed values of N, E and F, and mixtures, keys and values."""
        of_positions = height * width * (3 * self.in_channels + self.heads + 2 * self.rank)
        return of_positions + 4 * self.rank * self.in_channels
