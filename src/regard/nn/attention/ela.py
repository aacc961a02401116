"""Efficient local attention (Xu and Wan, ELA, 2403.01123, equations 4 to 7): rows and columns, by convolutions in one
dimension.

y(i, j) = x(i, j) g^h(i) g^w(j),  g^h = sigmoid(GN(conv_h(mean over columns of x))), g^w likewise over rows. Unlike
coordinate attention nothing is squeezed, and rows do not meet columns.

Deviations: the convolutions are depth-wise, as in the paper's forms ELA-T and ELA-B (S and L have groups of eight
channels); rows and columns have a convolution and a norm each, as in the equations, where the paper's listing uses the
same for both. Where 16 does not divide the channels, the norm has as many groups as the two have in common.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from regard.nn.attention.core import Card, Reweighting, check_at_least, check_odd
from regard.nn.attention.norm import MapGroupNorm


class ELA(Reweighting):
    """One weight in 0..1 per value, the product of one for its row and one for its column in its channel.

    Args:
        in_channels: channels of the input and the output.
        kernel_size: of the convolutions along rows and columns, odd; 7 in ELA-B, 5 in ELA-T.
        groups: of the norm, at most.

    Raises:
        RegardError: ``kernel_size`` is not odd and positive, or ``groups`` not positive.
    """

    card = Card(
        family="channel and spatial",
        paper="2403.01123",
        equation="y_c(i, j) = x_c(i, j) g^h_c(i) g^w_c(j), g = sigmoid(GN(conv(means of rows or columns)))",
        parameters="2 * C * (kernel_size + 2)",
        flops="4 * C * N + C * (H + W) * (2 * kernel_size + 1)",
        peers=("its definition, by loops",),
        when="When the weight of a value should depend on its row and its column in its own channel, without"
        " reducing the channels.",
    )

    def __init__(self, in_channels: int, kernel_size: int = 7, groups: int = 16) -> None:
        super().__init__(in_channels)
        check_odd("ELA", "kernel_size", kernel_size)
        check_at_least("ELA", "groups", groups, 1)
        self.kernel_size = kernel_size
        self.groups = math.gcd(in_channels, groups)
        self.rows, self.columns = (
            nn.Conv1d(in_channels, in_channels, kernel_size, padding=kernel_size // 2, groups=in_channels, bias=False)
            for _ in range(2)
        )
        self.norm_rows, self.norm_columns = (MapGroupNorm(self.groups, in_channels) for _ in range(2))

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        by_row = self.norm_rows(self.rows(x.mean(3))).sigmoid()
        by_column = self.norm_columns(self.columns(x.mean(2))).sigmoid()
        return by_row[:, :, :, None] * by_column[:, :, None]
