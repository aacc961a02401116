"""C2PSA, a cross-stage-partial block with self-attention, by the name that YOLO11 gave it (overview: 2410.17725).

After the partial self-attention of YOLOv10 (Wang et al., 2405.14458, section 3.2): a 1x1 convolution, of whose channels
one half passes ``repeats`` blocks of attention to the whole map and feed-forward network, z = x + MHSA(BN(x)) and
y = z + FFN(z), with queries and keys half as wide as values and batch norm for layer norm; both halves are joined by a
1x1 convolution. C2PSA stacks the blocks, where YOLOv10 has one.

Written from the papers, which leave open the ratio of the FFN (here 2) and where batch norm stands (here before the
attention, and in the FFN's convolutions). Published weights cannot be loaded.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Size, check_divides, fused_attention, split_heads, to_tokens
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attentive_block import AttentiveBlock
from regard.nn.conv import Conv
from regard.nn.join import join
from regard.nn.renamed import OldNames


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


class C2PSA(OldNames, nn.Module):
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
