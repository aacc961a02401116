"""Efficient multi-scale attention (Ouyang et al., EMA, 2305.13563, section 3.2). Not a moving average of weights.

Channels fall into groups, which share all layers; in each group of c channels, x is seen at two scales:
u = GN(x sigmoid(r) sigmoid(s)), [r, s] = conv_1x1([mean over columns of x, mean over rows of x]), as in coordinate
attention but without a narrow middle, GN the norm of each channel over its positions;  v = conv_3x3(x).
Each scale weighs the channels of the other: m_i = softmax(mean(u)) . v_i + softmax(mean(v)) . u_i,
y_i = x_i sigmoid(m_i), one weight per position and group.

As in the authors' code, the mean of u is taken behind the norm and thus is the norm's offset, the same for every map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, check_divides
from regard.nn.attention.norm import MapGroupNorm
from regard.types import AttentionMap


class EMAttention(Attention):
    """One weight in 0..1 for each group of channels at each position, from rows, columns and 3 x 3 neighbourhoods.

    Args:
        in_channels: channels of the input and the output; a multiple of ``groups``.
        groups: of channels; all use the same layers.

    Raises:
        RegardError: ``groups`` does not divide ``in_channels``.
    """

    card = Card(
        family="channel and spatial",
        paper="2305.13563",
        equation="y_i = x_i sigmoid(softmax(mean(u)) . v_i + softmax(mean(v)) . u_i), v = conv(x)",
        parameters="10 * group_channels**2 + 4 * group_channels",
        flops="11 * C * N + 18 * C * group_channels * N + (2 * group_channels + 1) * C * (H + W) + 2 * groups * N",
        peers=("its definition, group by group",),
        when="When positions should be weighted within groups of channels at two scales, without reducing the"
        " channels.",
    )

    def __init__(self, in_channels: int, groups: int = 8) -> None:
        super().__init__(in_channels)
        check_divides(in_channels, groups, "groups")
        self.groups = groups
        self.group_channels = in_channels // groups
        self.conv1x1 = nn.Conv2d(self.group_channels, self.group_channels, 1)
        self.conv3x3 = nn.Conv2d(self.group_channels, self.group_channels, 3, padding=1)
        self.norm = MapGroupNorm(self.group_channels, self.group_channels)

    def by_group(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B * groups, c, H, W)."""
        return x.reshape(x.shape[0] * self.groups, self.group_channels, *x.shape[2:])

    def weights(self, x: Tensor) -> Tensor:
        """(B * groups, c, H, W) -> (B * groups, 1, H, W)."""
        along = self.along_axes(x)
        around: Tensor = self.conv3x3(x)
        mixed = _channels(along) @ around.flatten(2) + _channels(around) @ along.flatten(2)
        return mixed.view(x.shape[0], 1, *x.shape[2:]).sigmoid()

    def along_axes(self, x: Tensor) -> Tensor:
        """(B * groups, c, H, W) -> u, of the same shape."""
        height = x.shape[2]
        lines = torch.cat((x.mean(3, keepdim=True), x.mean(2, keepdim=True).mT), 2)  # rows, then columns
        gates = self.conv1x1(lines).sigmoid()
        gated = x * gates[:, :, :height] * gates[:, :, height:].mT
        normed: Tensor = self.norm(gated)
        return normed

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        grouped = self.by_group(x)
        return (grouped * self.weights(grouped)).reshape(x.shape)

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Weight of each value, that of its group at its position; the same for every query."""
        weights = self.weights(self.by_group(x)).expand(-1, self.group_channels, -1, -1)
        return AttentionMap("elements", weights.reshape(x.shape))


def _channels(x: Tensor) -> Tensor:
    """(B, c, H, W) -> (B, 1, c): the softmax of the means over positions."""
    return x.mean((2, 3)).softmax(1)[:, None]
