"""C3 with a Transformer in place of its bottlenecks, as YOLOv5 has it (after 1706.03762 and 2010.11929).

Every position of the map is a token. Deviations from the published encoder, kept so that checkpoints fit:
the position term is a linear layer of the tokens themselves, there is no normalisation and no activation,
and the projections q, k, v stand before those that ``nn.MultiheadAttention`` has of its own.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.blocks import C3

HEADS = 4


class TransformerLayer(nn.Module):
    """Multi-head self-attention and a two-layer perceptron without activation, each with a residual connection.

    Args:
        channels: channels of a token, a multiple of ``heads``.
        heads: attention heads.
    """

    def __init__(self, channels: int, heads: int = HEADS) -> None:
        super().__init__()
        self.q = nn.Linear(channels, channels, bias=False)
        self.k = nn.Linear(channels, channels, bias=False)
        self.v = nn.Linear(channels, channels, bias=False)
        self.ma = nn.MultiheadAttention(channels, heads)
        self.fc1 = nn.Linear(channels, channels, bias=False)
        self.fc2 = nn.Linear(channels, channels, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, B, C) -> (N, B, C)."""
        tokens = self.ma(self.q(tokens), self.k(tokens), self.v(tokens), need_weights=False)[0] + tokens
        return self.fc2(self.fc1(tokens)) + tokens


class TransformerBlock(nn.Module):
    """Transformer layers over the positions of a map.

    Args:
        channels: channels of the map, a multiple of ``heads``.
        heads: attention heads.
        layers: layers in sequence.
    """

    def __init__(self, channels: int, heads: int = HEADS, layers: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        self.tr = nn.Sequential(*(TransformerLayer(channels, heads) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        tokens = x.flatten(2).permute(2, 0, 1)  # (H * W, B, C)
        tokens = self.tr(tokens + self.linear(tokens))
        return tokens.permute(1, 2, 0).unflatten(2, x.shape[2:])


class C3TR(C3):
    """C3 whose first half passes a Transformer block of 4 heads; the name and its parameters' names are YOLOv5's."""

    def stack(self, channels: int, repeats: int, shortcut: bool, groups: int) -> nn.Module:  # noqa: ARG002
        """Return the Transformer block; its residual connections and its heads are fixed."""
        return TransformerBlock(channels, layers=repeats)
