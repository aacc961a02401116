"""Attention within a row, added to the catalogue as a newcomer would: ``forward``, ``attention`` and ``card``."""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, Size, attention_weights, check_query, fused_attention
from regard.types import AttentionMap


class RowAttention(Attention):
    """Each position attends to its own row.

    Args:
        in_channels: channels of the input and the output.
    """

    card = Card(
        family="sparse",
        paper="1912.12180",
        equation="b_rc = sum_c' softmax_c'(q_rc . k_rc' / sqrt(d)) v_rc'",
        parameters="3 * C**2 + 3 * C",
        flops="6 * N * C**2 + 4 * C * N * W",
        peers=("none",),
        when="When positions should see their own row; the cost grows with N W.",
        linear=False,
    )

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.qkv = nn.Linear(in_channels, 3 * in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        q, k, v = self.qkv(x.permute(0, 2, 3, 1)).chunk(3, -1)  # (B, H, W, C)
        return fused_attention(q, k, v).permute(0, 3, 1, 2)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Row of weights of one query: (B, 1, 1, H, W), zero outside of its row."""
        row, column = place = check_query(query, (x.shape[2], x.shape[3]))
        q, k, _ = self.qkv(x[:, :, row].mT).chunk(3, -1)  # (B, W, C)
        found = x.new_zeros(x.shape[0], 1, 1, *x.shape[2:])
        found[:, 0, 0, row] = attention_weights(q[:, column : column + 1], k)[:, 0]
        return AttentionMap("rows", found, (place,))
