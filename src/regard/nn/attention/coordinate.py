"""Coordinate attention (Hou et al., 2103.02907, equations 4 to 9).

z^h = mean over columns of x, (C, H);  z^w = mean over rows, (C, W);
f = delta(BN(F_1([z^h, z^w]))), (C / r, H + W), split again into f^h and f^w;
y_c(i, j) = x_c(i, j) sigmoid(F_h(f^h))_c(i) sigmoid(F_w(f^w))_c(j);  F are 1 x 1 convolutions, delta is h-swish.

As in the authors' code: names of parameters, biases of the convolutions, at least 8 hidden channels. In training, the
batch norm makes images of a batch depend on each other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, check_at_least
from regard.types import AttentionMap

MINIMUM = 8
"""Fewest hidden channels."""


class CoordinateAttention(Attention):
    """One weight in 0..1 per channel and row, and one per channel and column.

    Args:
        in_channels: channels of the input and the output.
        reduction: channels per hidden channel; at least 8 hidden channels remain.

    Raises:
        RegardError: ``reduction`` is not positive.
    """

    card = Card(
        family="channel and spatial",
        paper="2103.02907",
        equation="y_c(i, j) = x_c(i, j) g^h_c(i) g^w_c(j), g from the means of rows and columns",
        parameters="3 * C * hidden + 2 * C + 3 * hidden",
        flops="4 * C * N + (H + W) * (4 * C * hidden + hidden + C)",
        peers=("timm.layers.CoordAttn",),
        when="When the weight of a channel should depend on row and column, without convolutions over the map.",
    )

    def __init__(self, in_channels: int, reduction: int = 32) -> None:
        super().__init__(in_channels)
        check_at_least("CoordinateAttention", "reduction", reduction, 1)
        self.hidden = max(MINIMUM, in_channels // reduction)
        self.conv1 = nn.Conv2d(in_channels, self.hidden, 1)
        self.bn1 = nn.BatchNorm2d(self.hidden)
        self.act = nn.Hardswish()
        self.conv_h = nn.Conv2d(self.hidden, in_channels, 1)
        self.conv_w = nn.Conv2d(self.hidden, in_channels, 1)

    def weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> weights of rows (B, C, H, 1) and of columns (B, C, 1, W)."""
        by_row, by_column = x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)
        hidden = self.act(self.bn1(self.conv1(torch.cat((by_row, by_column), 2))))  # (B, hidden, H + W, 1)
        height = x.shape[2]
        rows, columns = hidden[:, :, :height], hidden[:, :, height:].transpose(2, 3)
        return self.conv_h(rows).sigmoid(), self.conv_w(columns).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        by_row, by_column = self.weights(x)
        return x * by_row * by_column

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Weight of each value, of its row times of its column; the same for every query."""
        by_row, by_column = self.weights(x)
        return AttentionMap("elements", by_row * by_column)
