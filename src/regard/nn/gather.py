"""Gather-and-distribute (Wang et al., Gold-YOLO, 2309.11331, section 3): one map of all levels, given back to each.

* `GatherAlign` resizes levels to one of them, by means or bilinear, and concatenates them: F = [resize(x_1), ...].
* What fuses them is any layer: `Conv`, `RepVGGBlock`s and a `Conv` in the low-level branch.
* `Inject` gives a level x its part g of the fused map:
  y = conv(x) * resize(sigmoid(conv_act(g))) + resize(conv_embed(g)).

The paper's block after an injection is a row of its own, `RepVGGBlock`. Deviation: none known; the authors' code takes
the hard sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.core import Size, check_divides
from regard.nn.conv import Conv
from regard.nn.join import join
from regard.types import AttentionMap


class GatherAlign(nn.Module):
    """Levels of different strides, resized to one of them and concatenated.

    Args:
        in_channels: channels of each level.
        level: index of the level whose size the output has; the middle one if not given, the later of two.
        strides: input pixels per cell of each level.

    Raises:
        RegardError: there is no such level.
    """

    multi_input: ClassVar[bool] = True

    def __init__(self, in_channels: Sequence[int], level: int | None = None, *, strides: Sequence[int]) -> None:
        super().__init__()
        self.level = len(in_channels) // 2 if level is None else level
        if not 0 <= self.level < len(in_channels):
            raise RegardError(f"GatherAlign: level is {level}", expected=f"0 to {len(in_channels) - 1}")
        self.out_channels = sum(in_channels)
        self.factors = [max(strides[self.level] // stride, 1) for stride in strides]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, C_i, H_i, W_i)] -> (B, sum C_i, H_level, W_level)."""
        size = (maps[self.level].shape[2], maps[self.level].shape[3])
        return join([resized(x, size, factor) for x, factor in zip(maps, self.factors, strict=True)])


class Inject(nn.Module):
    """A level, scaled and shifted by its part of a map of all levels.

    Args:
        in_channels: channels of the level and of the map of all levels.
        part: index of the part of the latter that belongs to this level.
        parts: number of parts of equal channels.
        strides: input pixels per cell of both.

    Raises:
        RegardError: it does not read two maps, or the part does not exist.
    """

    multi_input: ClassVar[bool] = True

    def __init__(self, in_channels: Sequence[int], part: int = 0, parts: int = 1, *, strides: Sequence[int]) -> None:
        super().__init__()
        if len(in_channels) != 2:
            raise RegardError(f"Inject reads {len(in_channels)} maps", expected="a level and a map of all levels")
        check_divides(in_channels[1], parts, "parts")
        if not 0 <= part < parts:
            raise RegardError(f"Inject: part is {part}", expected=f"0 to {parts - 1}")
        channels, own = in_channels[0], in_channels[1] // parts
        self.out_channels = channels
        self.first, self.own = part * own, own
        self.factor = max(strides[0] // strides[1], 1)
        self.local = Conv(channels, channels, activation=False)
        self.act = Conv(own, channels, activation=False)
        self.embed = Conv(own, channels, activation=False)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W) and (B, C_g, H_g, W_g) -> (B, C, H, W)."""
        x, _ = maps
        embedded = resized(self.embed(self._part(maps)), (x.shape[2], x.shape[3]), self.factor)
        return self.local(x) * self.weights(maps) + embedded

    def weights(self, maps: Sequence[Tensor]) -> Tensor:
        """Factor of each value of the level, from 0 to 1: (B, C, H, W)."""
        x, _ = maps
        return resized(self.act(self._part(maps)).sigmoid(), (x.shape[2], x.shape[3]), self.factor)

    def attention(self, maps: Sequence[Tensor], query: Size | None = None) -> AttentionMap:  # noqa: ARG002
        """Factors of the level's values, the same for every query."""
        return AttentionMap("elements", self.weights(maps))

    def _part(self, maps: Sequence[Tensor]) -> Tensor:
        return maps[1].narrow(1, self.first, self.own)


def resized(x: Tensor, size: Size, factor: int) -> Tensor:
    """Means over ``factor`` x ``factor`` cells, then bilinear interpolation where the size is still another."""
    x = F.avg_pool2d(x, factor) if factor > 1 else x
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=False)
