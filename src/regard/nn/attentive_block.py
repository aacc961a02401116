"""Attention and a convolutional feed-forward network, each added to its input: z = x + A(BN(x)), y = z + FFN(z)."""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention import Attention
from regard.nn.conv import Conv, batch_norm


class AttentiveBlock(nn.Module):
    """The block that C2PSA and A2C2f repeat, each with a different attention.

    Args:
        attention: keeps the number of channels.
        wide: channels inside the feed-forward network.
    """

    def __init__(self, attention: Attention, wide: int) -> None:
        super().__init__()
        channels = attention.in_channels
        self.norm = batch_norm(channels)
        self.attend = attention
        self.ffn = nn.Sequential(Conv(channels, wide), Conv(wide, channels, activation=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        z = x + self.attend(self.norm(x))
        return z + self.ffn(z)
