"""Adaptively spatial feature fusion (Liu et al., ASFF, 1911.09516, section 3.2).

y_i = sum over levels n of a_ni x_ni, a_i = softmax over n of w_n . x_ni: one weight per level and position; x_n is
level n, resized: a coarser one by a 1 x 1 convolution and nearest neighbours, a finer one by a 3 x 3 convolution of
stride 2, behind a maximum of stride 2 for each further factor of 2. The authors' code computes weights on 16 channels
and convolves the result once more; the paper does neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.conv import Conv


class ASFF(nn.Module):
    """Levels of different strides, resized to one of them and averaged by weights that each position chooses.

    Args:
        in_channels: channels of each level.
        level: index of the level whose size and channels the output has.
        strides: input pixels per cell of each level.

    Raises:
        RegardError: there is no such level, or the ratio of two strides is not a power of 2.
    """

    multi_input: ClassVar[bool] = True

    def __init__(self, in_channels: Sequence[int], level: int = 0, *, strides: Sequence[int]) -> None:
        super().__init__()
        if not 0 <= level < len(in_channels):
            raise RegardError(f"ASFF: level is {level}", expected=f"0 to {len(in_channels) - 1}")
        self.level, self.out_channels = level, in_channels[level]
        ratios = [math.log2(strides[level] / stride) for stride in strides]
        if any(ratio != int(ratio) for ratio in ratios):
            raise RegardError(f"ASFF: strides {', '.join(map(str, strides))}", expected="ratios that are powers of 2")
        pairs = zip(in_channels, map(int, ratios), strict=True)
        self.resize = nn.ModuleList(_resize(channels, self.out_channels, ratio) for channels, ratio in pairs)
        self.score = nn.ModuleList(nn.Conv2d(self.out_channels, 1, 1) for _ in in_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, C_n, H_n, W_n)] -> (B, C_level, H_level, W_level)."""
        size = maps[self.level].shape[2:]
        resized = [resize(x) for resize, x in zip(self.resize, maps, strict=True)]
        resized = [x if x.shape[2:] == size else F.interpolate(x, size) for x in resized]
        scores = [score(x) for score, x in zip(self.score, resized, strict=True)]
        weights = torch.cat(scores, 1).softmax(1)  # (B, levels, H, W)
        return torch.stack([x * weights[:, n : n + 1] for n, x in enumerate(resized)]).sum(0)


def _resize(in_channels: int, out_channels: int, halvings: int) -> nn.Module:
    """Layers before interpolation: to the channels of the level, and to its size if it is coarser."""
    if halvings > 0:
        pools = (nn.MaxPool2d(3, 2, 1) for _ in range(halvings - 1))
        return nn.Sequential(*pools, Conv(in_channels, out_channels, 3, 2))
    return Conv(in_channels, out_channels) if halvings < 0 or in_channels != out_channels else nn.Identity()
