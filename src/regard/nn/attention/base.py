"""What every attention module offers: a fast forward, the weights it used, and what it costs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from regard.types import AttentionMap


class Attention(nn.Module, ABC):
    """Base of the catalogue. A subclass builds from ``in_channels`` alone; all else are named options.

    Attributes:
        in_channels: channels of the input.
        out_channels: channels of the output.
        note: what `regard summary` should tell about this instance, "" for nothing.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels or in_channels
        self.note = ""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W), by the fastest exact path."""

    @abstractmethod
    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:
        """Return the weights that ``forward`` uses for ``x``.

        Args:
            x: (B, C, H, W).
            query: (row, column) of the position whose row of weights is wanted, where weights depend on one.
        """

    @abstractmethod
    def flops(self, height: int, width: int) -> int:
        """Return operations for one image of this size; a multiplication and an addition count as two."""
