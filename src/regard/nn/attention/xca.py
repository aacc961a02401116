"""Cross-covariance attention (El-Nouby et al., XCiT, 2106.09681, section 3.2, equation 2): channels attend to channels.

y_i = W_o [A_h v_hi for h in heads],  A_h = softmax(tau_h Q_h^T K_h) over the d channels of a head, (d, d), where Q_h
and K_h, (N, d), are scaled so that each channel has length 1 over all positions. Cost grows with N alone. A position
gets nothing from another but by way of A.

As in the authors' code, tau is learned as a factor, where the paper divides by it, and starts at 1. Deviations: biases
after all projections; products over positions in float32 at least; XCiT's local patch interaction, which mixes
neighbours by convolutions, is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
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
from regard.nn.attention.position import MAP_POSITIONS, check_pos_embed, choose_position
from regard.types import AttentionMap


class XCA(Attention):
    """Multi-head attention among channels instead of positions.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads, each of ``in_channels / num_heads`` channels, at least 2.
        pos_embed: kind of position, see ``POSITIONS``; one that acts on the map.

    Raises:
        RegardError: an option does not fit, or a head has one channel, whose weight would be a constant 1.
    """

    card = Card(
        family="channel",
        paper="2106.09681",
        equation="y_i = W_o [softmax(tau_h Q_h^T K_h) v_hi for h in heads], channels of Q_h and K_h of length 1",
        parameters="4 * C**2 + 4 * C + num_heads",
        flops="8 * N * C**2 + 4 * N * C**2 / num_heads + C**2 / num_heads",
        peers=("timm.models.xcit.XCA",),
        when="When channels should attend to channels by queries and keys that cover all positions, at a cost that"
        " grows linearly with N.",
    )

    def __init__(self, in_channels: int, num_heads: int = 4, pos_embed: str = "none") -> None:
        check_pos_embed("XCA", pos_embed, MAP_POSITIONS)
        super().__init__(in_channels)
        check_divides(in_channels, num_heads)
        if in_channels == num_heads:
            what = f"XCA: num_heads {num_heads} leaves one of {in_channels} channels per head: its weight is always 1"
            raise RegardError(what, expected="2 channels per head or more")
        self.num_heads = num_heads
        self.position = choose_position(pos_embed, in_channels, num_heads)
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkv = nn.Linear(in_channels, 3 * in_channels)
        self.out = nn.Linear(in_channels, in_channels)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries, keys and values, each (B, heads, N, d)."""
        q, k, v = self.qkv(to_tokens(self.position.on_map(x))).chunk(3, -1)
        return split_heads(q, self.num_heads), split_heads(k, self.num_heads), split_heads(v, self.num_heads)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Queries and keys (B, heads, N, d) -> A, (B, heads, d, d), in float32 at least; a row sums to 1."""
        wide = torch.promote_types(q.dtype, torch.float32)
        with no_autocast(q):
            q, k = F.normalize(q.to(wide), dim=2), F.normalize(k.to(wide), dim=2)
            return (self.temperature * (q.transpose(-2, -1) @ k)).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        q, k, v = self.project(x)
        mixed = v @ self.weights(q, k).transpose(-2, -1).to(v.dtype)
        return to_map(self.out(merge_heads(mixed)), (x.shape[2], x.shape[3]))

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """How much each channel of the values gives, the mean of A over those that it gives to; sums to 1."""
        q, k, _ = self.project(x)
        return AttentionMap("channel", self.weights(q, k).mean(2).flatten(1) / self.num_heads)
