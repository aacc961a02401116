"""Each position attends to the k x k square around it, cut at the border (2-D form of 1802.05751; 1906.05909).

b_i = sum over j with |row_j - row_i|, |column_j - column_i| <= (k - 1) / 2 of softmax_j(q_i . k_j / sqrt(d)) v_j.

The field grows with k: at k = 1 a position sees itself alone, and from k = 2 max(H, W) - 1 on the whole map, which is
plain attention (see ``MultiHeadSelfAttention``, which is faster there).

Deviations: the square slides with the query, where 1802.05751 gives the queries of a block the same keys; no
positions unless asked for, where 1906.05909 adds relative ones to the keys. Windows are cut at the border rather than
filled with zeros, so that every weight falls on the map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.nn.attention.core import Card
from regard.nn.attention.partition import SlidingAttention


class LocalAttention(SlidingAttention):
    """Attention to the ``window`` x ``window`` square around each position, cut at the border.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: each works on ``in_channels / num_heads`` channels.
        window: side of the square, odd.
        pos_embed: kind of position, see ``POSITIONS``; "relative" is a bias for each place in the square.

    Raises:
        RegardError: ``window`` is even or not positive, or as for every ``MultiHead``.
    """

    card = Card(
        family="local",
        paper="1906.05909",
        equation="b_i = sum over j in the k x k square around i of softmax_j(q_i . k_j / sqrt(d)) v_j",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * C * ceiling(H / tile) * ceiling(W / tile) * tile**2"
        " * Min(tile + window - 1, H) * Min(tile + window - 1, W)",
        peers=("MultiHeadSelfAttention under a mask", "MultiHeadSelfAttention from window = 2 max(H, W) - 1 on"),
    )

    def __init__(self, in_channels: int, num_heads: int = 4, window: int = 7, pos_embed: str = "none") -> None:
        super().__init__(in_channels, num_heads, window, pos_embed, reach=window // 2)

    def sees(self, query: int, n: int) -> Tensor:
        """What a query sees on an axis of ``n`` positions: (n,), boolean."""
        return (torch.arange(n) - query).abs() <= self.window // 2

    def interval(self, positions: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """First and the last position that each of some positions of an axis of ``n`` sees."""
        radius = self.window // 2
        return (positions - radius).clamp(min=0), (positions + radius).clamp(max=n - 1)
