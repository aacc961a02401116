"""Memory-compressed attention (Liu et al., 1801.10198, section 4.2.3): a strided convolution of keys and values.

b_i = W_o [sum_m softmax_m(q_hi . k'_hm / sqrt(d)) v'_hm],  k' = conv(k), v' = conv(v), with r x r kernels of stride r,
r = 3 as in the paper: a ninth of the keys on a map, where it is a third in the paper's text. r = 1 is plain attention.

Deviations: two dimensions; each head convolves its own channels; keys and values have separate kernels; cells at
the border see zeros beyond; no masking of what comes later, as maps have no order.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import (
    Card,
    Size,
    attention_weights,
    ceil_div,
    check_at_least,
    fused_attention,
    mixing,
    split_heads,
    to_map,
    to_tokens,
)
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.pooled import spread
from regard.nn.attention.position import MAP_POSITIONS, check_pos_embed


class MemoryCompressedAttention(MultiHead):
    """Every position attends to learned summaries of cells of ``reduction`` x ``reduction`` positions.

    ``attention`` spreads the weight of a cell evenly over its positions: it shows the cell, not the positions in it
    that matter. Positions in cells that are cut by the border have larger weights, as these cells have fewer positions.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        reduction: r, side of a cell; 1 for plain attention.
        pos_embed: kind of position, see ``POSITIONS``; one that acts on the map.
    """

    card = Card(
        family="low-rank",
        paper="1801.10198",
        equation="b_i = W_o [sum_m softmax_m(q_hi . conv(k_h)_m / sqrt(d)) conv(v_h)_m], conv r x r of stride r",
        parameters="4 * C**2 + 4 * C + 2 * C**2 * reduction**2 / num_heads + 2 * C",
        flops="8 * N * C**2 + 4 * (C**2 * reduction**2 / num_heads + N * C)"
        " * ceiling(H / reduction) * ceiling(W / reduction)",
        peers=("PooledAttention, with the mean as kernel", "torch.nn.MultiheadAttention on compressed keys"),
        when="When keys and values should be compressed by a learned strided convolution; the cost is N^2 divided by"
        " the places of the kernel.",
        linear=False,
    )

    def __init__(self, in_channels: int, num_heads: int = 4, reduction: int = 3, pos_embed: str = "none") -> None:
        check_pos_embed("MemoryCompressedAttention", pos_embed, MAP_POSITIONS)
        check_at_least("MemoryCompressedAttention", "reduction", reduction, 1)
        super().__init__(in_channels, num_heads, pos_embed)
        self.reduction = reduction
        self.compress = nn.ModuleList(
            nn.Conv2d(in_channels, in_channels, reduction, stride=reduction, groups=num_heads)
            for _ in range(2 if reduction > 1 else 0)
        )

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries (B, heads, H * W, d), keys and values (B, heads, cells, d)."""
        size = (x.shape[2], x.shape[3])
        q, *memory = self.qkv(to_tokens(self.position.on_map(x))).chunk(3, -1)
        if self.compress:
            cells = ceil_div(size[0], self.reduction) * ceil_div(size[1], self.reduction)
            memory = [
                mixing(self.compressed, conv, t, size, without=t[:, :1].expand(-1, cells, -1))
                for conv, t in zip(self.compress, memory, strict=True)
            ]
        k, v = (split_heads(t, self.num_heads) for t in memory)
        return split_heads(q, self.num_heads), k, v

    def compressed(self, conv: nn.Module, tokens: Tensor, size: Size) -> Tensor:
        """(B, H * W, C) -> (B, cells, C), whose last dimension is contiguous, as the fused kernel requires."""
        height, width = size
        r = self.reduction
        padding = (0, ceil_div(width, r) * r - width, 0, ceil_div(height, r) * r - height)
        return to_tokens(conv(F.pad(to_map(tokens, size), padding))).contiguous()

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) and twice (B, heads, cells, d) -> (B, heads, N, d)."""
        return fused_attention(q, k, v)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Weights of one query (B, heads, 1, d) over all positions by way of cells: (B, heads, 1, N)."""
        return spread(attention_weights(q, k), self.reduction, size)
