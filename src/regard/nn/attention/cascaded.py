"""Cascaded group attention (Liu et al., EfficientViT, 2305.07027, equations 2 and 3): each head feeds the next.

Channels fall into one group per head. Head h attends within z_h = x_h + b_{h-1}, its own channels plus what the head
before has found:  b_h = softmax(Q_h K_h^T / sqrt(d)) V_h,  K_h = W_k z_h, V_h = W_v z_h,
Q_h = conv(W_q z_h), a depth-wise convolution;  y = W_o relu([b_1, b_2, ...]). The projections are as many times smaller
as there are heads.

Deviations: biases in place of the authors' batch norms, and no learned bias of the scores, which belongs to one size of
map. The ReLU is the authors' code's.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from regard.nn.attention.core import (
    Attention,
    Card,
    Size,
    attention_weights,
    check_at_least,
    check_divides,
    check_odd,
    check_query,
    fused_attention,
    to_map,
    to_tokens,
)
from regard.types import AttentionMap


class CascadedGroupAttention(Attention):
    """Every position attends to every other, one head after the other, each on a part of the channels.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads.
        qk_dim: channels of a query and a key.
        kernel: side of the convolution of the queries, odd.

    Raises:
        RegardError: ``num_heads`` does not divide ``in_channels``, ``qk_dim`` is not positive, or ``kernel`` not odd.
    """

    card = Card(
        family="global",
        paper="2305.07027",
        equation="y = W_o relu([b_1, b_2, ...]), b_h = attention of x_h + b_(h-1)",
        parameters="C**2 / num_heads + 2 * C * qk_dim + C + num_heads * qk_dim * (3 + kernel**2) + C**2 + C",
        flops="2 * N * C * (C + group + 2 * qk_dim) + N * (2 * num_heads * qk_dim * kernel**2 + C)"
        " + N * group * (num_heads - 1) + 2 * N**2 * (C + num_heads * qk_dim)",
        peers=("timm.models.efficientvit_msra.CascadedGroupAttention",),
        when="When global attention should have small projections, one head refining the next; the cost still grows"
        " with N^2.",
        linear=False,
    )

    def __init__(self, in_channels: int, num_heads: int = 4, qk_dim: int = 16, kernel: int = 5) -> None:
        super().__init__(in_channels)
        check_divides(in_channels, num_heads)
        check_at_least("CascadedGroupAttention", "qk_dim", qk_dim, 1)
        check_odd("CascadedGroupAttention", "kernel", kernel)
        self.num_heads, self.qk_dim, self.kernel = num_heads, qk_dim, kernel
        self.group = in_channels // num_heads
        self.qkv = nn.ModuleList(nn.Linear(self.group, 2 * qk_dim + self.group) for _ in range(num_heads))
        self.around = nn.ModuleList(
            nn.Conv2d(qk_dim, qk_dim, kernel, padding=kernel // 2, groups=qk_dim) for _ in range(num_heads)
        )
        self.out = nn.Linear(in_channels, in_channels)

    def each_head(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Queries, keys and mixed values of one head after the other: (B, N, qk_dim) twice and (B, N, C / heads)."""
        size, found = (x.shape[2], x.shape[3]), None
        for part, qkv, around in zip(to_tokens(x).chunk(self.num_heads, -1), self.qkv, self.around, strict=True):
            fed = part if found is None else part + found
            q, k, v = qkv(fed).split((self.qk_dim, self.qk_dim, self.group), -1)
            q = to_tokens(around(to_map(q, size)))
            one_head = [t.contiguous()[:, None] for t in (q, k, v)]  # as the fused kernel requires
            found = fused_attention(one_head[0], one_head[1], one_head[2])[:, 0]
            yield q, k, found

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        mixed = torch.cat([found for _, _, found in self.each_head(x)], -1)
        return to_map(self.out(mixed.relu()), (x.shape[2], x.shape[3]))

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Row of weights of one query for each head: (B, heads, 1, H, W)."""
        row, column = place = check_query(query, (x.shape[2], x.shape[3]))
        at = row * x.shape[3] + column
        weights = torch.stack([attention_weights(q[:, at : at + 1], k) for q, k, _ in self.each_head(x)], 1)
        return AttentionMap("rows", weights.view(*weights.shape[:3], *x.shape[2:]), (place,))
