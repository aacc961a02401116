"""Memory-compressed attention (Liu et al., 1801.10198, section 4.2.3): a strided convolution of keys and values.

b_i = W_o [sum_m softmax_m(q_hi . k'_hm / sqrt(d)) v'_hm],  k' = conv(k), v' = conv(v), with r x r kernels of stride r,
r = 3 as in the paper: a ninth of the keys on a map, where it is a third in the paper's text. r = 1 is plain attention.

Deviations: two dimensions; each head convolves its own channels; keys and values have kernels of their own; cells at
the border see zeros beyond; no masking of what comes later, as maps have no order.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.card import Card
from regard.nn.attention.dot_product import attention_weights, fused_attention
from regard.nn.attention.grouping import ceil_div
from regard.nn.attention.multi_head import MultiHead, Size
from regard.nn.attention.options import MAP_POSITIONS, check_at_least, check_positions
from regard.nn.attention.pooled import spread
from regard.nn.attention.tokens import split_heads, to_map, to_tokens


class MemoryCompressedAttention(MultiHead):
    """Every position attends to learned summaries of cells of ``reduction`` x ``reduction`` positions.

    ``attention`` spreads the weight of a cell evenly over its positions: it tells the cell, not what inside it counts.
    Cells that the border cuts have fewer positions, which stand out for it.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        reduction: r, side of a cell; 1 for plain attention.
        positions: kind of position, see ``POSITIONS``; one that acts on the map.

    Raises:
        RegardError: an option does not fit.
    """

    card = Card(
        family="low-rank",
        paper="1801.10198",
        equation="b_i = W_o [sum_m softmax_m(q_hi . conv(k_h)_m / sqrt(d)) conv(v_h)_m], conv r x r of stride r",
        parameters="4 * C**2 + 4 * C + 2 * C**2 * reduction**2 / heads + 2 * C",
        flops="8 * N * C**2 + 4 * (C**2 * reduction**2 / heads + N * C)"
        " * ceiling(H / reduction) * ceiling(W / reduction)",
        peers=("PooledAttention, with the mean as kernel", "torch.nn.MultiheadAttention on compressed keys"),
        linear=False,
    )

    def __init__(self, in_channels: int, heads: int = 4, reduction: int = 3, positions: str = "none") -> None:
        check_positions("MemoryCompressedAttention", positions, MAP_POSITIONS)
        check_at_least("MemoryCompressedAttention", "reduction", reduction, 1)
        super().__init__(in_channels, heads, positions)
        self.reduction = reduction
        self.compress = nn.ModuleList(
            nn.Conv2d(in_channels, in_channels, reduction, stride=reduction, groups=heads)
            for _ in range(2 if reduction > 1 else 0)
        )

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries (B, heads, H * W, d), keys and values (B, heads, cells, d)."""
        size = (x.shape[2], x.shape[3])
        q, *memory = self.qkv(to_tokens(self.position.on_map(x))).chunk(3, -1)
        if self.compress:
            memory = [self.compressed(conv, t, size) for conv, t in zip(self.compress, memory, strict=True)]
        k, v = (split_heads(t, self.heads) for t in memory)
        return split_heads(q, self.heads), k, v

    def compressed(self, conv: nn.Module, tokens: Tensor, size: Size) -> Tensor:
        """(B, H * W, C) -> (B, cells, C), whose last dimension is contiguous, as the fused kernel wants."""
        height, width = size
        r = self.reduction
        padding = (0, ceil_div(width, r) * r - width, 0, ceil_div(height, r) * r - height)
        return to_tokens(conv(F.pad(to_map(tokens, size), padding))).contiguous()

    def unmixed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W): the four projections; queries stand for the mixed values."""
        q, _, _ = self.qkv(to_tokens(self.position.on_map(x))).chunk(3, -1)
        return to_map(self.out(q), (x.shape[2], x.shape[3]))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) and twice (B, heads, cells, d) -> (B, heads, N, d)."""
        return fused_attention(q, k, v)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Return the weights of one query (B, heads, 1, d) over all positions by way of cells: (B, heads, 1, N)."""
        return spread(attention_weights(q, k), self.reduction, size)

    def pairs(self, height: int, width: int) -> int:
        """Return a pair for each position and each cell."""
        return height * width * self._cells(height, width)

    def _cells(self, height: int, width: int) -> int:
        return ceil_div(height, self.reduction) * ceil_div(width, self.reduction)

    def mixing_flops(self, height: int, width: int) -> int:
        """Return 4 C for each pair, and the two convolutions."""
        per_cell = 4 * self.reduction**2 * self.in_channels**2 // self.heads if self.compress else 0
        return super().mixing_flops(height, width) + per_cell * self._cells(height, width)

    def saved_elements(self, height: int, width: int) -> int:
        """Return input, queries, keys, values, mixed values, and for each cell what it holds and its key and value."""
        c, cells = self.in_channels, self._cells(height, width)
        of_cells = c * cells * (2 * self.reduction**2 + 2) if self.compress else 0
        return height * width * (5 * c + self.heads) + of_cells
