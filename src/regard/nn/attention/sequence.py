"""Self-attention on a sequence of vectors, as in textbooks (Vaswani et al., 1706.03762, section 3.2).

One head: q = a W_q, k = a W_k, v = a W_v, and b_i = sum_j softmax_j(q_i . k_j / sqrt(d_k)) v_j, where only the three
matrices are learned. Several heads do the same, each on a part of the channels; a last matrix W_o
mixes their outputs. Deviation: weights are stored transposed, as ``nn.Linear`` does.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import attention_weights, check_divides, choose_score_activation, merge_heads, split_heads
from regard.nn.renamed import OldNames


class SingleHeadAttention(OldNames, nn.Module):
    """Self-attention of one head, without biases and without an output matrix.

    Args:
        channels: of a vector of the sequence.
        qk_dim: d_k, of queries and keys; ``channels`` if None.
        value_channels: d_v, of values and output; ``channels`` if None.
        score_activation: turns scores into weights; see ``SCORE_ACTIVATIONS``.
    """

    def __init__(
        self,
        channels: int,
        qk_dim: int | None = None,
        value_channels: int | None = None,
        score_activation: str = "softmax",
    ) -> None:
        super().__init__()
        self.activation = choose_score_activation(score_activation)
        self.w_q = nn.Linear(channels, qk_dim or channels, bias=False)
        self.w_k = nn.Linear(channels, qk_dim or channels, bias=False)
        self.w_v = nn.Linear(channels, value_channels or channels, bias=False)

    def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, C) -> output (B, N, d_v) and weights (B, N, N)."""
        weights = attention_weights(self.w_q(a), self.w_k(a), self.activation)
        return weights @ self.w_v(a), weights


class MultiHeadAttention(OldNames, nn.Module):
    """Self-attention of several heads with an output matrix.

    Args:
        channels: of a vector of the sequence; a multiple of ``num_heads``.
        num_heads: number of heads, each of ``channels / num_heads`` channels.
        score_activation: turns scores into weights; see ``SCORE_ACTIVATIONS``.

    Raises:
        RegardError: ``num_heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, num_heads: int = 4, score_activation: str = "softmax") -> None:
        super().__init__()
        check_divides(channels, num_heads)
        self.num_heads = num_heads
        self.activation = choose_score_activation(score_activation)
        self.w_q = nn.Linear(channels, channels, bias=False)
        self.w_k = nn.Linear(channels, channels, bias=False)
        self.w_v = nn.Linear(channels, channels, bias=False)
        self.w_o = nn.Linear(channels, channels, bias=False)

    def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, C) -> output (B, N, C) and weights (B, heads, N, N)."""
        q, k, v = (split_heads(w(a), self.num_heads) for w in (self.w_q, self.w_k, self.w_v))
        weights = attention_weights(q, k, self.activation)
        return self.w_o(merge_heads(weights @ v)), weights
