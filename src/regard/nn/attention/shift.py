"""S2-MLPv2 (Yu et al., 2108.01072, equations 5 to 9): the map, shifted in two ways, weighed against each other.

[X_1, X_2, X_3] = W x. Quarters of the channels of X_1 come from one position above, below, left and right, those of
X_2 from left, right, above and below; X_3 stays. y = W_o sum_k a_k X_k, with a weight per channel,
a = softmax over k of W_2 gelu(W_1 mean(X_1 + X_2 + X_3)): split attention. At the border a value stays where it is.

Deviation: the mean over positions, where the paper has the sum, which grows with the map.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, Size, check_query
from regard.types import AttentionMap

ABOVE, BELOW, LEFT, RIGHT = (-1, 0), (1, 0), (0, -1), (0, 1)
ORDERS = ((ABOVE, BELOW, LEFT, RIGHT), (LEFT, RIGHT, ABOVE, BELOW))
"""Where the quarters of the channels of X_1 and of X_2 come from."""


class S2Attention(Attention):
    """Every channel chooses between a neighbour in one direction, one in another, and its own position.

    Args:
        in_channels: channels of the input and the output.
    """

    card = Card(
        family="local",
        paper="2108.01072",
        equation="y = W_o sum_k a_k X_k, X_1 and X_2 shifted by one position, a = softmax_k(MLP(mean(sum_k X_k)))",
        parameters="8 * C**2 + 4 * C",
        flops="C * N * (8 * C + 10) + 8 * C**2 + C",
        peers=("its definition, by loops",),
        when="When an exchange with direct neighbours is enough: channels are shifted by one position, and no"
        " positions are compared.",
    )

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.project = nn.Conv2d(in_channels, 3 * in_channels, 1)
        self.choose = nn.Sequential(
            nn.Linear(in_channels, in_channels, bias=False),
            nn.GELU(),
            nn.Linear(in_channels, 3 * in_channels, bias=False),
        )
        self.out = nn.Conv2d(in_channels, in_channels, 1)

    def candidates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> X, (B, 3, C, H, W), and a, (B, 3, C)."""
        first, second, third = self.project(x).chunk(3, 1)
        found = torch.stack((_shifted(first, ORDERS[0]), _shifted(second, ORDERS[1]), third), 1)
        weights: Tensor = self.choose(found.sum(1).mean((2, 3))).view(x.shape[0], 3, x.shape[1])
        return found, weights.softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        found, weights = self.candidates(x)
        y: Tensor = self.out((found * weights[..., None, None]).sum(1))
        return y

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Where each channel of a query is taken from: (B, C, 1, H, W), three positions that sum to 1."""
        height, width = size = (x.shape[2], x.shape[3])
        row, column = place = check_query(query, size)
        _, weights = self.candidates(x)
        found = torch.zeros(x.shape[0], self.in_channels, 1, height, width, dtype=x.dtype, device=x.device)
        found[:, :, 0, row, column] = weights[:, 2]
        for order, share in zip(ORDERS, weights[:, :2].unbind(1), strict=True):
            for part, (down, along) in zip(_quarters(self.in_channels), order, strict=True):
                i, j = min(max(row + down, 0), height - 1), min(max(column + along, 0), width - 1)
                found[:, part, 0, i, j] += share[:, part]
        return AttentionMap("rows", found, (place,))


def _quarters(channels: int) -> list[slice]:
    ends = [channels // 4 * i for i in range(4)] + [channels]
    return [slice(*pair) for pair in pairwise(ends)]


def _shifted(x: Tensor, order: tuple[Size, ...]) -> Tensor:
    """(B, C, H, W) -> the same, each quarter of the channels taken from one position away."""
    parts = [x[:, part] for part in _quarters(x.shape[1])]
    return torch.cat([_neighbour(part, *step) for part, step in zip(parts, order, strict=True)], 1)


def _neighbour(x: Tensor, down: int, along: int) -> Tensor:
    dim = 2 if down else 3
    n = x.shape[dim]
    if (down or along) < 0:
        return torch.cat((x.narrow(dim, 0, 1), x.narrow(dim, 0, n - 1)), dim)
    return torch.cat((x.narrow(dim, 1, n - 1), x.narrow(dim, n - 1, 1)), dim)
