"""Base classes of multi-head attention on maps; a subclass states which positions attend to which, and computes it.

q, k, v = tokens W + b, split over the heads (Vaswani et al., 1706.03762, section 3.2.2); each head mixes the values of
the tokens that it may see; W_o joins the heads. A subclass defines ``mix``, the fast path, and ``attention_mask``, the
pattern of attention as plain data. Attention maps and tests use the pattern, and tests compare the two.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import (
    Attention,
    ScoreActivation,
    Size,
    attention_weights,
    check_divides,
    check_query,
    merge_heads,
    mixing,
    softmax,
    split_heads,
    to_map,
    to_tokens,
    values_for,
)
from regard.nn.attention.position import choose_position
from regard.types import AttentionMap


class MultiHead(Attention):
    """Projections, heads and positions; subclasses define which positions attend to which.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads, each of ``in_channels / num_heads`` channels.
        pos_embed: kind of position, see ``POSITIONS``.

    Raises:
        RegardError: ``num_heads`` does not divide ``in_channels``, or the positions are unknown or do not fit.
    """

    def __init__(self, in_channels: int, num_heads: int = 4, pos_embed: str = "none") -> None:
        super().__init__(in_channels)
        check_divides(in_channels, num_heads)
        self.num_heads = num_heads
        self.activation: ScoreActivation = softmax
        self.position = choose_position(pos_embed, in_channels, num_heads)
        self.qkv = nn.Linear(in_channels, 3 * in_channels)
        self.out = nn.Linear(in_channels, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        size = (x.shape[2], x.shape[3])
        q, k, v = self.project(x)
        mixed_bhnd = mixing(self.mix, q, k, v, size, without=lambda: values_for(q, v))
        return self.join(mixed_bhnd, v, size)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries, keys and values with their positions, each (B, heads, H * W, d)."""
        size = (x.shape[2], x.shape[3])
        tokens = to_tokens(self.position.on_map(x))
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(tokens).chunk(3, -1))
        return self.position.on_heads(q, size), self.position.on_heads(k, size), v

    @abstractmethod
    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """Queries, keys, values (B, heads, H * W, d) -> mixed values of the same shape, by the fastest exact path."""

    def join(self, mixed: Tensor, v: Tensor, size: Size) -> Tensor:
        """Mixed values and values (B, heads, H * W, d) -> output (B, C, H, W)."""
        return to_map(self.out(merge_heads(self.with_values(mixed, v, size))), size)

    def with_values(self, mixed: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """Mixed values and what a subclass adds of the values themselves: (B, heads, H * W, d) each -> the same."""
        return mixed

    def attention_mask(self, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Positions that ``query`` sees on a map of ``size``: (H, W), boolean, or (heads, H, W) where heads differ."""
        return torch.ones(size, dtype=torch.bool)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Row of weights of one query for each head: (B, heads, 1, H, W), zero where it sees nothing."""
        size = (x.shape[2], x.shape[3])
        place = check_query(query, size)
        q, k, _ = self.project(x)
        weights = self.row_among(q, k, place, size)
        return AttentionMap("rows", weights.reshape(*weights.shape[:3], *size), (place,))

    def row_among(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Weights of one of the queries, where they may depend on the others: (B, heads, 1, N)."""
        at = query[0] * size[1] + query[1]
        return self.row(q[:, :, at : at + 1], k, query, size)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        allowed = self.attention_mask(query, size).flatten(-2).unsqueeze(-2).to(q.device)  # (1, N) or (heads, 1, N)
        return attention_weights(q, k, self.activation, bias=self.position.on_row(query, size), allowed=allowed)


class ValueConvolution(MultiHead):
    """Adds a depth-wise convolution of the values before the output matrix, y_i = W_o [b_i + (P * v)_i].

    What the convolution adds depends on no query, so ``mix`` and the maps leave it out.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        kernel: odd side of the convolution; 0 for none.
        pos_embed: kind of position, see ``POSITIONS``.

    Raises:
        RegardError: ``kernel`` is neither odd nor 0, or as for every ``MultiHead``.
    """

    def __init__(self, in_channels: int, num_heads: int, kernel: int, pos_embed: str) -> None:
        if kernel < 0 or (kernel and kernel % 2 == 0):
            what = f"{type(self).__name__}: kernel {kernel} is not odd"
            near = f"the nearest is {max(kernel + 1, 0)}"
            raise RegardError(what, expected="an odd number, or 0", hint=near)
        super().__init__(in_channels, num_heads, pos_embed)
        self.kernel = kernel
        self.skip = (
            nn.Conv2d(in_channels, in_channels, kernel, padding=kernel // 2, groups=in_channels, bias=False)
            if kernel
            else None
        )

    def with_values(self, mixed: Tensor, v: Tensor, size: Size) -> Tensor:
        """Mixed values and the convolved values: (B, heads, H * W, d) each -> the same."""
        if self.skip is None:
            return mixed
        return mixed + split_heads(to_tokens(self.skip(to_map(merge_heads(v), size))), self.num_heads)
