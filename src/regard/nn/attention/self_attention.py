"""Every position of a map attends to every other (Vaswani et al., 1706.03762, section 3.2; on maps as 1711.07971).

b_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j over all N = H W positions, by the fused kernel: N^2 time, but no N x N
memory. Score activations other than the softmax, and the learned bias of relative positions in training, are written
out and take N^2 memory. Deviation: no dropout and no residual connection; the gate of an insertion serves as one.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import (
    Attention,
    Card,
    Size,
    attention_weights,
    check_query,
    choose_score_activation,
    fused_attention,
    mixing,
    softmax,
    to_map,
    to_tokens,
)
from regard.nn.attention.multi_head import MultiHead
from regard.types import AttentionMap


class SelfAttention(Attention):
    """One head; only the three matrices W_q, W_k, W_v are learned.

    Args:
        in_channels: channels of the input and the output.
        qk_dim: d_k, of queries and keys; ``in_channels`` if None.
        score_activation: turns scores into weights; see ``SCORE_ACTIVATIONS``.

    Raises:
        RegardError: ``qk_dim`` is not positive, or the score activation is unknown.
    """

    card = Card(
        family="global",
        paper="1706.03762",
        equation="b_i = sum_j softmax_j(q_i . k_j / sqrt(d_k)) v_j",
        parameters="C * (2 * qk_dim + C)",
        flops="2 * N * C * (2 * qk_dim + C) + 2 * N**2 * (qk_dim + C)",
        peers=("torch.nn.functional.scaled_dot_product_attention", "torch.nn.MultiheadAttention"),
        when="When every position should attend to every other in its plainest form, one head without an output"
        " matrix; the cost grows with N^2, so it suits small maps such as P5.",
        linear=False,
    )

    def __init__(self, in_channels: int, qk_dim: int | None = None, score_activation: str = "softmax") -> None:
        super().__init__(in_channels)
        self.qk_dim = in_channels if qk_dim is None else qk_dim
        if self.qk_dim < 1:
            found = f"SelfAttention: qk_dim {qk_dim} is not positive"
            raise RegardError(found, expected=f"at least 1, such as {in_channels}, the channels of the input")
        self.activation = choose_score_activation(score_activation)
        if self.activation is not softmax:
            self.note = f"{score_activation} is written out: its memory grows with the square of the positions"
        self.w_q = nn.Linear(in_channels, self.qk_dim, bias=False)
        self.w_k = nn.Linear(in_channels, self.qk_dim, bias=False)
        self.w_v = nn.Linear(in_channels, in_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        q, k, v = (t[:, None] for t in self.project(x))  # (B, 1, N, d): the kernel requires heads
        mixed = mixing(fused_attention, q, k, v, self.activation, without=v)
        return to_map(mixed[:, 0], (x.shape[2], x.shape[3]))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries and keys (B, N, d_k) and values (B, N, C)."""
        a = to_tokens(x)
        return self.w_q(a), self.w_k(a), self.w_v(a)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Row of weights of one query: (B, 1, 1, H, W)."""
        size = (x.shape[2], x.shape[3])
        row, column = check_query(query, size)
        a = to_tokens(x)
        at = row * size[1] + column
        weights = attention_weights(self.w_q(a[:, at : at + 1]), self.w_k(a), self.activation)
        return AttentionMap("rows", weights.reshape(x.shape[0], 1, 1, *size), ((row, column),))


class MultiHeadSelfAttention(MultiHead):
    """Several heads, biases and an output matrix, as ``torch.nn.MultiheadAttention`` has.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        pos_embed: kind of position, see ``POSITIONS``.
        score_activation: turns scores into weights; see ``SCORE_ACTIVATIONS``.
    """

    card = Card(
        family="global",
        paper="1706.03762",
        equation="b_i = W_o [sum_j softmax_j(q_hi . k_hj / sqrt(d)) v_hj for h in heads]",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * N**2 * C",
        peers=("torch.nn.MultiheadAttention", "timm.layers.Attention"),
        when="When every position should attend to every other; the cost grows with N^2, so it suits P5 and P4"
        " rather than P3 or large images.",
        linear=False,
    )

    def __init__(
        self, in_channels: int, num_heads: int = 4, pos_embed: str = "none", score_activation: str = "softmax"
    ) -> None:
        super().__init__(in_channels, num_heads, pos_embed)
        self.activation = choose_score_activation(score_activation)
        if self.activation is not softmax:
            self.note = f"{score_activation} is written out: its memory grows with the square of the positions"
        elif self.position.on_scores((1, 1)) is not None:
            self.note = f"{pos_embed} positions: their memory grows with the square of the positions"

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        return fused_attention(q, k, v, self.activation, bias=self.position.on_scores(size))
