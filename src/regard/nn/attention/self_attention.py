"""Every position of a map attends to every other (Vaswani et al., 1706.03762, section 3.2; on maps as 1711.07971).

b_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j over all N = H W positions, by the fused kernel: N^2 time, but no N x N
memory. Other normalisers than the softmax, and the learned bias of relative positions in training, are written out
and take N^2 memory. Deviation: no dropout and no residual connection; the gate of an insertion serves as one.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.base import Attention
from regard.nn.attention.card import Card
from regard.nn.attention.dot_product import attention_weights, fused_attention
from regard.nn.attention.multi_head import MultiHead, Size, check_query
from regard.nn.attention.normaliser import choose_normaliser, softmax
from regard.nn.attention.tokens import to_map, to_tokens
from regard.types import AttentionMap


class SelfAttention(Attention):
    """One head; the three matrices W_q, W_k, W_v are all there is to learn.

    Args:
        in_channels: channels of the input and the output.
        key_channels: d_k, of queries and keys; ``in_channels`` if None.
        normaliser: what turns scores into weights; see ``NORMALISERS``.

    Raises:
        RegardError: ``key_channels`` is not positive, or the normaliser is unknown.
    """

    card = Card(
        family="global",
        paper="1706.03762",
        equation="b_i = sum_j softmax_j(q_i . k_j / sqrt(d_k)) v_j",
        parameters="C * (2 * key_channels + C)",
        flops="2 * N * C * (2 * key_channels + C) + 2 * N**2 * (key_channels + C)",
        peers=("torch.nn.functional.scaled_dot_product_attention", "torch.nn.MultiheadAttention"),
        linear=False,
    )

    def __init__(self, in_channels: int, key_channels: int | None = None, normaliser: str = "softmax") -> None:
        super().__init__(in_channels)
        self.key_channels = in_channels if key_channels is None else key_channels
        if self.key_channels < 1:
            found = f"SelfAttention: key_channels {key_channels} is not positive"
            raise RegardError(found, expected=f"at least 1, such as {in_channels}, the channels of the input")
        self.normalise = choose_normaliser(normaliser)
        if self.normalise is not softmax:
            self.note = f"{normaliser} is written out: its memory grows with the square of the positions"
        self.w_q = nn.Linear(in_channels, self.key_channels, bias=False)
        self.w_k = nn.Linear(in_channels, self.key_channels, bias=False)
        self.w_v = nn.Linear(in_channels, in_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        q, k, v = (t[:, None] for t in self.project(x))  # (B, 1, N, d): the kernel wants heads
        return to_map(fused_attention(q, k, v, self.normalise)[:, 0], (x.shape[2], x.shape[3]))

    def unmixed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W): the three projections, values passed on as they are."""
        return to_map(self.project(x)[2], (x.shape[2], x.shape[3]))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries and keys (B, N, d_k) and values (B, N, C)."""
        a = to_tokens(x)
        return self.w_q(a), self.w_k(a), self.w_v(a)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Return the row of weights of one query: (B, 1, 1, H, W)."""
        size = (x.shape[2], x.shape[3])
        row, column = check_query(query, size)
        a = to_tokens(x)
        at = row * size[1] + column
        weights = attention_weights(self.w_q(a[:, at : at + 1]), self.w_k(a), self.normalise)
        return AttentionMap("rows", weights.reshape(x.shape[0], 1, 1, *size), ((row, column),))

    def flops(self, height: int, width: int) -> int:
        """Return the three projections and the mixing."""
        projections = 2 * height * width * self.in_channels * (2 * self.key_channels + self.in_channels)
        return projections + self.mixing_flops(height, width)

    def mixing_flops(self, height: int, width: int) -> int:
        """Return N^2 products of d_k channels and N^2 of C channels."""
        return 2 * (height * width) ** 2 * (self.key_channels + self.in_channels)

    def saved_elements(self, height: int, width: int) -> int:
        """Return queries, keys, values, output, and scores and weights where they are written out."""
        positions = height * width
        written_out = 0 if self.normalise is softmax else 2 * positions**2
        return 2 * positions * (self.key_channels + self.in_channels) + written_out


class MultiHeadSelfAttention(MultiHead):
    """Several heads, biases and an output matrix, as ``torch.nn.MultiheadAttention`` has.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        positions: kind of position, see ``POSITIONS``.
        normaliser: what turns scores into weights; see ``NORMALISERS``.
    """

    card = Card(
        family="global",
        paper="1706.03762",
        equation="b_i = W_o [sum_j softmax_j(q_hi . k_hj / sqrt(d)) v_hj for h in heads]",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * N**2 * C",
        peers=("torch.nn.MultiheadAttention", "timm.layers.Attention"),
        linear=False,
    )

    def __init__(self, in_channels: int, heads: int = 4, positions: str = "none", normaliser: str = "softmax") -> None:
        super().__init__(in_channels, heads, positions)
        self.normalise = choose_normaliser(normaliser)
        if self.normalise is not softmax:
            self.note = f"{normaliser} is written out: its memory grows with the square of the positions"
        elif self.position.on_scores((1, 1)) is not None:
            self.note = f"{positions} positions: their memory grows with the square of the positions"

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        return fused_attention(q, k, v, self.normalise, bias=self.position.on_scores(size))

    def saved_elements(self, height: int, width: int) -> int:
        """Return what every kind keeps, and scores and weights where they are written out."""
        positions = height * width
        fused = self.normalise is softmax and self.position.on_scores((1, 1)) is None
        kept = super().saved_elements(height, width) + self.position.saved_elements(height, width)
        return kept + (0 if fused else 2 * self.heads * positions**2)
