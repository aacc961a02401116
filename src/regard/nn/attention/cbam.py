"""Convolutional block attention module (Woo et al., 1807.06521, equations 1 to 3).

First channels, then positions:
    x' = x M_c,  M_c = sigmoid(MLP(mean over positions of x) + MLP(max over positions of x)),  one weight per channel;
    y = x' M_s,  M_s = sigmoid(conv_kxk([mean over channels of x'; max over channels of x'])),  one per position.
The MLP is that of SE, W2 relu(W1 z), without biases.

Deviations: the convolution has no batch norm, as in the paper; the authors' code has one after it. Where C < r there
is one hidden unit. Where values are equal, the gradient of their maximum is shared evenly among them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.nn.attention.channel_then_spatial import ChannelThenSpatial
from regard.nn.attention.core import Card, check_at_least, check_odd


class CBAM(ChannelThenSpatial):
    """One weight in 0..1 per channel, then one per position, each from means and maxima.

    Args:
        in_channels: channels of the input and the output.
        reduction: channels per hidden unit.
        kernel_size: side of the convolution that weighs positions, odd.

    Raises:
        RegardError: ``reduction`` is not positive, or ``kernel_size`` is not odd and positive.
    """

    card = Card(
        family="channel and spatial",
        paper="1807.06521",
        equation="y = x' sigmoid(conv(mean_c(x'), max_c(x'))), x' = x sigmoid(MLP(mean(x)) + MLP(max(x)))",
        parameters="2 * C * hidden + 2 * kernel_size**2",
        flops="6 * C * N + 8 * C * hidden + 2 * hidden + 3 * C + (4 * kernel_size**2 + 1) * N",
        peers=("timm.layers.CbamModule",),
        when="When channels should be weighted first and positions second, both from means and maxima.",
    )

    def __init__(self, in_channels: int, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__(in_channels)
        check_at_least("CBAM", "reduction", reduction, 1)
        check_odd("CBAM", "kernel_size", kernel_size)
        self.hidden = max(1, in_channels // reduction)
        self.kernel_size = kernel_size
        if in_channels < reduction:
            self.note = f"{in_channels} channels at reduction {reduction}: one hidden unit"
        self.fc1 = nn.Linear(in_channels, self.hidden, bias=False)
        self.fc2 = nn.Linear(self.hidden, in_channels, bias=False)
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def channel_weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        pooled = torch.stack((x.mean((2, 3)), x.amax((2, 3))))  # (2, B, C): one MLP for both
        return self.fc2(self.fc1(pooled).relu()).sum(0).sigmoid()[:, :, None, None]

    def spatial_weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W); ``x`` has been weighed by channel."""
        return self.conv(torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)).sigmoid()
