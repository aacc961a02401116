"""Polarity-aware linear attention (Meng et al., PolaFormer, 2501.15061, equations 6 to 9): products below 0 count too.

Linear attention by max(q, 0) loses where queries or keys are negative. Here both signs are kept apart, x+ = max(x, 0)^p
and x- = max(-x, 0)^p with a learned power p = 1 + a sigmoid(.) > 1 for each channel, which sharpens the weights:
    same signs      s_ij = q_i+ . k_j+ + q_i- . k_j-   weigh the first half of the values' channels,
    opposite signs  o_ij = q_i+ . k_j- + q_i- . k_j+   the second,
each divided by its sum over j, in sums over positions that are the same for every query.
y = W_o [g (b + P * v)]: g = W_g x are coefficients per value, P a depth-wise convolution of the values.

``attention`` gives two rows for each head, s and o, each summing to 1.

Deviation: the authors' code adds learned positions to the keys, which belong to one size of map; they are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import (
    Attention,
    Card,
    Size,
    check_divides,
    check_odd,
    check_query,
    merge_heads,
    mixing,
    no_autocast,
    split_heads,
    to_map,
    to_tokens,
)
from regard.nn.attention.kernel import EPSILON, share
from regard.nn.precision import at_least_float32
from regard.types import AttentionMap

POWER = 4
"""a: powers lie in 1..1 + a."""


class PolarityAttention(Attention):
    """Linear attention in which what agrees and what opposes are weighed apart.

    Args:
        in_channels: channels of the input and the output; each head has an even number.
        num_heads: number of heads.
        kernel: odd side of the convolution of the values.

    Raises:
        RegardError: ``num_heads`` does not divide ``in_channels`` into even parts, or ``kernel`` is not odd.
    """

    card = Card(
        family="kernel",
        paper="2501.15061",
        equation="y = W_o [g ([sum_j s_ij v1_j, sum_j o_ij v2_j] + P * v)], s and o from equal and opposite signs",
        parameters="5 * C**2 + 5 * C + 2 * C + (kernel**2 + 1) * C / num_heads",
        flops="10 * N * C**2 + 8 * N * C**2 / num_heads + C * N * (2 * kernel**2 + 12)",
        peers=("the explicit kernel matrices",),
        when="When linear attention should keep what opposes a query apart from what agrees with it, with a learned"
        " sharpness.",
    )

    def __init__(self, in_channels: int, num_heads: int = 4, kernel: int = 5) -> None:
        super().__init__(in_channels)
        check_divides(in_channels, num_heads, multiple=2)
        check_odd("PolarityAttention", "kernel", kernel)
        self.num_heads, self.kernel, d = num_heads, kernel, in_channels // num_heads
        self.qkvg = nn.Linear(in_channels, 4 * in_channels)
        self.scale = nn.Parameter(torch.zeros(in_channels))
        self.power = nn.Parameter(torch.zeros(num_heads, 1, d))
        self.skip = nn.Conv2d(d, d, kernel, padding=kernel // 2, groups=d)
        self.out = nn.Linear(in_channels, in_channels)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries, keys and values, each (B, heads, N, d), and coefficients (B, N, C)."""
        q, k, v, g = self.qkvg(to_tokens(x)).chunk(4, -1)
        scale = F.softplus(self.scale)
        q, k, v = (split_heads(t, self.num_heads) for t in (q / scale, k / scale, v))
        return q, k, v, g

    def features(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, heads, M or N, d) -> features of queries for same and for opposite signs, and of keys, (..., 2 d)."""
        power = 1 + POWER * self.power.sigmoid()
        q_up, q_down, k_up, k_down = (t.relu() ** power for t in (q, -q, k, -k))
        return torch.cat((q_up, q_down), -1), torch.cat((q_down, q_up), -1), torch.cat((k_up, k_down), -1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        size = (x.shape[2], x.shape[3])
        q, k, v, g = self.project(x)
        mixed = mixing(self.mix, q, k, v, without=v)
        # The convolution is the same for all heads.
        maps = v.transpose(2, 3).reshape(v.shape[0] * v.shape[1], v.shape[3], *size)
        around = self.skip(maps).view(v.shape[0], v.shape[1], v.shape[3], v.shape[2]).transpose(2, 3)
        return to_map(self.out(merge_heads(mixed + around) * g), size)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        with no_autocast(q):
            same, opposite, keys = self.features(at_least_float32(q), at_least_float32(k))
            total = keys.sum(-2)[..., None]
            halves = [
                queries @ (keys.mT @ half) / (queries @ total).clamp(min=EPSILON)
                for queries, half in zip((same, opposite), at_least_float32(v).chunk(2, -1), strict=True)
            ]
            return torch.cat(halves, -1).to(v.dtype)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Implied weights of one query, two rows for each head: (B, 2 * heads, 1, H, W)."""
        size = (x.shape[2], x.shape[3])
        row, column = place = check_query(query, size)
        at = row * size[1] + column
        q, k, _, _ = self.project(x)
        with no_autocast(x):
            same, opposite, keys = self.features(at_least_float32(q[:, :, at : at + 1]), at_least_float32(k))
            rows = torch.stack([share(queries @ keys.mT) for queries in (same, opposite)], 2)
        return AttentionMap("rows", rows.view(x.shape[0], 2 * self.num_heads, 1, *size), (place,))
