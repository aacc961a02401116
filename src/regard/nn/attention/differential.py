"""Differential attention (Ye et al., Differential Transformer, 2410.05258, equations 1 to 3): one softmax less another.

b_i = W_o [(1 - l_0) RMS(A_1 v - l A_2 v) for each head],  A_m = softmax(Q_m K_m^T / sqrt(d / 2)): queries and keys of a
head fall into two halves, and what both softmaxes attend to cancels out.  l = exp(q_1 . k_1) - exp(q_2 . k_2) + l_0
with learned vectors, which all heads share; RMS is the root-mean-square norm of each head, its scale shared likewise.

``attention`` gives A_1 - l A_2: weights may be negative and sum to 1 - l.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import Card, Size, attention_weights, check_divides, fused_attention, no_autocast
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import check_pos_embed
from regard.nn.precision import at_least_float32

EPSILON = 1e-5


class DifferentialAttention(MultiHead):
    """Multi-head attention whose weights are the difference of two softmaxes.

    Args:
        in_channels, num_heads: as for `MultiHead`; a head has an even number of channels.
        lambda_init: l_0, in 0..1; 0.2 in the first layer of the paper, towards 0.8 in later ones.
        pos_embed: kind of position, see ``POSITIONS``; not relative.

    Raises:
        RegardError: ``lambda_init`` is outside of 0..1, or as for every ``MultiHead``.
    """

    card = Card(
        family="global",
        paper="2410.05258",
        equation="b_i = W_o [(1 - l_0) RMS((softmax(Q_1 K_1^T) - l softmax(Q_2 K_2^T)) v)]",
        parameters="4 * C**2 + 4 * C + 3 * C / num_heads",
        flops="8 * N * C**2 + 6 * C * N**2 + N * (5 * C + num_heads)",
        peers=("timm.layers.DiffAttention",),
        when="When what two softmaxes have in common should cancel out; the products of positions cost 1.5 times"
        " those of multi-head attention.",
        linear=False,
    )

    def __init__(self, in_channels: int, num_heads: int = 4, lambda_init: float = 0.2, pos_embed: str = "none") -> None:
        check_pos_embed("DifferentialAttention", pos_embed)
        check_divides(in_channels, num_heads, multiple=2)
        if not 0 <= lambda_init < 1:
            what = f"DifferentialAttention: lambda_init {lambda_init}"
            raise RegardError(what, expected="a number of 0 or more, below 1", hint="the paper's is 0.2 to 0.8")
        super().__init__(in_channels, num_heads, pos_embed)
        self.lambda_init = lambda_init
        d = in_channels // num_heads
        self.lambda_vectors = nn.Parameter(torch.randn(4, d // 2) / 10)  # q_1, k_1, q_2, k_2
        self.scale = nn.Parameter(torch.ones(d))

    def factor(self) -> Tensor:
        """l, how much of the second softmax is taken away; one number."""
        q1, k1, q2, k2 = at_least_float32(self.lambda_vectors)
        return (q1 * k1).sum().exp() - (q2 * k2).sum().exp() + self.lambda_init

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        (q1, q2), (k1, k2) = (_halves(t) for t in (q, k))
        return fused_attention(q1, k1, v) - self.factor().to(v.dtype) * fused_attention(q2, k2, v)

    def with_values(self, mixed: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """Normalise each head's mixed values: (B, heads, H * W, d) -> the same."""
        with no_autocast(mixed):
            wide = at_least_float32(mixed)
            normed = wide * (wide.square().mean(-1, keepdim=True) + EPSILON).rsqrt() * self.scale
            return (normed * (1 - self.lambda_init)).to(mixed.dtype)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        (q1, q2), (k1, k2) = (_halves(t) for t in (q, k))
        return attention_weights(q1, k1) - self.factor().to(q.dtype) * attention_weights(q2, k2)


def _halves(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """(..., d) -> twice (..., d / 2), contiguous, as the fused kernel requires."""
    first, second = tokens.chunk(2, -1)
    return first.contiguous(), second.contiguous()
