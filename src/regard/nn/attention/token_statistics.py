"""Token statistics self-attention (Wu et al., TSSA, 2412.17810, equations 15 to 17): second moments instead of pairs.

w = W x, split over heads. Every position belongs to the heads in shares p_hi = softmax_h(t_h |w_hi / |w_h||^2), each
channel of a head scaled to length 1 over the positions. A head knows the moments m_h = sum_i p_hi w_hi^2 / sum_i p_hi,
channel by channel, and shrinks what varies much:  y_i = W_o [-p_hi w_hi / (1 + m_h)]. Cost grows with N alone, and no
position is compared with another.

``attention`` shows p_hi / (1 + m_h), the weight of each value of w.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.nn.attention.core import (
    Attention,
    Card,
    check_divides,
    merge_heads,
    no_autocast,
    split_heads,
    to_map,
    to_tokens,
)
from regard.nn.precision import at_least_float32
from regard.types import AttentionMap

EPSILON = 1e-12


class TokenStatisticsAttention(Attention):
    """Every value of a projection is shrunk by its head's share in the position and the channel's second moment.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads.

    Raises:
        RegardError: ``num_heads`` does not divide ``in_channels``.
    """

    card = Card(
        family="low-rank",
        paper="2412.17810",
        equation="y_i = W_o [-p_hi w_hi / (1 + m_h)], m_h = sum_i p_hi w_hi^2 / sum_i p_hi",
        parameters="2 * C**2 + C + num_heads",
        flops="4 * N * C**2 + 8 * C * N + 2 * num_heads * N + 2 * C",
        peers=("its definition, by loops",),
        when="When a projection should be reweighted by second moments over the map; no positions are compared, and"
        " the cost grows linearly with N.",
    )

    def __init__(self, in_channels: int, num_heads: int = 4) -> None:
        super().__init__(in_channels)
        check_divides(in_channels, num_heads)
        self.num_heads = num_heads
        self.project = nn.Linear(in_channels, in_channels, bias=False)
        self.temperature = nn.Parameter(torch.ones(num_heads, 1))
        self.out = nn.Linear(in_channels, in_channels)

    def weighed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> w and the weights of its values, each (B, heads, N, d), in float32 at least."""
        w = split_heads(self.project(to_tokens(x)), self.num_heads)
        with no_autocast(x):
            squares = at_least_float32(w).square()
            lengths = squares.sum(2, keepdim=True).clamp(min=EPSILON)
            shares = ((squares / lengths).sum(-1) * self.temperature).softmax(1)[..., None]  # (B, heads, N, 1)
            moments = (shares * squares).sum(2, keepdim=True) / shares.sum(2, keepdim=True).clamp(min=EPSILON)
            return w, shares / (1 + moments)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        w, weights = self.weighed(x)
        return to_map(self.out(merge_heads(-w * weights.to(w.dtype))), (x.shape[2], x.shape[3]))

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Weight of each value of the projection, (B, C, H, W); the same for every query."""
        _, weights = self.weighed(x)
        return AttentionMap("elements", to_map(merge_heads(weights), (x.shape[2], x.shape[3])))
