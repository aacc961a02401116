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
from regard.nn.attention.base import Attention
from regard.nn.attention.card import Card
from regard.nn.attention.heads import check_heads
from regard.nn.attention.options import MAP_POSITIONS, check_positions
from regard.nn.attention.position import choose_position
from regard.nn.attention.tokens import merge_heads, split_heads, to_map, to_tokens
from regard.types import AttentionMap


class XCA(Attention):
    """Multi-head attention among channels instead of positions.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels, at least 2.
        positions: kind of position, see ``POSITIONS``; one that acts on the map.

    Raises:
        RegardError: an option does not fit, or a head has one channel, whose weight would be a constant 1.
    """

    card = Card(
        family="channel",
        paper="2106.09681",
        equation="y_i = W_o [softmax(tau_h Q_h^T K_h) v_hi for h in heads], channels of Q_h and K_h of length 1",
        parameters="4 * C**2 + 4 * C + heads",
        flops="8 * N * C**2 + 4 * N * C**2 / heads + C**2 / heads",
        peers=("timm.models.xcit.XCA",),
    )

    def __init__(self, in_channels: int, heads: int = 4, positions: str = "none") -> None:
        check_positions("XCA", positions, MAP_POSITIONS)
        super().__init__(in_channels)
        check_heads(in_channels, heads)
        if in_channels == heads:
            what = f"XCA: {heads} heads leave one of {in_channels} channels to each, whose weight would be a constant 1"
            raise RegardError(what, expected="2 channels a head or more")
        self.heads = heads
        self.position = choose_position(positions, in_channels, heads)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(in_channels, 3 * in_channels)
        self.out = nn.Linear(in_channels, in_channels)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries, keys and values, each (B, heads, N, d)."""
        q, k, v = self.qkv(to_tokens(self.position.on_map(x))).chunk(3, -1)
        return split_heads(q, self.heads), split_heads(k, self.heads), split_heads(v, self.heads)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Queries and keys (B, heads, N, d) -> A, (B, heads, d, d), in float32 at least; a row sums to 1."""
        wide = torch.promote_types(q.dtype, torch.float32)
        with torch.autocast(q.device.type, enabled=False):
            q, k = F.normalize(q.to(wide), dim=2), F.normalize(k.to(wide), dim=2)
            return (self.temperature * (q.transpose(-2, -1) @ k)).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        q, k, v = self.project(x)
        mixed = v @ self.weights(q, k).transpose(-2, -1).to(v.dtype)
        return to_map(self.out(merge_heads(mixed)), (x.shape[2], x.shape[3]))

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Return how much each channel of the values gives, the mean of A over those that it gives to; sums to 1."""
        q, k, _ = self.project(x)
        return AttentionMap("channel", self.weights(q, k).mean(2).flatten(1) / self.heads)

    def flops(self, height: int, width: int) -> int:
        """Return the four projections, 8 N C^2, two products of 2 N C d, and a factor for each pair of channels."""
        c, positions = self.in_channels, height * width
        pairs = c * c // self.heads
        return positions * (8 * c**2 + 4 * pairs) + pairs + self.position.flops(height, width)

    def saved_elements(self, height: int, width: int) -> int:
        """Return the input, queries, keys and values, the normalised ones, what was mixed, and A."""
        pairs = self.in_channels**2 // self.heads
        return 7 * height * width * self.in_channels + 3 * pairs + 4 * self.in_channels
