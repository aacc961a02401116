"""C3 with a Transformer in place of its bottlenecks, as YOLOv5 has it (after 1706.03762 and 2010.11929).

Every position of the map is a token. Deviations from the published encoder, kept so that checkpoints fit:
the position term is a linear layer of the tokens themselves, there is no normalisation and no activation,
and the projections q, k, v precede those inside ``nn.MultiheadAttention``.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import attention_weights, check_query, split_heads
from regard.nn.blocks import C3
from regard.types import AttentionMap

HEADS = 4


class TransformerLayer(nn.Module):
    """Multi-head self-attention and a two-layer perceptron without activation, each with a residual connection.

    Args:
        channels: channels of a token, a multiple of ``num_heads``.
        num_heads: attention heads.
    """

    def __init__(self, channels: int, num_heads: int = HEADS) -> None:
        super().__init__()
        self.q = nn.Linear(channels, channels, bias=False)
        self.k = nn.Linear(channels, channels, bias=False)
        self.v = nn.Linear(channels, channels, bias=False)
        self.ma = nn.MultiheadAttention(channels, num_heads)
        self.fc1 = nn.Linear(channels, channels, bias=False)
        self.fc2 = nn.Linear(channels, channels, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, B, C) -> (N, B, C)."""
        tokens = self.ma(self.q(tokens), self.k(tokens), self.v(tokens), need_weights=False)[0] + tokens
        return self.fc2(self.fc1(tokens)) + tokens

    def weights(self, tokens: Tensor, at: int) -> Tensor:
        """Weights of the query ``at``: (N, B, C) -> (B, heads, 1, N)."""
        (w_q, w_k, _), (b_q, b_k, _) = self.ma.in_proj_weight.chunk(3), self.ma.in_proj_bias.chunk(3)
        q = F.linear(self.q(tokens[at : at + 1]), w_q, b_q)
        k = F.linear(self.k(tokens), w_k, b_k)
        q_bhnd, k_bhnd = (split_heads(t.transpose(0, 1), self.ma.num_heads) for t in (q, k))
        return attention_weights(q_bhnd, k_bhnd)


class TransformerBlock(nn.Module):
    """Transformer layers over the positions of a map.

    Args:
        channels: channels of the map, a multiple of ``num_heads``.
        num_heads: attention heads.
        layers: layers in sequence.
    """

    def __init__(self, channels: int, num_heads: int = HEADS, layers: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        self.tr = nn.Sequential(*(TransformerLayer(channels, num_heads) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        tokens = x.flatten(2).permute(2, 0, 1)  # (H * W, B, C)
        tokens = self.tr(tokens + self.linear(tokens))
        return tokens.permute(1, 2, 0).unflatten(2, x.shape[2:])

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:
        """Weights of one query in the last layer: (B, heads, 1, H, W)."""
        size = (x.shape[2], x.shape[3])
        row, column = check_query(query, size)
        tokens = x.flatten(2).permute(2, 0, 1)
        *before, last = self.tr
        assert isinstance(last, TransformerLayer)
        tokens = nn.Sequential(*before)(tokens + self.linear(tokens))
        weights = last.weights(tokens, row * size[1] + column)
        return AttentionMap("rows", weights.reshape(*weights.shape[:3], *size), ((row, column),))


class C3TR(C3):
    """C3 whose first half passes a Transformer block of 4 heads; the name and its parameters' names are YOLOv5's."""

    def stack(self, channels: int, repeats: int, shortcut: bool, groups: int) -> nn.Module:  # noqa: ARG002
        """Build the Transformer block; its residual connections and its heads are fixed."""
        return TransformerBlock(channels, layers=repeats)
