"""Contextual transformer (Li et al., CoT, 2107.12292, section 3.2, equations 4 to 6): keys in their context.

Static context: K = relu(BN(conv_kxk(x))), in groups. Weights: A_i = W_d relu(BN(W_t [K_i, x_i])), k x k for each head
at each position. Dynamic context: D_i = silu(BN(sum over the k x k positions j around i of A_ij v_j)), v = BN(W_v x).
Both are joined by weights per channel: y = a K + b D, (a, b) = softmax(MLP(mean(K + D))) over the two.

The queries are the map itself, and no softmax normalises A, as in the paper: weights may be negative.

Deviations: ``num_heads`` heads, where the authors' code shares a weight among eight channels; no group norm of A.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, Size, check_divides, check_odd, check_query, mixing
from regard.nn.attention.norm import MapNorm
from regard.nn.attention.square import places_around
from regard.types import AttentionMap

GROUPS, LEAST_HIDDEN = 4, 32
"""Of the convolution of the keys, at most; hidden channels where the contexts are joined, at least."""


class ContextualTransformer(Attention):
    """Attention to the ``kernel`` x ``kernel`` square around each position, by weights that its context predicts.

    ``attention`` shows A, the weights of the dynamic context.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads.
        kernel: side of the square, odd.

    Raises:
        RegardError: ``num_heads`` does not divide ``in_channels``, or ``kernel`` is not odd and positive.
    """

    card = Card(
        family="local",
        paper="2107.12292",
        equation="y = a K + b D, K = conv(x), D_i = sum over k x k of (W_d relu(W_t [K_i, x_i]))_j v_j",
        parameters="C**2 * (kernel**2 / groups + 1) + 8 * C + hidden * (3 * C + 1)"
        " + squeezed * (2 * C + 2 + num_heads * kernel**2) + num_heads * kernel**2",
        flops="2 * N * C**2 * (kernel**2 / groups + 1) + N * C * (2 * kernel**2 + 7)"
        " + N * squeezed * (4 * C + 2 * num_heads * kernel**2 + 1) + hidden * (6 * C + 1)",
        peers=("its definition, by loops",),
        when="When a convolution should be complemented by weights over the same square that the context predicts;"
        " the cost grows linearly with N.",
    )

    def __init__(self, in_channels: int, num_heads: int = 4, kernel: int = 3) -> None:
        super().__init__(in_channels)
        check_divides(in_channels, num_heads)
        check_odd("ContextualTransformer", "kernel", kernel)
        c, self.num_heads, self.kernel = in_channels, num_heads, kernel
        self.groups = math.gcd(c, GROUPS)
        self.squeezed = max(1, c // 2)
        self.hidden = max(LEAST_HIDDEN, c // 2)
        conv = nn.Conv2d(c, c, kernel, padding=kernel // 2, groups=self.groups, bias=False)
        self.keys = nn.Sequential(conv, MapNorm(c), nn.ReLU())
        self.values = nn.Sequential(nn.Conv2d(c, c, 1, bias=False), MapNorm(c))
        self.weigh = nn.Sequential(
            nn.Conv2d(2 * c, self.squeezed, 1, bias=False),
            MapNorm(self.squeezed),
            nn.ReLU(),
            nn.Conv2d(self.squeezed, num_heads * kernel**2, 1),
        )
        self.norm = nn.Sequential(MapNorm(c), nn.SiLU())
        self.join = nn.Sequential(nn.Linear(c, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 2 * c))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        static: Tensor = self.keys(x)
        values = self.values(x)
        weights = self.weigh(torch.cat((static, x), 1))
        dynamic: Tensor = self.norm(mixing(self.mix, weights, values, without=values))
        shares = self.join((static + dynamic).mean((2, 3))).view(x.shape[0], 2, x.shape[1], 1, 1).softmax(1)
        return static * shares[:, 0] + dynamic * shares[:, 1]

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        """Weights (B, heads * k^2, H, W) and values (B, C, H, W) -> (B, C, H, W)."""
        batch, channels, height, width = values.shape
        heads, n, squares = self.num_heads, height * width, self.kernel**2
        around = torch.stack(list(places_around(values, self.kernel, rows=2)), 1).view(
            batch, squares, heads, channels // heads, n
        )
        weights = weights.view(batch, heads, squares, n)
        mixed = weights.permute(0, 1, 3, 2)[..., None, :] @ around.permute(0, 2, 4, 1, 3)  # (B, heads, N, 1, d)
        return mixed[..., 0, :].transpose(2, 3).reshape(values.shape)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Weights of one query for each head: (B, heads, 1, H, W), zero where it sees nothing."""
        height, width = size = (x.shape[2], x.shape[3])
        row, column = place = check_query(query, size)
        reach = self.kernel // 2
        weights = self.weigh(torch.cat((self.keys(x), x), 1))[:, :, row, column]
        found = x.new_zeros(x.shape[0], self.num_heads, 1, height + 2 * reach, width + 2 * reach)
        square = weights.view(x.shape[0], self.num_heads, 1, self.kernel, self.kernel)
        found[..., row : row + self.kernel, column : column + self.kernel] = square
        return AttentionMap("rows", found[..., reach : reach + height, reach : reach + width], (place,))
