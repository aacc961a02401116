"""Self-attention on a sequence of vectors, as it is taught (Vaswani et al., 1706.03762, section 3.2).

One head: q = a W_q, k = a W_k, v = a W_v, and b_i = sum_j softmax_j(q_i . k_j / sqrt(d_k)) v_j, where the three
matrices are all there is to learn. Several heads do the same on their own share of the channels; a last matrix W_o
mixes what they found. Deviation: weights are stored transposed, as ``nn.Linear`` does.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.dot_product import dot_product_attention
from regard.nn.attention.heads import check_heads
from regard.nn.attention.normaliser import choose_normaliser
from regard.nn.attention.tokens import merge_heads, split_heads


class SingleHeadAttention(nn.Module):
    """Self-attention of one head, without biases and without an output matrix.

    Args:
        channels: of a vector of the sequence.
        key_channels: d_k, of queries and keys; ``channels`` if None.
        value_channels: d_v, of values and output; ``channels`` if None.
        normaliser: what turns scores into weights; see ``NORMALISERS``.
    """

    def __init__(
        self,
        channels: int,
        key_channels: int | None = None,
        value_channels: int | None = None,
        normaliser: str = "softmax",
    ) -> None:
        super().__init__()
        self.normalise = choose_normaliser(normaliser)
        self.w_q = nn.Linear(channels, key_channels or channels, bias=False)
        self.w_k = nn.Linear(channels, key_channels or channels, bias=False)
        self.w_v = nn.Linear(channels, value_channels or channels, bias=False)

    def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, C) -> output (B, N, d_v) and weights (B, N, N)."""
        return dot_product_attention(self.w_q(a), self.w_k(a), self.w_v(a), self.normalise)


class MultiHeadAttention(nn.Module):
    """Self-attention of several heads with an output matrix.

    Args:
        channels: of a vector of the sequence; a multiple of ``heads``.
        heads: each works on ``channels / heads`` channels.
        normaliser: what turns scores into weights; see ``NORMALISERS``.

    Raises:
        RegardError: ``heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, heads: int = 4, normaliser: str = "softmax") -> None:
        super().__init__()
        check_heads(channels, heads)
        self.heads = heads
        self.normalise = choose_normaliser(normaliser)
        self.w_q = nn.Linear(channels, channels, bias=False)
        self.w_k = nn.Linear(channels, channels, bias=False)
        self.w_v = nn.Linear(channels, channels, bias=False)
        self.w_o = nn.Linear(channels, channels, bias=False)

    def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, C) -> output (B, N, C) and weights (B, heads, N, N)."""
        q, k, v = (split_heads(w(a), self.heads) for w in (self.w_q, self.w_k, self.w_v))
        output, weights = dot_product_attention(q, k, v, self.normalise)
        return self.w_o(merge_heads(output)), weights
