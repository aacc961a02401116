"""Triplet attention (Misra et al., 2010.03045, section 3.2): three pairs of axes, each gated by what the third shows.

For each axis, Z = [max, mean] of x over it and a = sigmoid(BN(conv_kxk(Z))), one weight for each pair of places on the
other two axes: a^(H,W) over channels, a^(C,W) over rows, a^(H,C) over columns.
y = x (a^(C,W) + a^(H,C) + a^(H,W)) / 3.

The authors turn the map so that the axis comes first; here only the pooled maps are. Convolutions along channels see
neighbouring numbers, and zeros beyond the first and the last. Where values are equal, the gradient of their maximum is
shared evenly among them. In training, the batch norms make images of a batch depend on each other. A single value
has no variance: a plane of one position, of one image, is normalised in training by the running statistics and leaves
them unchanged, as in ``regard.nn.attention.srm``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.nn.attention.core import Card, Reweighting, check_odd
from regard.nn.attention.norm import MapNorm


class TripletAttention(Reweighting):
    """One weight in 0..1 for each value: the mean of one each for position, channel and row, channel and column.

    Args:
        in_channels: channels of the input and the output.
        kernel_size: side of the convolutions, odd.

    Raises:
        RegardError: ``kernel_size`` is not odd and positive.
    """

    card = Card(
        family="channel and spatial",
        paper="2010.03045",
        equation="y = x (a^(C,W) + a^(H,C) + a^(H,W)) / 3, a = sigmoid(BN(conv([max, mean] over the third axis)))",
        parameters="6 * kernel_size**2 + 6",
        flops="9 * C * N + (4 * kernel_size**2 + 2) * (C * H + C * W + N)",
        peers=("its definition by turning the map",),
        when="When channels should be weighted together with rows and with columns, with only three small"
        " convolutions as parameters.",
    )

    def __init__(self, in_channels: int, kernel_size: int = 7) -> None:
        super().__init__(in_channels)
        check_odd("TripletAttention", "kernel_size", kernel_size)
        self.kernel_size = kernel_size
        self.channel_by_column = _gate(kernel_size)
        self.row_by_channel = _gate(kernel_size)
        self.row_by_column = _gate(kernel_size)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        by_column = self.channel_by_column(_pooled(x, 2))[:, 0, :, None] / 3  # (B, C, 1, W)
        by_row = self.row_by_channel(_pooled(x, 3).mT)[:, 0].mT[..., None] / 3  # (B, C, H, 1)
        by_place = self.row_by_column(_pooled(x, 1)) / 3  # (B, 1, H, W)
        weights: Tensor = by_column + by_row + by_place
        return weights


def _pooled(x: Tensor, axis: int) -> Tensor:
    """Maximum and mean over an axis, which becomes the channels: (B, 2, ...)."""
    return torch.stack((x.amax(axis), x.mean(axis)), 1)


def _gate(kernel_size: int) -> nn.Sequential:
    """(B, 2, M, N) -> (B, 1, M, N), in 0..1."""
    conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(conv, MapNorm(1), nn.Sigmoid())
