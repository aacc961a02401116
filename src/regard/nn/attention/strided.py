"""Strided sparse attention (Child et al., Sparse Transformers, 1904.10509, section 4.2), on maps.

Half of the heads look nearby, the others far away at every s-th position, so that two layers join any two positions:
head 1 .. ceil(h / 2):  A(r, c) = {(r', c'): floor(r' / s) = floor(r / s), floor(c' / s) = floor(c / s)},
the other heads:        A(r, c) = {(r', c'): r' mod s = r mod s, c' mod s = c mod s};
b_i = sum over j in A(i) of softmax_j(q_i . k_j / sqrt(d)) v_j.

Deviations: no causality, as maps have no order. The stride is one of rows and columns alike rather than of the
reading order, which would make the pattern depend on the map's width; the paper notes that its strided pattern suits
data "with a structure that aligns with the stride". The near half sees the tile that the query lies in (as A1 of the
paper's fixed pattern) rather than the l latest positions. Cost is least, 8 C N^1.5, at s = N^(1/4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.core import Card, Size, ceil_div, check_at_least
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.partition import Axis, attend
from regard.nn.attention.position import check_pos_embed


class StridedAttention(MultiHead):
    """Half of the heads see their tile of ``stride`` x ``stride``, the others every ``stride``-th position.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: at least 2, unless ``near_heads`` is given; of an odd number one more looks nearby.
        stride: side of a tile, and the step of the far heads along rows and columns.
        pos_embed: kind of position, see ``POSITIONS``; not relative.
        near_heads: number of heads, the first ones, that see their tile; half, rounded up, if None.
    """

    card = Card(
        family="sparse",
        paper="1904.10509",
        equation="b_i = W_o [sum_{j in A_h(i)} softmax_j(q_hi . k_hj / sqrt(d)) v_hj], A_h: the tile, or every s-th",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * (C / num_heads) * ceiling(H / stride) * ceiling(W / stride) * stride**2"
        " * (near_heads * stride**2 + (num_heads - near_heads) * ceiling(H / stride) * ceiling(W / stride))",
        peers=("attention under an explicit mask",),
        when="When near and far positions should be seen by separate heads; with a fixed stride the far heads still"
        " grow with N^2.",
        linear=False,
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        stride: int = 8,
        pos_embed: str = "none",
        near_heads: int | None = None,
    ) -> None:
        check_pos_embed("StridedAttention", pos_embed)
        check_at_least("StridedAttention", "stride", stride, 1)
        super().__init__(in_channels, num_heads, pos_embed)
        if num_heads < 2 and near_heads is None:
            expected = "2 heads or more, or near_heads: 0 or 1"
            raise RegardError("StridedAttention: one head cannot look nearby and far away", expected=expected)
        self.stride = stride
        self.near_heads = ceil_div(num_heads, 2) if near_heads is None else near_heads
        if not 0 <= self.near_heads <= num_heads:
            what = f"StridedAttention: near_heads {near_heads} of {num_heads} heads"
            raise RegardError(what, expected=f"0 to {num_heads}")

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        s, h = self.stride, self.near_heads
        mixed = []
        if h:
            rows, columns = (Axis.blocks(n, s, ceil_div(n, s), q.device) for n in size)
            mixed.append(attend(q[:, :h], k[:, :h], v[:, :h], rows, columns))
        if h < self.num_heads:
            rows, columns = (Axis.strided(n, s, q.device) for n in size)
            mixed.append(attend(q[:, h:], k[:, h:], v[:, h:], rows, columns))
        return torch.cat(mixed, 1)

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        """What each head sees from ``query``: (heads, H, W), boolean."""
        rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
        s, (row, column) = self.stride, query
        near = (rows // s == row // s) & (columns // s == column // s)
        far = (rows % s == row % s) & (columns % s == column % s)
        is_near = torch.arange(self.num_heads)[:, None, None] < self.near_heads
        return torch.where(is_near, near, far)
