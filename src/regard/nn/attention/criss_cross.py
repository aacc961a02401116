"""Criss-cross attention (Huang et al., CCNet, 1811.11721, section 3.2, equations 1 and 2).

b_i = sum over j in row(i) and column(i) of softmax_j(q_i . k_j / sqrt(d)) v_j: one softmax over the H + W - 1 positions
of the query's row and column, so that two such layers join any two positions, at a cost of N (H + W).

Rows and columns meet in one softmax, which no fused kernel does: scores are written out, N (H + W) of each head.

Deviations: several heads, scaling by sqrt(d), biases and an output matrix as for every multi-head kind, and queries
as wide as values (the paper: one head, C / 8 channels, none of the rest); no residual sum (the gate of an insertion
serves as one); one pass. The paper's recurrence is the same layer twice with shared weights; insert two of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regard.nn.attention.core import Card, Size
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import check_pos_embed


class CrissCrossAttention(MultiHead):
    """Every position sees its row and its column.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        pos_embed: kind of position, see ``POSITIONS``; not relative.
    """

    card = Card(
        family="sparse",
        paper="1811.11721",
        equation="b_i = W_o [sum_{j in row(i) or column(i)} softmax_j(q_hi . k_hj / sqrt(d)) v_hj]",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * C * N * (H + W)",
        peers=("attention under an explicit mask",),
        when="When each position should see its row and its column in one softmax; the cost grows with N (H + W).",
        linear=False,
    )

    def __init__(self, in_channels: int, num_heads: int = 4, pos_embed: str = "none") -> None:
        check_pos_embed("CrissCrossAttention", pos_embed)
        super().__init__(in_channels, num_heads, pos_embed)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        width, shape = size[1], (*q.shape[:2], *size, q.shape[-1])
        q, k, v = (t.reshape(shape) for t in (q / math.sqrt(q.shape[-1]), k, v))  # (B, heads, H, W, d)
        along = q @ k.mT  # (B, heads, H, W, W)
        down = (q.transpose(2, 3) @ k.transpose(2, 3).mT).transpose(2, 3)  # (B, heads, H, W, H)
        itself = torch.eye(size[0], dtype=torch.bool, device=q.device)[:, None]  # is part of its row already
        scores = torch.cat((along, down.masked_fill(itself, -torch.inf)), -1)
        of_row, of_column = scores.softmax(-1).tensor_split((width,), -1)
        mixed = of_row @ v + (of_column.transpose(2, 3) @ v.transpose(2, 3)).transpose(2, 3)
        return mixed.flatten(2, 3)

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        """Row and the column of a query: (H, W), boolean."""
        return (torch.arange(size[0])[:, None] == query[0]) | (torch.arange(size[1]) == query[1])
