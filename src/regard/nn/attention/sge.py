"""Spatial group-wise enhance (Li et al., 1905.09646, section 3, equations 1 to 6).

Channels fall into groups. In each, with g the mean of its vectors x_i over positions:
c_i = g . x_i;  c'_i = (c_i - mean(c)) / std(c) over positions;  y_i = x_i sigmoid(gamma c'_i + beta),
one gamma and one beta per group. Positions that resemble the mean of the group are kept.

Deviations: 1e-5 is added to the variance instead of the deviation, so that a map of one position, which weighs
sigmoid(beta), has a gradient. gamma starts at 1, unless ``zero_start`` is set; the paper starts it at 0, by which every
position weighs the same until gamma has moved. beta starts at 1 as in the paper. Products and their statistics are
computed in float32 at least.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, check_divides
from regard.nn.precision import at_least_float32
from regard.types import AttentionMap

EPSILON = 1e-5
"""Value added to variances."""


class SGE(Attention):
    """One weight in 0..1 for each group of channels at each position; two parameters per group.

    Args:
        in_channels: channels of the input and the output; a multiple of ``groups``.
        groups: number of groups of channels, each with a separate map.
        zero_start: whether gamma starts at zero, as in the paper.

    Raises:
        RegardError: ``groups`` does not divide ``in_channels``.
    """

    card = Card(
        family="channel and spatial",
        paper="1905.09646",
        equation="y_i = x_i sigmoid(gamma (c_i - mean(c)) / std(c) + beta), c_i = mean(x) . x_i in each group",
        parameters="2 * groups",
        flops="4 * C * N + 8 * groups * N + groups",
        peers=("its definition, by loops",),
        when="When groups of channels should keep the positions that resemble the mean of the group, with two"
        " parameters per group.",
    )

    def __init__(self, in_channels: int, groups: int = 8, zero_start: bool = False) -> None:
        super().__init__(in_channels)
        check_divides(in_channels, groups, "groups")
        self.groups = groups
        self.gamma = nn.Parameter(torch.zeros(groups) if zero_start else torch.ones(groups))
        self.beta = nn.Parameter(torch.ones(groups))

    def by_group(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, groups, C / groups, H, W)."""
        return x.reshape(x.shape[0], self.groups, self.in_channels // self.groups, *x.shape[2:])

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, groups, 1, H, W), in float32 at least."""
        grouped = self.by_group(at_least_float32(x))
        alike = (grouped * grouped.mean((3, 4), keepdim=True)).sum(2)  # (B, groups, H, W)
        apart = alike - alike.mean((2, 3), keepdim=True)
        normed = apart / (apart.square().mean((2, 3), keepdim=True) + EPSILON).sqrt()
        return (self.gamma[:, None, None] * normed + self.beta[:, None, None]).sigmoid()[:, :, None]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return (self.by_group(x) * self.weights(x).to(x.dtype)).flatten(1, 2)

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Weight of each value, that of its group at its position; the same for every query."""
        return AttentionMap("elements", self.weights(x).expand(-1, -1, x.shape[1] // self.groups, -1, -1).flatten(1, 2))
