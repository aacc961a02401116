"""Windows that slide with the query: attention to the k x k positions around it.

b_i = sum over j in A(i) of softmax_j(q_i . k_j / sqrt(d) + B(i, j)) v_j, where A(i) is

* local (2-D form of 1802.05751; 1906.05909): the positions with |row_j - row_i|, |column_j - column_i| <= (k - 1) / 2,
  cut at the border, so that every weight falls on the map. The field grows with k: at k = 1 a position sees itself
  alone, and from k = 2 max(H, W) - 1 on the whole map, which ``MultiHeadSelfAttention`` does faster;
* neighborhood (Hassani et al., 2204.07143, equations 1 to 3): the k x k positions nearest to i; the square is moved
  inwards at the border, so that every query sees k x k keys, and self-attention is reached as soon as k covers the map;
* dilated (Hassani and Shi, DiNAT, 2209.15001, equations 4 to 6): the k x k nearest among those whose row and column
  differ from i's by multiples of the dilation d. The map falls into d x d interleaved maps, each with separate
  neighborhood attention: the field is d times as wide at the same cost, and B counts offsets in steps of d.

Deviations: B, a learned bias for each head and offset of key from query, is there with positions "relative" only; the
local square slides with the query, where 1802.05751 gives the queries of a block the same keys; on a map, or an
interleaved map, smaller than k, which the authors' code rejects, a query sees all of it.

``torch.compile(dynamic=True)`` of one image of the dilated kind does not come to an end in inductor's simplification of
indices (torch 2.14): it takes two images, or ``dynamic=False``.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from regard.nn.attention.core import Card, ceil_div, check_at_least, check_odd, least
from regard.nn.attention.partition import Axis, PartitionedAttention
from regard.nn.attention.position import OffsetBias

SMALL_TILE, LARGE_TILE = 8, 16
"""Sides of a tile of queries. Of 4, 8, 12 and 16, 8 was fastest for windows of 3, 7 and 13, and 12 or 16 for 21."""


class SlidingAttention(PartitionedAttention):
    """Windows that slide with the query: along each axis a query sees an interval of at most ``window`` positions.

    Tiles of t queries therefore meet t + window - 1 keys.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        window: largest number of positions in an interval, odd.
        pos_embed: kind of position, see ``POSITIONS``.
        reach: the farthest that a key stands from its query along an axis.

    Raises:
        RegardError: ``window`` is even or not positive, or as for every ``MultiHead``.
    """

    def __init__(self, in_channels: int, num_heads: int, window: int, pos_embed: str, reach: int) -> None:
        check_odd(type(self).__name__, "window", window)
        super().__init__(in_channels, num_heads, pos_embed, reach)
        self.window = window
        self.tile = SMALL_TILE if window < LARGE_TILE else LARGE_TILE

    @abstractmethod
    def interval(self, positions: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """First and last position that each of some positions of an axis of ``n`` sees.

        The first never falls from one position to the next, and the last is less than ``window`` after it.
        """

    def axis(self, n: int, device: torch.device) -> Axis:
        """Divide an axis of ``n`` positions into tiles."""
        slots = torch.arange(ceil_div(n, self.tile) * self.tile, device=device)
        queries = slots.clamp(max=n - 1).view(-1, self.tile)
        first, last = self.interval(queries, n)
        length = least(self.tile + self.window - 1, n)
        # Near the end a tile takes keys from further back, so that all tiles have as many and none lies outside.
        keys = first[:, :1].clamp(max=n - length) + torch.arange(length, device=device)
        seen = (first[..., None] <= keys[:, None]) & (keys[:, None] <= last[..., None])
        return Axis.of(queries, keys, seen, slots[:n])


class LocalAttention(SlidingAttention):
    """Attention to the ``window`` x ``window`` square around each position, cut at the border.

    Args:
        in_channels, num_heads: as for `MultiHead`.
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
        when="When only the square around each position matters; the cost grows linearly with N.",
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


class NeighborhoodAttention(SlidingAttention):
    """Attention to the ``kernel`` x ``kernel`` positions nearest to each, moved inwards at the border.

    Args:
        in_channels, num_heads: as for `MultiHead`.
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
        when="When each position should see equally many neighbours, also at the border; the cost grows linearly"
        " with N.",
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


class DilatedNeighborhoodAttention(NeighborhoodAttention):
    """Attention to the ``kernel`` x ``kernel`` nearest of the positions that stand ``dilation`` apart.

    Args:
        in_channels, num_heads: as for `MultiHead`.
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
        when="When neighbours should be taken from every d-th row and column, to see further with as many keys as"
        " NeighborhoodAttention.",
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
