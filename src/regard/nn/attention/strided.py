"""Strided sparse attention (Child et al., Sparse Transformers, 1904.10509, section 4.2), on maps.

Half of the heads look nearby, the others far away at every s-th position, so that two layers join any two positions:
head 1 .. ceil(h / 2):  A(r, c) = {(r', c'): floor(r' / s) = floor(r / s), floor(c' / s) = floor(c / s)},
the other heads:        A(r, c) = {(r', c'): r' mod s = r mod s, c' mod s = c mod s};
b_i = sum over j in A(i) of softmax_j(q_i . k_j / sqrt(d)) v_j.

Deviations: no causality, as maps have no order. The stride is one of rows and columns alike rather than of the
reading order, which would make the pattern depend on the map's width; the paper notes that its strided pattern wants
data "with a structure that aligns with the stride". The near half sees the tile that the query lies in (as A1 of the
paper's fixed pattern) rather than the l latest positions. Cost is least, 8 C N^1.5, at s = N^(1/4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.card import Card
from regard.nn.attention.grouping import Cut, attend_in_groups, ceil_div
from regard.nn.attention.multi_head import MultiHead, Size
from regard.nn.attention.options import check_at_least, check_positions


class StridedAttention(MultiHead):
    """Half of the heads see their tile of ``stride`` x ``stride``, the others every ``stride``-th position.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: at least 2; of an odd number one more looks nearby.
        stride: side of a tile, and the step of the far heads along rows and columns.
        positions: kind of position, see ``POSITIONS``; not relative.

    Raises:
        RegardError: an option does not fit.
    """

    card = Card(
        family="sparse",
        paper="1904.10509",
        equation="b_i = W_o [sum_{j in A_h(i)} softmax_j(q_hi . k_hj / sqrt(d)) v_hj], A_h: the tile, or every s-th",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * (C / heads) * ceiling(H / stride) * ceiling(W / stride) * stride**2"
        " * (near_heads * stride**2 + (heads - near_heads) * ceiling(H / stride) * ceiling(W / stride))",
        peers=("attention under an explicit mask",),
        linear=False,
    )

    def __init__(self, in_channels: int, heads: int = 4, stride: int = 8, positions: str = "none") -> None:
        check_positions("StridedAttention", positions)
        check_at_least("StridedAttention", "stride", stride, 1)
        super().__init__(in_channels, heads, positions)
        if heads < 2:
            raise RegardError("StridedAttention: one head cannot look nearby and far away", expected="2 heads or more")
        self.stride = stride
        self.near_heads = ceil_div(heads, 2)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        s, h = self.stride, self.near_heads
        tiles = [Cut.blocks(n, s, ceil_div(n, s), q.device) for n in size]
        steps = [Cut.residues(n, s, q.device) for n in size]
        near = attend_in_groups(q[:, :h], k[:, :h], v[:, :h], *tiles)
        far = attend_in_groups(q[:, h:], k[:, h:], v[:, h:], *steps)
        return torch.cat((near, far), 1)

    def reach(self, query: Size, size: Size) -> Tensor:
        """Return what each head sees from ``query``: (heads, H, W), boolean."""
        rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
        s, (row, column) = self.stride, query
        near = (rows // s == row // s) & (columns // s == column // s)
        far = (rows % s == row % s) & (columns % s == column % s)
        is_near = torch.arange(self.heads)[:, None, None] < self.near_heads
        return torch.where(is_near, near, far)

    def pairs(self, height: int, width: int) -> int:
        """Return the mean over heads, rounded down; padding is multiplied too."""
        return self._pairs_of_all_heads(height, width) // self.heads

    def mixing_flops(self, height: int, width: int) -> int:
        """Return 4 C / heads for each pair of each head."""
        return 4 * (self.in_channels // self.heads) * self._pairs_of_all_heads(height, width)

    def _pairs_of_all_heads(self, height: int, width: int) -> int:
        tiles = ceil_div(height, self.stride) * ceil_div(width, self.stride)
        keys = self.near_heads * self.stride**2 + (self.heads - self.near_heads) * tiles
        return tiles * self.stride**2 * keys

    def saved_elements(self, height: int, width: int) -> int:
        """Return queries, keys, values and mixed values with their padding, and what the projections keep."""
        padded = ceil_div(height, self.stride) * ceil_div(width, self.stride) * self.stride**2
        return 2 * height * width * self.in_channels + padded * (4 * self.in_channels + self.heads)
