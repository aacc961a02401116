"""Agent attention (Han et al., 2312.08874, equations 3 to 6): a few agents ask for all positions, which then ask them.

b_i = W_o [softmax(Q A^T / sqrt(d)) softmax(A K^T / sqrt(d)) v + P * v]: the agents A are the queries' means over the
cells of a grid, P is a depth-wise convolution of the values. It is Nyström attention without the pseudo-inverse
between; the implied weights of positions sum to 1. Cost grows with N alone.

Deviation: the paper adds learned biases to both products, which belong to one size of map; they are left out.
"""

from __future__ import annotations

from torch import Tensor

from regard.nn.attention.core import Card, Size, attention_weights, check_at_least, fused_attention
from regard.nn.attention.multi_head import ValueConvolution
from regard.nn.attention.nystrom import means_of_cells
from regard.nn.attention.position import check_pos_embed


class AgentAttention(ValueConvolution):
    """Every position attends to ``grid`` x ``grid`` agents, which have attended to every position.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads, each of ``in_channels / num_heads`` channels.
        grid: agents along each axis; 7 in the paper.
        kernel: odd side of the convolution of the values; 0 for none.
        pos_embed: kind of position, see ``POSITIONS``; not relative.
    """

    card = Card(
        family="low-rank",
        paper="2312.08874",
        equation="b_i = W_o [(softmax(Q A^T) softmax(A K^T) v)_i + (P * v)_i], A the means of Q over cells",
        parameters="4 * C**2 + 4 * C + kernel**2 * C",
        flops="8 * N * C**2 + (2 * kernel**2 + 1) * C * N + 2 * grid * C * (N + grid * W) + 8 * grid**2 * N * C",
        peers=("its definition, by matrices",),
        when="When every position should reach the whole map through a small grid of agents; the cost grows linearly"
        " with N.",
    )

    def __init__(
        self, in_channels: int, num_heads: int = 4, grid: int = 7, kernel: int = 3, pos_embed: str = "none"
    ) -> None:
        check_pos_embed("AgentAttention", pos_embed)
        check_at_least("AgentAttention", "grid", grid, 1)
        super().__init__(in_channels, num_heads, kernel, pos_embed)
        self.grid = grid

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d), the attention alone."""
        agents = means_of_cells(q, self.grid, size)
        return fused_attention(q, agents, fused_attention(agents, k, v))

    def row_among(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Implied weights of one of the queries: (B, heads, 1, N)."""
        at = query[0] * size[1] + query[1]
        agents = means_of_cells(q, self.grid, size)
        return attention_weights(q[:, :, at : at + 1], agents) @ attention_weights(agents, k)
