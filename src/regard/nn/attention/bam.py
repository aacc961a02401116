"""Bottleneck attention module (Park et al., BAM, 1807.06514, equations 1 to 4): channels and positions, added.

y = x (1 + sigmoid(M_c + M_s)),  M_c = BN(W_1 relu(W_0 mean(x))), one value per channel,
M_s = BN(conv_1x1(d(d(conv_1x1(x))))), one value per position, d a dilated 3 x 3 convolution, all on C / r channels.

Deviations: as in the authors' code, a batch norm and a ReLU follow each convolution but the last; equation 4 has none.
There are four hidden channels at least: a single one that its ReLU silences would make all weights alike.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Card, Reweighting, check_at_least
from regard.nn.attention.norm import MapNorm

LEAST_HIDDEN = 4


class BAM(Reweighting):
    """One weight in 1..2 per value, from the mean of its channel and the surroundings of its position.

    Args:
        in_channels: channels of the input and the output.
        reduction: channels per hidden channel.
        dilation: of the 3 x 3 convolutions.

    Raises:
        RegardError: ``reduction`` or ``dilation`` is not positive.
    """

    card = Card(
        family="channel and spatial",
        paper="1807.06514",
        equation="y = x (1 + sigmoid(BN(MLP(mean(x))) + BN(conv(conv_d(conv_d(conv(x)))))))",
        parameters="3 * C * hidden + 2 * C + 18 * hidden**2 + 8 * hidden + 2",
        flops="5 * C * N + 4 * C * hidden + hidden + N * hidden * (2 * C + 36 * hidden + 5)",
        peers=("its definition, by loops",),
        when="When each position should be weighted by wide surroundings through dilated convolutions, in addition"
        " to a weight per channel.",
    )

    def __init__(self, in_channels: int, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__(in_channels)
        check_at_least("BAM", "reduction", reduction, 1)
        check_at_least("BAM", "dilation", dilation, 1)
        self.hidden = hidden = max(LEAST_HIDDEN, in_channels // reduction)
        self.channel_attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(in_channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, in_channels, 1, bias=False),
            MapNorm(in_channels),
        )
        self.spatial_attention = nn.Sequential(
            *(nn.Conv2d(in_channels, hidden, 1, bias=False), MapNorm(hidden), nn.ReLU()),
            *(_dilated(hidden, dilation), MapNorm(hidden), nn.ReLU()),
            *(_dilated(hidden, dilation), MapNorm(hidden), nn.ReLU()),
            *(nn.Conv2d(hidden, 1, 1, bias=False), MapNorm(1)),
        )

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        by_channel: Tensor = self.channel_attention(x)
        by_position: Tensor = self.spatial_attention(x)
        return 1 + (by_channel + by_position).sigmoid()


def _dilated(channels: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
