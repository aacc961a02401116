"""PartialSelfAttention and AreaAggregation as papers describe them, and the block that both repeat.

`C2PSA` and `A2C2f` have the forms of the published weights, which cannot be loaded here.

PartialSelfAttention is a cross-stage-partial block with self-attention, after the partial self-attention of YOLOv10
(Wang et al., 2405.14458, section 3.2): a 1x1 convolution, of whose channels one half passes ``repeats`` blocks of
attention to the whole map and feed-forward network, z = x + MHSA(BN(x)) and y = z + FFN(z), with queries and keys half
as wide as values and batch norm for layer norm; both halves are joined by a 1x1 convolution. It stacks the blocks, as
YOLO11 does (overview: 2410.17725), where YOLOv10 has one. The papers leave open the ratio of the FFN (here 2) and where
batch norm stands (here before the attention, and in the FFN's convolutions).

AreaAggregation is the residual aggregation of area attention of YOLOv12 (Tian et al., 2502.12524, sections 3.2 to 3.4).

R-ELAN (section 3.3, figure 3 d): a 1x1 transition brings the input to ``hidden`` channels, ``repeats`` blocks follow
one another, and the transition's map and every block's are joined by a 1x1 convolution, y = x + s F(x) with a learned
scale s for each channel that starts from 0.01. Each block is z = x + A(BN(x)), y = z + FFN(z), A area attention with
its 7 x 7 position perceiver, and the FFN two convolutions of ratio 2 (section 3.4).

The paper leaves open where batch norm stands: here before the attention, and in the convolutions. Where
the block changes the number of channels there is no sum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention import Attention
from regard.nn.attention.area import AreaAttention
from regard.nn.attention.core import Size, check_divides, fused_attention, split_heads, to_tokens
from regard.nn.attention.multi_head import MultiHead
from regard.nn.conv import Conv, batch_norm
from regard.nn.join import chained, join
from regard.nn.renamed import OldNames


class AttentiveBlock(nn.Module):
    """The block that PartialSelfAttention and AreaAggregation repeat, each with a different attention.

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


class HalfKeyAttention(MultiHead):
    """Attention to the whole map with queries and keys half as wide as values.

    Args:
        in_channels: channels of the input and the output; a multiple of twice ``num_heads``.
        num_heads: number of heads, each of ``in_channels / num_heads`` channels of values.
    """

    def __init__(self, in_channels: int, num_heads: int = 4) -> None:
        check_divides(in_channels, num_heads, multiple=2)
        super().__init__(in_channels, num_heads)
        self.qkv = nn.Linear(in_channels, 2 * in_channels)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries and keys (B, heads, H * W, d / 2), values (B, heads, H * W, d)."""
        half = self.in_channels // 2
        q, k, v = self.qkv(to_tokens(x)).split((half, half, self.in_channels), -1)
        return split_heads(q, self.num_heads), split_heads(k, self.num_heads), split_heads(v, self.num_heads)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """Queries and keys (B, heads, N, d / 2), values (B, heads, N, d) -> (B, heads, N, d)."""
        return fused_attention(q, k, v)


class PartialSelfAttention(OldNames, nn.Module):
    """Cross-stage-partial block in which half of the channels pass self-attention.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        num_heads: heads of the attention; twice as many divide the hidden channels.
        expansion: hidden channels as a fraction of the input's.
        repeats: blocks in the stack.

    Raises:
        RegardError: the hidden channels do not suit the heads.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        num_heads: int = 4,
        expansion: float = 0.5,
        *,
        repeats: int = 1,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        self.hidden = int(in_channels * expansion)
        self.cv1 = Conv(in_channels, 2 * self.hidden)
        self.cv2 = Conv(2 * self.hidden, self.out_channels)
        hidden = self.hidden
        blocks = (AttentiveBlock(HalfKeyAttention(hidden, num_heads), 2 * hidden) for _ in range(repeats))
        self.m = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        passed, attended = self.cv1(x).chunk(2, 1)
        return self.cv2(join((passed, self.m(attended))))


FIRST_SCALE = 0.01


class AreaAggregation(OldNames, nn.Module):
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
            raise RegardError(f"AreaAggregation: mlp_ratio {mlp_ratio} is not positive", expected="such as 2")
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
        y = self.cv2(join(chained([self.cv1(x)], self.m)))
        return y if self.scale is None else x + self.scale * y
