"""Shuffle attention (Zhang and Yang, SA-Net, 2102.00240, section 3).

Channels fall into G groups, and each group into two halves of c = C / (2 G) channels, which share weights with those of
the other groups:
y1 = x1 sigmoid(w1 mean(x1) + b1), one weight per channel;  y2 = x2 sigmoid(w2 GN(x2) + b2), one per value, GN the norm
of each channel over its positions. Then the channels of both halves of the map are interleaved ("shuffled"), so that
groups exchange channels: output 2 i is channel i of the first half of all channels, output 2 i + 1 of the second.

As in the authors' code, w1 and w2 start at 0 and b1 and b2 at 1. Deviation: the number of groups, for which the
paper has 64, is by default the largest of 1, 2, 4 and 8 that fits, as detectors have fewer channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, check_divides
from regard.types import AttentionMap

GROUPS = 8
"""Largest default number of groups."""


class ShuffleAttention(Attention):
    """One weight in 0..1 per channel for one half of each group, one per value for the other; then channels alternate.

    Args:
        in_channels: channels of the input and the output; a multiple of twice ``groups``.
        groups: number of groups; the largest of 1, 2, 4 and 8 that fits if None.

    Raises:
        RegardError: ``in_channels`` cannot be divided into so many groups of two halves.
    """

    card = Card(
        family="channel and spatial",
        paper="2102.00240",
        equation="y = shuffle([x1 sigmoid(w1 mean(x1) + b1), x2 sigmoid(w2 GN(x2) + b2)]) in each group",
        parameters="6 * width",
        flops="3 * C * N + 3 * C / 2",
        peers=("its definition, channel by channel",),
        when="When one half of the channels should get weights per channel and the other weights per value, with"
        " very few parameters.",
    )

    def __init__(self, in_channels: int, groups: int | None = None) -> None:
        super().__init__(in_channels)
        check_divides(in_channels, 1, "groups", 2)
        self.groups = math.gcd(in_channels // 2, GROUPS) if groups is None else groups
        check_divides(in_channels, self.groups, "groups", 2)
        self.width = in_channels // (2 * self.groups)
        self.channel_weight, self.spatial_weight = (nn.Parameter(torch.zeros(self.width, 1, 1)) for _ in range(2))
        self.channel_bias, self.spatial_bias = (nn.Parameter(torch.ones(self.width, 1, 1)) for _ in range(2))
        self.norm = nn.GroupNorm(self.width, self.width)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        first, second = x.reshape(x.shape[0] * self.groups, 2, self.width, *x.shape[2:]).unbind(1)
        by_channel = (self.channel_weight * first.mean((2, 3), keepdim=True) + self.channel_bias).sigmoid()
        by_value = (self.spatial_weight * self.norm(second) + self.spatial_bias).sigmoid()
        return torch.stack((by_channel.expand_as(by_value), by_value), 1).reshape(x.shape)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return shuffle(x * self.weights(x))

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Weight of each value of the input; the same for every query."""
        return AttentionMap("elements", self.weights(x))


def shuffle(x: Tensor) -> Tensor:
    """Alternate the channels of the two halves of a map: (B, C, H, W) -> (B, C, H, W)."""
    return x.reshape(x.shape[0], 2, x.shape[1] // 2, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
