"""Bottleneck Transformer block (Srinivas et al., BoTNet, 2101.11605, section 3 and figures 3 and 4).

y = x + W3 f(MHSA(f(W1 x))), with W1 and W3 1x1 convolutions with batch norm to ``hidden`` channels and back, and in the
middle, where ResNet's bottleneck has a 3x3 convolution, attention to the whole map with relative positions:
b_i = sum_j softmax_j((q_i . k_j + q_i . (r_h(j - i) + r_w(j - i))) / sqrt(d)) v_j, one learned vector for each offset
of rows and one for each of columns, shared by the heads (1906.05909). Offsets beyond ``reach`` share the farthest.

Neither weights nor products with positions are stored as N x N: the score is one product of longer vectors,
q_i . k_j + q_i . r_h(row_j - row_i) + q_i . r_w(column_j - column_i) = [q_i; a_i; b_i] . [k_j; row_j; column_j], with
a_i the products of q_i with the vectors of all H rows, b_i with those of all W columns, and row_j, column_j one-hot. So
the fused kernel serves forward and backward; memory grows with N (H + W), operations with N^2 (d + H + W). The paper
uses the block at the coarsest stage.

Deviations: SiLU for ReLU as everywhere in YOLOv5 and nothing after the sum, so that a gate scales the branch alone; an
output matrix and biases as for every multi-head kind; both products are scaled by sqrt(d); ``hidden`` is rounded up to
a multiple of the heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import Attention, Card, Size, attention_weights, check_at_least
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.norm import map_norm
from regard.nn.conv import Conv
from regard.types import AttentionMap


class RelativeSelfAttention(MultiHead):
    """Attention to the whole map with products of queries and learned vectors of offsets.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        reach: rows, and columns, up to which offsets are distinguished.
    """

    def __init__(self, in_channels: int, num_heads: int = 4, reach: int = 19) -> None:
        check_at_least("BottleneckTransformer", "reach", reach, 0)
        super().__init__(in_channels, num_heads)
        self.reach = reach
        channels = in_channels // num_heads
        self.rows = nn.Parameter(torch.randn(2 * reach + 1, channels) / math.sqrt(channels))
        self.columns = nn.Parameter(torch.randn(2 * reach + 1, channels) / math.sqrt(channels))

    def vectors(self, table: Tensor, n: int, at: int | None = None) -> Tensor:
        """Vector of each offset of key from query on an axis: (n, n, d); (1, n, d) for one query."""
        places = torch.arange(n, device=table.device)
        queries = places if at is None else places[at : at + 1]
        most = self.reach
        return table[(places - queries[:, None]).clamp(-most, most) + most]

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        height, width = size
        d = q.shape[-1]
        on_map = q.reshape(*q.shape[:2], height, width, d)
        rows = on_map @ self.vectors(self.rows, height).mT  # (B, heads, H, W, H)
        columns = (on_map.transpose(2, 3) @ self.vectors(self.columns, width).mT).transpose(2, 3)  # (B, heads, H, W, W)
        queries = torch.cat((q, rows.flatten(2, 3), columns.flatten(2, 3)), -1)
        keys = torch.cat((k, one_hot_places(size, k).expand(*k.shape[:2], -1, -1)), -1)
        values = F.pad(v, (0, height + width))  # the kernel requires values as wide as keys
        return F.scaled_dot_product_attention(queries, keys, values, scale=1 / math.sqrt(d))[..., :d]

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        tables = ((self.rows, size[0], query[0]), (self.columns, size[1], query[1]))
        rows, columns = (q @ self.vectors(table, n, at)[0].mT / math.sqrt(q.shape[-1]) for table, n, at in tables)
        return attention_weights(q, k, bias=(rows[..., None] + columns[..., None, :]).flatten(-2))


def one_hot_places(size: Size, like: Tensor) -> Tensor:
    """One for the row and a one for the column of every position: (H * W, H + W), of ``like``'s type."""
    height, width = size
    rows, columns = (torch.arange(n, device=like.device) for n in size)
    of_row = (rows[:, None] == rows)[:, None].expand(-1, width, -1)
    of_column = (columns[:, None] == columns).expand(height, -1, -1)
    return torch.cat((of_row, of_column), -1).flatten(0, 1).to(like.dtype)


class BottleneckTransformer(Attention):
    """ResNet's bottleneck with attention in place of its 3x3 convolution.

    Args:
        in_channels: channels of the input and the output.
        num_heads: of the attention.
        reduction: channels of the input for each one inside.
        reach: rows, and columns, up to which offsets are distinguished.
    """

    card = Card(
        family="global",
        paper="2101.11605",
        equation="y = x + W_3 f(MHSA(f(W_1 x))), scores (q_i . k_j + q_i . (r_h(j - i) + r_w(j - i))) / sqrt(d)",
        parameters="2 * C * hidden + 4 * hidden**2 + 8 * hidden + 2 * C + 2 * (2 * reach + 1) * hidden / num_heads",
        flops="4 * N * C * hidden + 8 * N * hidden**2 + 4 * N**2 * (hidden + num_heads * (H + W))"
        " + 2 * N * hidden * (H + W + 1) + N * C",
        peers=("timm BottleneckAttn",),
        when="When a ResNet bottleneck should attend to the whole map with relative positions; the cost grows with"
        " N^2, and the paper uses it at the coarsest stage.",
        linear=False,
    )

    def __init__(self, in_channels: int, num_heads: int = 4, reduction: int = 4, reach: int = 19) -> None:
        super().__init__(in_channels)
        check_at_least("BottleneckTransformer", "num_heads", num_heads, 1)
        check_at_least("BottleneckTransformer", "reduction", reduction, 1)
        self.num_heads = num_heads
        self.reach = reach
        self.hidden = math.ceil(in_channels / reduction / num_heads) * num_heads
        self.cv1 = Conv(in_channels, self.hidden)
        self.attn = RelativeSelfAttention(self.hidden, num_heads, reach)
        self.bn = map_norm(self.hidden)
        self.act = nn.SiLU()
        self.cv3 = Conv(self.hidden, in_channels, activation=False)
        self.cv1.bn, self.cv3.bn = map_norm(self.hidden), map_norm(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + self.cv3(self.act(self.bn(self.attn(self.cv1(x)))))

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Row of weights of one query for each head: (B, heads, 1, H, W)."""
        return self.attn.attention(self.cv1(x), query)
