"""Blocked local attention with a halo (Vaswani et al., HaloNet, 2103.12731, section 3.1, figures 1 and 2).

b_i = sum over j in halo(i) of softmax_j(q_i . k_j / sqrt(d) + B(i, j)) v_j: the map is cut into blocks of b x b
queries, and all queries of a block see the same keys, the block and h more positions on each side. b = 1 is a window
that slides with the query, h = 0 attention within windows.

Deviations: positions outside of the map are not seen at all, where the authors fill up with zeros that take part as
keys; B, a learned bias for each head and offset, is there with positions "relative" only, where the authors add
products of the query with learned vectors (1906.05909); an output projection as for every multi-head kind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.nn.attention.core import Card, ceil_div, check_at_least, least
from regard.nn.attention.partition import Axis, PartitionedAttention


class HaloAttention(PartitionedAttention):
    """Attention of blocks of ``block`` x ``block`` queries to themselves and ``halo`` positions around.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        block: side of a block of queries.
        halo: rows and columns that are seen on each side of a block.
        pos_embed: kind of position, see ``POSITIONS``.

    Raises:
        RegardError: ``block`` is not positive, ``halo`` negative, or as for every ``MultiHead``.
    """

    card = Card(
        family="local",
        paper="2103.12731",
        equation="b_i = sum over j in the block of i and h around it of softmax_j(q_i . k_j / sqrt(d) + B(i, j)) v_j",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * C * ceiling(H / block) * ceiling(W / block) * block**2"
        " * Min(block + 2 * halo, H) * Min(block + 2 * halo, W)",
        peers=("timm HaloAttn", "attention under an explicit mask"),
        when="When windows should see a margin around them; the cost grows linearly with N.",
    )

    def __init__(
        self, in_channels: int, num_heads: int = 4, block: int = 8, halo: int = 3, pos_embed: str = "none"
    ) -> None:
        check_at_least("HaloAttention", "block", block, 1)
        check_at_least("HaloAttention", "halo", halo, 0)
        super().__init__(in_channels, num_heads, pos_embed, reach=block + halo - 1)
        self.block = block
        self.halo = halo

    def sees(self, query: int, n: int) -> Tensor:
        """What a query sees on an axis of ``n`` positions: (n,), boolean."""
        start = query // self.block * self.block
        keys = torch.arange(n)
        return (start - self.halo <= keys) & (keys < start + self.block + self.halo)

    def axis(self, n: int, device: torch.device) -> Axis:
        """Divide an axis of ``n`` positions."""
        blocks = ceil_div(n, self.block)
        slots = torch.arange(blocks * self.block, device=device)
        first = torch.arange(blocks, device=device)[:, None] * self.block - self.halo
        length = least(self.block + 2 * self.halo, n)
        # At the border a block takes keys from further inside, which it then does not see, so that all take as many.
        keys = first.clamp(max=n - length).clamp(min=0) + torch.arange(length, device=device)
        seen = (first <= keys) & (keys < first + self.block + 2 * self.halo)
        queries = slots.clamp(max=n - 1).view(-1, self.block)
        return Axis.of(queries, keys, seen[:, None], slots[:n])
