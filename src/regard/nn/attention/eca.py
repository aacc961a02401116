"""Efficient channel attention (Wang et al., 1910.03151, section 3.2).

z_c = mean over positions of x_c;  y_c = x_c sigmoid(sum_i w_i z_{c+i}), a convolution over channels of odd width
k = |log2(C) / gamma + b / gamma|_odd: the odd number nearest, the larger one of two.

Deviation: k is at least 3, as in the authors' code; the formula gives 1 for less than 8 channels, and then no channel
would depend on another. Beyond the first and the last channel are zeros.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import Card, Reweighting, check_odd


class ECA(Reweighting):
    """One weight in 0..1 per channel, from the means of its neighbours among the channels.

    Args:
        in_channels: channels of the input and the output.
        kernel_size: channels that a weight depends on, odd; by the number of channels if None.
        gamma: divisor in the formula for ``kernel_size``.
        b: offset in it.

    Raises:
        RegardError: ``kernel_size`` is not odd and positive, or ``gamma`` is not positive.
    """

    card = Card(
        family="channel",
        paper="1910.03151",
        equation="y_c = x_c sigmoid(conv1d_k(mean(x)))_c",
        parameters="kernel_size",
        flops="2 * C * N + 2 * C * kernel_size + C",
        peers=("timm.layers.EcaModule",),
        when="When each channel should be weighted by its own mean and those of neighbouring channels, with one"
        " small kernel as the only parameters.",
    )

    def __init__(self, in_channels: int, kernel_size: int | None = None, gamma: float = 2.0, b: float = 1.0) -> None:
        super().__init__(in_channels)
        if gamma <= 0:
            raise RegardError(f"ECA: gamma {gamma} is not positive")
        self.kernel_size = adaptive_kernel_size(in_channels, gamma, b) if kernel_size is None else kernel_size
        check_odd("ECA", "kernel_size", self.kernel_size)
        self.conv = nn.Conv1d(1, 1, self.kernel_size, padding=self.kernel_size // 2, bias=False)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        return self.conv(x.mean((2, 3))[:, None])[:, 0].sigmoid()


def adaptive_kernel_size(channels: int, gamma: float = 2.0, b: float = 1.0) -> int:
    """Odd number nearest to (log2(channels) + b) / gamma, the larger one of two, at least 3."""
    whole = int(abs((math.log2(channels) + b) / gamma))
    return max(3, whole if whole % 2 else whole + 1)
