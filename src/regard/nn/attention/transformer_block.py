"""Transformer block, normalisation first (Dosovitskiy et al., 2010.11929, equations 2 and 3; pre-norm as 2002.04745).

z = x + MHSA(LN(x));  y = z + W_2 gelu(W_1 LN(z)), each position of the map a token.

Both residual connections are part of the block. Positions, where there are any, enter the attention behind its layer
norm, where ViT adds them once to the input of the whole network. Deviation: no dropout. The block of YOLOv5's C3TR,
without norms and activation, is another one: see ``regard.nn.transformer``.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import Attention, Card, Size, to_map, to_tokens
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.types import AttentionMap


class TransformerBlock(Attention):
    """Multi-head self-attention and a feed-forward network, each with a layer norm before and a sum behind it.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads, each of ``in_channels / num_heads`` channels.
        mlp_ratio: hidden units of the feed-forward network per channel.
        pos_embed: kind of position, see ``POSITIONS``.
        score_activation: turns scores into weights; see ``SCORE_ACTIVATIONS``.

    Raises:
        RegardError: an option of the attention does not fit, or ``mlp_ratio`` is not positive.
    """

    card = Card(
        family="global",
        paper="2010.11929",
        equation="z = x + MHSA(LN(x)); y = z + W_2 gelu(W_1 LN(z))",
        parameters="4 * C**2 + 9 * C + 2 * C * hidden + hidden",
        flops="8 * N * C**2 + 4 * N**2 * C + 4 * N * C * hidden + N * hidden + 2 * C * N",
        peers=("timm.models.vision_transformer.Block",),
        when="When attention should come with its norms and its feed-forward network, a whole Transformer layer; the"
        " cost grows with N^2.",
        linear=False,
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        pos_embed: str = "none",
        score_activation: str = "softmax",
    ) -> None:
        super().__init__(in_channels)
        if mlp_ratio <= 0:
            raise RegardError(f"TransformerBlock: mlp_ratio {mlp_ratio} is not positive", expected="such as 4")
        self.hidden = max(1, int(in_channels * mlp_ratio))
        self.norm1 = nn.LayerNorm(in_channels)
        self.attn = MultiHeadSelfAttention(in_channels, num_heads, pos_embed, score_activation)
        self.norm2 = nn.LayerNorm(in_channels)
        self.ffn = nn.Sequential(nn.Linear(in_channels, self.hidden), nn.GELU(), nn.Linear(self.hidden, in_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.fed_forward(x + self.attn(self.normalised(x)))

    def fed_forward(self, z: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), the second half of the block."""
        tokens = to_tokens(z)
        return to_map(tokens + self.ffn(self.norm2(tokens)), (z.shape[2], z.shape[3]))

    def normalised(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), what the attention is given."""
        return to_map(self.norm1(to_tokens(x)), (x.shape[2], x.shape[3]))

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Row of weights of one query for each head: (B, heads, 1, H, W)."""
        return self.attn.attention(self.normalised(x), query)
