"""A2C2f, the residual aggregation of area attention of YOLOv12 (Tian et al., 2502.12524, sections 3.2 to 3.4).

R-ELAN (section 3.3, figure 3 d): a 1x1 transition brings the input to ``hidden`` channels, ``repeats`` blocks follow
one another, and the transition's map and every block's are joined by a 1x1 convolution, y = x + s F(x) with a learned
scale s for each channel that starts from 0.01. Each block is z = x + A(BN(x)), y = z + FFN(z), A area attention with
its 7 x 7 position perceiver, and the FFN two convolutions of ratio 2 (section 3.4).

Written from the paper, which leaves open where batch norm stands: here before the attention, and in the convolutions.
Published weights cannot be loaded. Where the block changes the number of channels there is no sum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.area import AreaAttention
from regard.nn.attentive_block import AttentiveBlock
from regard.nn.conv import Conv
from regard.nn.join import join
from regard.nn.renamed import OldNames

FIRST_SCALE = 0.01


class A2C2f(OldNames, nn.Module):
    """Consecutive blocks of area attention, whose maps are all concatenated.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        num_heads: heads of each attention.
        areas: stretches that the map is cut into; 1 is attention to the whole map.
        mlp_ratio: hidden channels of the feed-forward networks per channel.
        expansion: channels of the blocks as a fraction of the output's.
        repeats: blocks.

    Raises:
        RegardError: the blocks' channels do not suit the heads, or ``mlp_ratio`` is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        num_heads: int = 4,
        areas: int = 4,
        mlp_ratio: float = 2.0,
        expansion: float = 0.5,
        *,
        repeats: int = 1,
    ) -> None:
        super().__init__()
        if mlp_ratio <= 0:
            raise RegardError(f"A2C2f: mlp_ratio {mlp_ratio} is not positive", expected="such as 2")
        self.out_channels = out_channels or in_channels
        hidden = int(self.out_channels * expansion)
        self.cv1 = Conv(in_channels, hidden)
        self.cv2 = Conv((1 + repeats) * hidden, self.out_channels)
        wide = max(1, int(hidden * mlp_ratio))
        blocks = (AttentiveBlock(AreaAttention(hidden, num_heads, areas), wide) for _ in range(repeats))
        self.m = nn.ModuleList(blocks)
        adds = self.out_channels == in_channels
        self.scale = nn.Parameter(torch.full((in_channels, 1, 1), FIRST_SCALE)) if adds else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        maps = [self.cv1(x)]
        for block in self.m:
            maps.append(block(maps[-1]))
        y = self.cv2(join(maps))
        return y if self.scale is None else x + self.scale * y
