"""Transformer block, normalisation first (Dosovitskiy et al., 2010.11929, equations 2 and 3; pre-norm as 2002.04745).

z = x + MHSA(LN(x));  y = z + W_2 gelu(W_1 LN(z)), each position of the map a token.

Both residual connections are part of the block. Positions, where there are any, enter the attention behind its layer
norm, where ViT adds them once to the input of the whole network. Deviation: no dropout. The block of YOLOv5's C3TR,
without norms and activation, is another one: see ``regard.nn.transformer``.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.base import Attention
from regard.nn.attention.card import Card
from regard.nn.attention.multi_head import Size
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.attention.tokens import to_map, to_tokens
from regard.types import AttentionMap


class TransformerBlock(Attention):
    """Multi-head self-attention and a feed-forward network, each with a layer norm before and a sum behind it.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        ffn_ratio: hidden units of the feed-forward network per channel.
        positions: kind of position, see ``POSITIONS``.
        normaliser: what turns scores into weights; see ``NORMALISERS``.

    Raises:
        RegardError: an option of the attention does not fit, or ``ffn_ratio`` is not positive.
    """

    card = Card(
        family="global",
        paper="2010.11929",
        equation="z = x + MHSA(LN(x)); y = z + W_2 gelu(W_1 LN(z))",
        parameters="4 * C**2 + 9 * C + 2 * C * hidden + hidden",
        flops="8 * N * C**2 + 4 * N**2 * C + 4 * N * C * hidden + N * hidden + 2 * C * N",
        peers=("timm.models.vision_transformer.Block",),
        linear=False,
    )

    def __init__(
        self,
        in_channels: int,
        heads: int = 4,
        ffn_ratio: float = 4.0,
        positions: str = "none",
        normaliser: str = "softmax",
    ) -> None:
        super().__init__(in_channels)
        if ffn_ratio <= 0:
            raise RegardError(f"TransformerBlock: ffn_ratio {ffn_ratio} is not positive", expected="such as 4")
        self.hidden = max(1, int(in_channels * ffn_ratio))
        self.norm1 = nn.LayerNorm(in_channels)
        self.attn = MultiHeadSelfAttention(in_channels, heads, positions, normaliser)
        self.norm2 = nn.LayerNorm(in_channels)
        self.ffn = nn.Sequential(nn.Linear(in_channels, self.hidden), nn.GELU(), nn.Linear(self.hidden, in_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.fed_forward(x + self.attn(self.normalised(x)))

    def unmixed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W): all but the mixing of the attention."""
        return self.fed_forward(x + self.attn.unmixed(self.normalised(x)))

    def fed_forward(self, z: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), the second half of the block."""
        tokens = to_tokens(z)
        return to_map(tokens + self.ffn(self.norm2(tokens)), (z.shape[2], z.shape[3]))

    def normalised(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), what the attention is given."""
        return to_map(self.norm1(to_tokens(x)), (x.shape[2], x.shape[3]))

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Return the row of weights of one query for each head: (B, heads, 1, H, W)."""
        return self.attn.attention(self.normalised(x), query)

    def flops(self, height: int, width: int) -> int:
        """Return the attention, two layers of 2 C hidden for each position, GELU and two residual sums."""
        ffn = height * width * (4 * self.in_channels * self.hidden + self.hidden)
        return self.attn.flops(height, width) + ffn + 2 * self.in_channels * height * width

    def mixing_flops(self, height: int, width: int) -> int:
        """Return the mixing of the attention."""
        return self.attn.mixing_flops(height, width)

    def saved_elements(self, height: int, width: int) -> int:
        """Return what the attention keeps, both norms' inputs and outputs, and both sides of the activation."""
        return self.attn.saved_elements(height, width) + height * width * (4 * self.in_channels + 2 * self.hidden)
