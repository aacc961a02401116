"""Selective kernel (Li et al., SKNet, 1903.06586, section 3.1, equations 1 to 6): channels choose a field of view.

Split: U_m = relu(BN(conv_m(x))), m = 1 .. M, 3 x 3 convolutions in groups with dilation m, whose fields are 3, 5, ...;
fuse: z = relu(BN(W mean(sum_m U_m))), of d = max(C / r, 32) channels;
select: y_c = sum_m a_mc U_mc, a = softmax over m of A_m z.

This is a convolution, unlike a gate: y does not contain x. Deviations: none to section 3.1; the number of groups, for
which the paper has 32, is the largest divisor of C up to 32 by default. A single value has no variance: one image's z
is normalised in training by the running statistics, which it leaves unchanged.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, check_at_least, check_divides
from regard.nn.attention.norm import MapNorm
from regard.types import AttentionMap

GROUPS = 32
"""Largest default number of groups, the paper's."""
LEAST = 32
"""Smallest number of hidden channels, L in the paper."""


class SelectiveKernel(Attention):
    """Each channel takes a weighted mean of convolutions whose fields differ, 3 x 3, 5 x 5, ..., by all channels.

    Args:
        in_channels: channels of the input and the output.
        branches: M, number of convolutions.
        reduction: channels per hidden channel.
        groups: groups of the convolutions; the largest divisor of ``in_channels`` up to 32 if None.

    Raises:
        RegardError: an option is not positive, or ``groups`` does not divide ``in_channels``.
    """

    card = Card(
        family="channel",
        paper="1903.06586",
        equation="y_c = sum_m softmax_m(A_m relu(BN(W mean(sum_m U_m))))_c U_mc, U_m = relu(BN(conv_m(x)))",
        parameters="branches * (9 * C**2 / groups + 2 * C) + (branches + 1) * C * hidden + 2 * hidden",
        flops="N * C * (branches * (18 * C / groups + 4) + 1) + 2 * C * hidden * (branches + 1) + hidden",
        peers=("timm.layers.SelectiveKernel",),
        when="When channels should choose between convolutions of different fields of view for each image; it"
        " replaces its input instead of scaling it.",
    )

    def __init__(self, in_channels: int, branches: int = 2, reduction: int = 16, groups: int | None = None) -> None:
        super().__init__(in_channels)
        check_at_least("SelectiveKernel", "branches", branches, 1)
        check_at_least("SelectiveKernel", "reduction", reduction, 1)
        self.groups = math.gcd(in_channels, GROUPS) if groups is None else groups
        check_divides(in_channels, self.groups, "groups")
        self.branches = branches
        self.hidden = max(in_channels // reduction, LEAST)
        self.paths = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, in_channels, 3, padding=d, dilation=d, groups=self.groups, bias=False),
                MapNorm(in_channels),
                nn.ReLU(),
            )
            for d in range(1, branches + 1)
        )
        self.reduce = nn.Sequential(nn.Conv2d(in_channels, self.hidden, 1, bias=False), MapNorm(self.hidden), nn.ReLU())
        self.select = nn.Conv2d(self.hidden, branches * in_channels, 1, bias=False)

    def weigh(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> the convolutions (B, M, C, H, W) and their weights (B, M, C, 1, 1)."""
        paths = torch.stack([path(x) for path in self.paths], 1)
        scores = self.select(self.reduce(paths.sum(1).mean((2, 3), keepdim=True)))
        return paths, scores.view(x.shape[0], self.branches, self.in_channels, 1, 1).softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        paths, weights = self.weigh(x)
        return (paths * weights).sum(1)

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Mean field that each channel chose, as a share of the widest, (B, C); the same for every query."""
        _, weights = self.weigh(x)
        fields = torch.arange(1, self.branches + 1, device=x.device, dtype=weights.dtype) * 2 + 1
        return AttentionMap("channel", (weights[..., 0, 0] * fields[:, None]).sum(1) / fields[-1])
