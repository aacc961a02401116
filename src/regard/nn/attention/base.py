"""What every attention module offers: a fast forward, the weights it used, and what it costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from regard.nn.attention.card import Card
from regard.types import AttentionMap


class Attention(nn.Module, ABC):
    """Base of the catalogue. A subclass builds from ``in_channels`` alone; all else are named options.

    Costs are functions of the map's size. FLOPs count every product and every sum of convolutions, matrix products,
    poolings and scalings, a multiplication and an addition as two, as if the attention were written out: counters
    see nothing of a fused kernel. Exponentials, square roots and normalisations are not counted, as usual.

    Attributes:
        card: what the catalogue says of it.
        in_channels: channels of the input.
        out_channels: channels of the output.
        note: what `regard summary` should tell about this instance, "" for nothing.
    """

    card: ClassVar[Card]

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
            query: (row, column) of the position whose row of weights is wanted, where weights depend on one; the
                centre if None.
        """

    @abstractmethod
    def flops(self, height: int, width: int) -> int:
        """Return operations for one image of this size."""

    def mixing_flops(self, height: int, width: int) -> int:  # noqa: ARG002
        """Return the part of ``flops`` that a cheaper variant could save: products of queries, keys and values."""
        return 0

    def unmixed(self, x: Tensor) -> Tensor:
        """Return what ``forward`` would if mixing cost nothing and changed nothing: what bounds any cheaper variant."""
        return self(x)

    @abstractmethod
    def saved_elements(self, height: int, width: int) -> int:
        """Return how many values the forward pass keeps for the backward pass, for one image; an estimate."""
