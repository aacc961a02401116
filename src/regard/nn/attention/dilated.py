"""Dilated neighborhood attention (Hassani and Shi, DiNAT, 2209.15001, equations 4 to 6).

b_i = sum over j in rho_d(i) of softmax_j(q_i . k_j / sqrt(d_k) + B(i, j)) v_j, where rho_d(i) are the k x k positions
nearest to i among those whose row and column differ from i's by multiples of the dilation d. The map falls into d x d
interleaved maps, each with neighborhood attention of its own, moved inwards at the border: the field is d times as
wide at the same cost. B is a learned bias for each head and each offset of key from query, counted in steps of d.

Deviations: B is there with positions "relative" only, as for the other kinds. Where an interleaved map is smaller than
k, which the authors' code rejects, a query sees all of it.

``torch.compile(dynamic=True)`` of one image does not come to an end in inductor's simplification of indices (torch
2.14): it takes two images, or ``dynamic=False``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.nn.attention.core import Card, ceil_div, check_at_least, least
from regard.nn.attention.neighborhood import NeighborhoodAttention
from regard.nn.attention.partition import Axis
from regard.nn.attention.position import OffsetBias


class DilatedNeighborhoodAttention(NeighborhoodAttention):
    """Attention to the ``kernel`` x ``kernel`` nearest of the positions that stand ``dilation`` apart.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: each works on ``in_channels / num_heads`` channels.
        kernel: side of the square, in steps of ``dilation``, odd.
        dilation: rows, and columns, from one key to the next; 1 is neighborhood attention.
        pos_embed: kind of position, see ``POSITIONS``; "relative" is the paper's bias.

    Raises:
        RegardError: ``kernel`` is even or not positive, ``dilation`` not positive, or as for every ``MultiHead``.
    """

    card = Card(
        family="sparse",
        paper="2209.15001",
        equation="b_i = sum over the k x k nearest j of every d-th row and column of"
        " softmax_j(q_i . k_j / sqrt(d_k) + B(i, j)) v_j",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * C * (dilation * tile)**2"
        " * ceiling(ceiling(H / dilation) / tile) * Min(tile + kernel - 1, ceiling(H / dilation))"
        " * ceiling(ceiling(W / dilation) / tile) * Min(tile + kernel - 1, ceiling(W / dilation))",
        peers=("attention under an explicit mask", "`NeighborhoodAttention` on each interleaved map"),
    )

    def __init__(
        self, in_channels: int, num_heads: int = 4, kernel: int = 7, dilation: int = 2, pos_embed: str = "none"
    ) -> None:
        check_at_least("DilatedNeighborhoodAttention", "dilation", dilation, 1)
        super().__init__(in_channels, num_heads, kernel, pos_embed)
        self.dilation = dilation
        if isinstance(self.position, OffsetBias):
            self.position.step = dilation

    def sees(self, query: int, n: int) -> Tensor:
        """What a query sees on an axis of ``n`` positions: (n,), boolean."""
        seen = torch.zeros(n, dtype=torch.bool)
        of_group = seen[query % self.dilation :: self.dilation]
        of_group[:] = super().sees(query // self.dilation, len(of_group))
        return seen

    def axis(self, n: int, device: torch.device) -> Axis:
        """Divide an axis of ``n`` positions: first into interleaved groups, then each of them into tiles."""
        longest = ceil_div(n, self.dilation)
        tiles = ceil_div(longest, self.tile)
        group = torch.arange(self.dilation, device=device)[:, None, None]
        # Groups differ in length by one. On an axis shorter than the dilation some would be empty: they get a copy.
        length = ((n - 1 - group).clamp(min=0) // self.dilation + 1).clamp(min=1)
        slots = torch.arange(tiles * self.tile, device=device).view(1, tiles, self.tile)
        queries = torch.minimum(slots, length - 1)
        first = torch.minimum(queries - self.kernel // 2, length - self.kernel).clamp(min=0)
        last = torch.minimum(first + self.kernel, length) - 1
        many = least(self.tile + self.kernel - 1, longest)
        keys = torch.minimum(first[..., :1], length - many).clamp(min=0) + torch.arange(many, device=device)
        seen = (first[..., None] <= keys[:, :, None]) & (keys[:, :, None] <= last[..., None])
        places = torch.arange(n, device=device)
        of_query, of_key = ((at * self.dilation + group).clamp(max=n - 1).flatten(0, 1) for at in (queries, keys))
        back = places % self.dilation * (tiles * self.tile) + places // self.dilation
        return Axis.of(of_query, of_key, seen.flatten(0, 1), back)
