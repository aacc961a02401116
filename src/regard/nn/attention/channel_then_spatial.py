"""Attention in two steps: channels first, then positions of what the first step has left."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from regard.nn.attention.core import Attention, Size
from regard.types import AttentionMap


class ChannelThenSpatial(Attention):
    """Scales its input by channel, x' = x c(x), and the result by position or value, y = x' s(x')."""

    @abstractmethod
    def channel_weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> weights that broadcast to it."""

    @abstractmethod
    def spatial_weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W), which has been weighed by channel -> weights that broadcast to it."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = x * self.channel_weights(x)
        return x * self.spatial_weights(x)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:  # noqa: ARG002
        """Weight of each value, the product of both; the same for every query."""
        by_channel = self.channel_weights(x)
        return AttentionMap("elements", by_channel * self.spatial_weights(x * by_channel))
