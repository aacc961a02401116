"""Channel prior convolutional attention (Huang et al., CPCA, 2306.05196, section 3).

First channels, then values by strips around them:
    x' = x sigmoid(MLP(mean over positions of x) + MLP(max over positions of x)), one weight per channel;
    y = x' (W [u + sum over k of conv_kx1(conv_1xk(u))] + b), u = conv_5x5(x'), k = 7, 11, 21, one weight per value,
of any sign; all convolutions but W are depth-wise.

Deviations: the sigmoid is of the sum, as in the paper's equation; the authors' code adds two sigmoids, and has a 1 x 1
convolution with a GELU before and one behind. Where values are equal, the gradient of their maximum is shared evenly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.nn.attention.channel_then_spatial import ChannelThenSpatial
from regard.nn.attention.core import Card, check_at_least

STRIPS = (7, 11, 21)
"""Lengths of the strips, the paper's."""


class CPCA(ChannelThenSpatial):
    """One weight in 0..1 per channel, then one per value from strips of three lengths around it.

    Args:
        in_channels: channels of the input and the output.
        reduction: channels per hidden unit.

    Raises:
        RegardError: ``reduction`` is not positive.
    """

    card = Card(
        family="channel and spatial",
        paper="2306.05196",
        equation="y = x' W (u + sum_k conv_kx1(conv_1xk(u))), u = conv(x'), x' = x sigmoid(MLP(mean(x)) + MLP(max(x)))",
        parameters="2 * C * hidden + hidden + C**2 + 112 * C",
        flops="N * C * (2 * C + 213) + 8 * C * hidden + 2 * hidden + 3 * C",
        peers=("its definition, by dense convolutions",),
        when="When every channel should have its own weights over positions, from strips of several lengths.",
    )

    def __init__(self, in_channels: int, reduction: int = 4) -> None:
        super().__init__(in_channels)
        check_at_least("CPCA", "reduction", reduction, 1)
        self.hidden = max(1, in_channels // reduction)
        if in_channels < reduction:
            self.note = f"{in_channels} channels at reduction {reduction}: one hidden unit"
        self.fc1, self.fc2 = nn.Linear(in_channels, self.hidden), nn.Linear(self.hidden, in_channels)
        self.around = nn.Conv2d(in_channels, in_channels, 5, padding=2, groups=in_channels)
        self.strips = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, in_channels, (1, k), padding=(0, k // 2), groups=in_channels),
                nn.Conv2d(in_channels, in_channels, (k, 1), padding=(k // 2, 0), groups=in_channels),
            )
            for k in STRIPS
        )
        self.out = nn.Conv2d(in_channels, in_channels, 1)

    def channel_weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        pooled = torch.stack((x.mean((2, 3)), x.amax((2, 3))))  # (2, B, C): one MLP for both
        return self.fc2(self.fc1(pooled).relu()).sum(0).sigmoid()[:, :, None, None]

    def spatial_weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape; ``x`` has been weighed by channel."""
        around = self.around(x)
        weights: Tensor = self.out(sum((strip(around) for strip in self.strips), around))
        return weights
