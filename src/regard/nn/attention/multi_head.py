"""What all kinds of multi-head attention on maps share; a kind says who sees whom, and computes just that.

q, k, v = tokens W + b, split over the heads (Vaswani et al., 1706.03762, section 3.2.2); each head mixes the values of
the tokens that it may see; W_o joins the heads. A subclass gives ``mix``, the fast path; ``reach``, the pattern of who
sees whom as plain data; and ``pairs``, how many products of a query and a key that takes. Maps and tests use the
pattern, so that fast path and pattern prove each other.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.base import Attention
from regard.nn.attention.dot_product import attention_weights
from regard.nn.attention.heads import check_heads
from regard.nn.attention.normaliser import Normaliser, softmax
from regard.nn.attention.position import choose_position
from regard.nn.attention.tokens import merge_heads, split_heads, to_map, to_tokens
from regard.types import AttentionMap

Size = tuple[int, int]


class MultiHead(Attention):
    """Projections, heads, positions and costs; see the subclasses for who sees whom.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        positions: kind of position, see ``POSITIONS``.

    Raises:
        RegardError: ``heads`` does not divide ``in_channels``, or the positions are unknown or do not fit.
    """

    def __init__(self, in_channels: int, heads: int = 4, positions: str = "none") -> None:
        super().__init__(in_channels)
        check_heads(in_channels, heads)
        self.heads = heads
        self.normalise: Normaliser = softmax
        self.position = choose_position(positions, in_channels, heads)
        self.qkv = nn.Linear(in_channels, 3 * in_channels)
        self.out = nn.Linear(in_channels, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        size = (x.shape[2], x.shape[3])
        mixed_bhnd = self.mix(*self.project(x), size)
        return to_map(self.out(merge_heads(mixed_bhnd)), size)

    def unmixed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W): every projection and position, values passed on as they are."""
        values_bhnd = self.project(x)[2]
        return to_map(self.out(merge_heads(values_bhnd)), (x.shape[2], x.shape[3]))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries, keys and values with their positions, each (B, heads, H * W, d)."""
        size = (x.shape[2], x.shape[3])
        tokens = to_tokens(self.position.on_map(x))
        q, k, v = (split_heads(t, self.heads) for t in self.qkv(tokens).chunk(3, -1))
        return self.position.on_heads(q, size), self.position.on_heads(k, size), v

    @abstractmethod
    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """Queries, keys, values (B, heads, H * W, d) -> mixed values of the same shape, by the fastest exact path."""

    def reach(self, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Return what ``query`` sees on a map of ``size``: (H, W), boolean, or (heads, H, W) where heads differ."""
        return torch.ones(size, dtype=torch.bool)

    def pairs(self, height: int, width: int) -> int:
        """Return how many pairs of a query and a key each head multiplies."""
        return (height * width) ** 2

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Return the row of weights of one query for each head: (B, heads, 1, H, W), zero where it sees nothing."""
        size = (x.shape[2], x.shape[3])
        row, column = place = check_query(query, size)
        q, k, _ = self.project(x)
        at = row * size[1] + column
        weights = self.row(q[:, :, at : at + 1], k, place, size)
        return AttentionMap("rows", weights.reshape(*weights.shape[:3], *size), (place,))

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Return the weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        allowed = self.reach(query, size).flatten(-2).unsqueeze(-2).to(q.device)  # (1, N) or (heads, 1, N)
        return attention_weights(q, k, self.normalise, bias=self.position.on_row(query, size), allowed=allowed)

    def flops(self, height: int, width: int) -> int:
        """Return the four projections, 8 N C^2, the positions, and the mixing."""
        projections = 8 * height * width * self.in_channels**2
        return projections + self.position_flops(height, width) + self.mixing_flops(height, width)

    def position_flops(self, height: int, width: int) -> int:
        """Return operations of the positions."""
        return self.position.flops(height, width)

    def mixing_flops(self, height: int, width: int) -> int:
        """Return 4 C for each pair: a product of query and key, and a value weighted and added."""
        return 4 * self.in_channels * self.pairs(height, width)

    def saved_elements(self, height: int, width: int) -> int:
        """Return queries, keys, values and mixed values, N C each, and a normaliser for each query and head."""
        return height * width * (4 * self.in_channels + self.heads)


def check_query(query: Size | None, size: Size) -> Size:
    """Return the queried position, the centre if None.

    Raises:
        RegardError: it lies outside the map.
    """
    height, width = size
    if query is None:
        return height // 2, width // 2
    if not (0 <= query[0] < height and 0 <= query[1] < width):
        expected = f"a row of 0..{height - 1} and a column of 0..{width - 1}"
        raise RegardError(f"query {query} lies outside the map", expected=expected)
    return query
