"""Axial attention (Ho et al., Axial Transformers, 1912.12180, section 3): attention along one axis at a time.

u_rc = W_o [sum_c' softmax_c'(q_rc . k_rc' / sqrt(d)) v_rc'], along rows; then y = the same of u along columns, with
separate matrices, as the paper stacks them: two layers of cost N (H + W) connect every position with every other one.

Deviations: no residual connection, normalisation and feed-forward part around each of the two layers (the gate of an
insertion serves as residual of both), so that their product is attention in itself; positions are an option.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.nn.attention.core import (
    Attention,
    Card,
    Size,
    attention_weights,
    check_choice,
    check_query,
    fused_attention,
)
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import check_pos_embed
from regard.types import AttentionMap

AXES = ("row", "column")


class AlongAxis(MultiHead):
    """Every position sees its own row, or its own column.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        axis: "row" or "column".
        pos_embed: kind of position, see ``POSITIONS``; not relative.
    """

    def __init__(self, in_channels: int, num_heads: int = 4, axis: str = "row", pos_embed: str = "none") -> None:
        check_choice("AxialAttention", "axis", axis, AXES)
        check_pos_embed("AxialAttention", pos_embed)
        super().__init__(in_channels, num_heads, pos_embed)
        self.axis = axis

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        lines = fused_attention(self.to_lines(q, size), self.to_lines(k, size), self.to_lines(v, size))
        grid = lines.reshape(*q.shape[:2], *lines.shape[1:])
        return (grid if self.axis == "row" else grid.transpose(2, 3)).flatten(2, 3)

    def to_lines(self, tokens_bhnd: Tensor, size: Size) -> Tensor:
        """(B, heads, H * W, d) -> (B * heads, H, W, d), or (B * heads, W, H, d) along columns."""
        batch, heads, _, d = tokens_bhnd.shape
        grid = tokens_bhnd.reshape(batch, heads, *size, d)
        return (grid if self.axis == "row" else grid.transpose(2, 3)).flatten(0, 1)

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        """What ``query`` sees: (H, W), boolean."""
        rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
        return ((rows == query[0]) if self.axis == "row" else (columns == query[1])).expand(size)


class AxialAttention(Attention):
    """Attention along rows, then along columns.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: of each of the two layers.
        pos_embed: kind of position of each layer, see ``POSITIONS``; not relative.
    """

    card = Card(
        family="sparse",
        paper="1912.12180",
        equation="y = Column(Row(x)), Row(x)_rc = W_o [sum_c' softmax_c'(q_hrc . k_hrc' / sqrt(d)) v_hrc']",
        parameters="8 * C**2 + 8 * C",
        flops="16 * N * C**2 + 4 * C * N * (H + W)",
        peers=("torch.nn.MultiheadAttention on each line", "attention under an explicit mask"),
        when="When each position should reach the whole map through its row and then its column; the cost grows with"
        " N (H + W).",
        linear=False,
    )

    def __init__(self, in_channels: int, num_heads: int = 4, pos_embed: str = "none") -> None:
        super().__init__(in_channels)
        self.num_heads = num_heads
        self.rows = AlongAxis(in_channels, num_heads, "row", pos_embed)
        self.columns = AlongAxis(in_channels, num_heads, "column", pos_embed)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        mixed: Tensor = self.columns(self.rows(x))
        return mixed

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """What each head of the columns' layer takes from where, by way of the rows' layer.

        (B, heads, 1, H, W): the weight of a position (r', c') is that of (r', c) in the query's column c, times that of
        (r', c') in the row of (r', c), the mean of the rows' heads (attention rollout, 2005.00928). Rows sum to 1.
        """
        size = (x.shape[2], x.shape[3])
        row, column = check_query(query, size)
        along_column = self.columns.attention(self.rows(x), (row, column)).weights[..., column]
        q, k, _ = self.rows.project(x)
        q_lines, k_lines = (self.rows.to_lines(t, size) for t in (q, k))
        one_per_row = attention_weights(q_lines[:, :, column : column + 1], k_lines)
        along_rows = one_per_row.reshape(*q.shape[:2], *size).mean(1)
        return AttentionMap("rows", along_column[..., None] * along_rows[:, None, None], ((row, column),))

    def attention_mask(self, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """All positions, which are seen by way of both layers: (H, W), boolean."""
        return torch.ones(size, dtype=torch.bool)
