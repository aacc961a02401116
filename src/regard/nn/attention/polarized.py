"""Polarized self-attention (Liu et al., PSA, 2107.00782, section 3.1, sequential form): full size in one direction.

First channels, with positions squeezed by a softmax over them:
    x' = x sigmoid(LN(W_z sum_j softmax_j(W_q x)_j (W_v x)_j)), W_v and W_z with C / 2 channels between, W_q with one;
then positions, with channels squeezed by a softmax over them:
    y_i = x'_i sigmoid(sum_c softmax_c(mean(U_q x'))_c (U_v x'_i)_c), U with C / 2 channels.

Not the block PSA of YOLOv10, nor pyramid squeeze attention, which share the abbreviation.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Card, Reweighting


class PolarizedSelfAttention(Reweighting):
    """One weight in 0..1 per value, the product of one for its channel and one for its position.

    Args:
        in_channels: channels of the input and the output.
    """

    card = Card(
        family="channel and spatial",
        paper="2107.00782",
        equation="y_i = x'_i sigmoid(softmax(mean(U_q x')) . U_v x'_i), x' = x sigmoid(LN(W_z (W_v x) softmax(W_q x)))",
        parameters="4 * C * hidden + 4 * C + 3 * hidden + 1",
        flops="N * (4 * C * hidden + 6 * C + 4 * hidden + 1) + 4 * C * hidden + C",
        peers=("its definition, by loops",),
        when="When weights of channels and of positions should come from softmax pooling with C / 2 hidden channels,"
        " more than most gates keep.",
    )

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.hidden = hidden = max(1, in_channels // 2)
        self.channel_query = nn.Conv2d(in_channels, 1, 1)
        self.channel_value = nn.Conv2d(in_channels, hidden, 1)
        self.channel_out = nn.Linear(hidden, in_channels)
        self.norm = nn.LayerNorm(in_channels)
        self.spatial_query = nn.Linear(in_channels, hidden)
        self.spatial_value = nn.Conv2d(in_channels, hidden, 1)

    def channel_weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        shares = self.channel_query(x).flatten(2).softmax(-1)
        squeezed = (self.channel_value(x).flatten(2) @ shares.mT)[..., 0]
        weights: Tensor = self.norm(self.channel_out(squeezed))
        return weights.sigmoid()

    def spatial_weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H, W)."""
        shares = self.spatial_query(x.mean((2, 3))).softmax(-1)
        mixed = shares[:, None] @ self.spatial_value(x).flatten(2)
        return mixed.view(x.shape[0], *x.shape[2:]).sigmoid()

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        by_channel = self.channel_weights(x)[:, :, None, None]
        return by_channel * self.spatial_weights(x * by_channel)[:, None]
