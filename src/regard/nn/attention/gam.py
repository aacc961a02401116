"""Global attention mechanism (Liu et al., GAM, 2112.05561, section 3), without pooling: every position counts.

First channels at each position, then positions across channels:
    x' = x sigmoid(W2 relu(W1 x_i)), an MLP over the channels of each position i, C to C / r and back;
    y = x' sigmoid(BN(conv_7x7(relu(BN(conv_7x7(x')))))), C to C / r and back.
Both give one weight per value. Layers have biases. In training, the batch norms make images of a batch depend on each
other; a single value has no variance and is normalised by the running statistics, which it leaves unchanged.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.channel_then_spatial import ChannelThenSpatial
from regard.nn.attention.core import Card, check_at_least, check_odd
from regard.nn.attention.norm import MapNorm


class GAM(ChannelThenSpatial):
    """One weight in 0..1 per value from the channels of its position, then one from the positions around it.

    Args:
        in_channels: channels of the input and the output.
        reduction: channels per hidden channel.
        kernel_size: side of the convolutions, odd.

    Raises:
        RegardError: ``reduction`` is not positive, or ``kernel_size`` is not odd and positive.
    """

    card = Card(
        family="channel and spatial",
        paper="2112.05561",
        equation="y = x' sigmoid(conv(relu(conv(x')))), x'_i = x_i sigmoid(W2 relu(W1 x_i))",
        parameters="2 * C * hidden * (1 + kernel_size**2) + 4 * hidden + 4 * C",
        flops="N * (4 * C * hidden * (1 + kernel_size**2) + 2 * hidden + 4 * C)",
        peers=("its definition, position by position",),
        when="When weights should come from full convolutions without pooling; its 7 x 7 convolutions take more"
        " FLOPs than any other gate of the catalogue.",
    )

    def __init__(self, in_channels: int, reduction: int = 4, kernel_size: int = 7) -> None:
        super().__init__(in_channels)
        check_at_least("GAM", "reduction", reduction, 1)
        check_odd("GAM", "kernel_size", kernel_size)
        self.hidden = max(1, in_channels // reduction)
        self.kernel_size = kernel_size
        if in_channels < reduction:
            self.note = f"{in_channels} channels at reduction {reduction}: one hidden unit"
        self.channel_attention = nn.Sequential(
            nn.Linear(in_channels, self.hidden), nn.ReLU(), nn.Linear(self.hidden, in_channels)
        )
        self.spatial_attention = nn.Sequential(
            nn.Conv2d(in_channels, self.hidden, kernel_size, padding=kernel_size // 2),
            MapNorm(self.hidden),
            nn.ReLU(),
            nn.Conv2d(self.hidden, in_channels, kernel_size, padding=kernel_size // 2),
            MapNorm(in_channels),
        )

    def channel_weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        weights: Tensor = self.channel_attention(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return weights.sigmoid()

    def spatial_weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape; ``x`` has been weighed by channel."""
        weights: Tensor = self.spatial_attention(x)
        return weights.sigmoid()
