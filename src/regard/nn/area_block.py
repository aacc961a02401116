"""A2C2f, the chain of area-attention blocks of YOLOv12 (Tian et al., 2502.12524), as the published checkpoints have it.

Each block is x + attention(x), then x + MLP(x), without a norm before either. State-dict keys are the published ones;
`AreaAggregation` is the form that the paper describes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.c2f import C3k
from regard.nn.conv import Conv
from regard.nn.join import chained, join
from regard.nn.position_attention import PositionAttention
from regard.nn.renamed import OldNames

CHANNELS_PER_HEAD, FIRST_SCALE, FIRST_STD = 32, 0.01, 0.02


class ABlock(nn.Module):
    """Area attention and a feed-forward network of two convolutions, each added to its input.

    Args:
        channels: channels of the input and the output.
        num_heads: heads of the attention.
        mlp_ratio: hidden channels of the feed-forward network per channel.
        areas: equal stretches of the positions that do not see each other.
    """

    def __init__(self, channels: int, num_heads: int, mlp_ratio: float = 1.2, areas: int = 1) -> None:
        super().__init__()
        wide = int(channels * mlp_ratio)
        self.attn = PositionAttention(channels, num_heads, 1.0, areas, 7)
        self.mlp = nn.Sequential(Conv(channels, wide), Conv(wide, channels, activation=False))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.trunc_normal_(layer.weight, std=FIRST_STD)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = x + self.attn(x)
        return x + self.mlp(x)


class A2C2f(OldNames, nn.Module):
    """A chain of pairs of area-attention blocks, or of C3k, all of whose maps are joined.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        a2: whether the chain is of attention; of C3k otherwise.
        area: equal stretches of the positions that do not see each other.
        residual: whether to add the input, with a learned scale of the rest; only with ``a2``.
        mlp_ratio: hidden channels of the feed-forward networks per channel.
        expansion: channels of the blocks as a fraction of the output's; a multiple of 32 results.
        groups: groups of the C3k's convolutions.
        shortcut: whether their bottlenecks add their input.
        repeats: links of the chain.

    Raises:
        RegardError: the blocks' channels are not a multiple of 32, or ``residual`` changes the number of channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        a2: bool = True,
        area: int = 1,
        residual: bool = False,
        mlp_ratio: float = 2.0,
        expansion: float = 0.5,
        groups: int = 1,
        shortcut: bool = True,
        *,
        repeats: int = 1,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        h = int(self.out_channels * expansion)
        if a2 and h % CHANNELS_PER_HEAD:
            raise RegardError(f"A2C2f: its blocks have {h} channels", expected=f"a multiple of {CHANNELS_PER_HEAD}")
        if a2 and residual and in_channels != self.out_channels:
            what = f"A2C2f: {in_channels} input and {self.out_channels} output channels cannot be added"
            raise RegardError(what, expected="the same number, or residual: false")
        heads = h // CHANNELS_PER_HEAD
        self.gamma = nn.Parameter(torch.full((self.out_channels,), FIRST_SCALE)) if a2 and residual else None
        self.cv1 = Conv(in_channels, h)
        self.cv2 = Conv((1 + repeats) * h, self.out_channels)
        self.m = nn.ModuleList(
            nn.Sequential(*(ABlock(h, heads, mlp_ratio, area) for _ in range(2)))
            if a2
            else C3k(h, h, shortcut, groups, repeats=2)
            for _ in range(repeats)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        y = self.cv2(join(chained([self.cv1(x)], self.m)))
        return y if self.gamma is None else x + self.gamma.view(-1, 1, 1) * y
