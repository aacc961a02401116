"""Neighborhood attention (Hassani et al., 2204.07143, equations 1 to 3).

b_i = sum over j in rho(i) of softmax_j(q_i . k_j / sqrt(d) + B(i, j)) v_j, where rho(i) is the k x k square of
positions nearest to i. At the border it is moved inwards and not cut, so that every query sees k x k keys, and
self-attention is reached as soon as k covers the map. B is a learned bias for each head and offset of key from query.

Deviations: B is there with positions "relative" only, as for the other kinds; without scaling inside B. On a map
smaller than k, which the authors' code rejects, a query sees all min(k, H) x min(k, W) positions that there are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.nn.attention.core import Card, check_odd
from regard.nn.attention.partition import SlidingAttention


class NeighborhoodAttention(SlidingAttention):
    """Attention to the ``kernel`` x ``kernel`` positions nearest to each, moved inwards at the border.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: each works on ``in_channels / num_heads`` channels.
        kernel: side of the square, odd.
        pos_embed: kind of position, see ``POSITIONS``; "relative" is the paper's bias.

    Raises:
        RegardError: ``kernel`` is even or not positive, or as for every ``MultiHead``.
    """

    card = Card(
        family="local",
        paper="2204.07143",
        equation="b_i = sum over the k x k positions j nearest to i of softmax_j(q_i . k_j / sqrt(d) + B(i, j)) v_j",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * C * ceiling(H / tile) * ceiling(W / tile) * tile**2"
        " * Min(tile + kernel - 1, H) * Min(tile + kernel - 1, W)",
        peers=("MultiHeadSelfAttention under a mask", "MultiHeadSelfAttention where the kernel covers the map"),
    )

    def __init__(self, in_channels: int, num_heads: int = 4, kernel: int = 7, pos_embed: str = "none") -> None:
        check_odd(type(self).__name__, "kernel", kernel)
        super().__init__(in_channels, num_heads, kernel, pos_embed, reach=kernel - 1)
        self.kernel = kernel

    def sees(self, query: int, n: int) -> Tensor:
        """What a query sees on an axis of ``n`` positions: (n,), boolean."""
        first = max(0, min(query - self.kernel // 2, n - self.kernel))
        seen = torch.zeros(n, dtype=torch.bool)
        seen[first : first + self.kernel] = True
        return seen

    def interval(self, positions: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """First and the last position that each of some positions of an axis of ``n`` sees."""
        first = (positions - self.kernel // 2).clamp(max=n - self.kernel).clamp(min=0)
        return first, first + self.kernel - 1
