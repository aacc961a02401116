"""Local attention with global tokens (Beltagy et al., Longformer, 2004.05150, section 3.1), on maps.

A(i) = all positions, if i is global; else the w x w positions around i and the global ones;
b_i = sum over j in A(i) of softmax_j(q_i . k_j / sqrt(d)) v_j, one softmax over the union, each key once.

The global tokens are positions of the map, chosen by a regular grid of g x g: rows floor((2 a + 1) H / (2 g)) and
columns likewise, for a = 0 .. g - 1; on maps of fewer than g rows or columns all of them. Their number does not grow
with the map, which keeps the cost linear in N.

Deviations: windows are squares around the query, cut off at the border; global attention has no separate
projections (the paper starts them as copies of the local ones), so that with all positions global this is plain
attention; no dilation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.nn.attention.core import Card, Size, ceil_div, check_at_least, check_odd, fused_attention
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.partition import Axis, gather, pairs, put_back, slots
from regard.nn.attention.position import check_pos_embed


class GlobalTokensAttention(MultiHead):
    """Each position sees its surroundings and a few global positions, which see and are seen by all.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        window: odd side w of the square around a query.
        grid: g, for g x g global positions.
        pos_embed: kind of position, see ``POSITIONS``; not relative.
    """

    card = Card(
        family="sparse",
        paper="2004.05150",
        equation="b_i = W_o [sum_{j in window(i) or global} softmax_j(q_hi . k_hj / sqrt(d)) v_hj]; all j for global i",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * C * (ceiling(H / window) * ceiling(W / window) * window**2"
        " * ((2 * window - 1)**2 + grid**2) + grid**2 * N)",
        peers=("attention under an explicit mask",),
        when="When local attention should have a few positions that see, and are seen by, the whole map; the cost"
        " grows linearly with N.",
    )

    def __init__(
        self, in_channels: int, num_heads: int = 4, window: int = 7, grid: int = 4, pos_embed: str = "none"
    ) -> None:
        check_pos_embed("GlobalTokensAttention", pos_embed)
        check_at_least("GlobalTokensAttention", "grid", grid, 1)
        check_odd("GlobalTokensAttention", "window", window)
        super().__init__(in_channels, num_heads, pos_embed)
        self.window = window
        self.grid = grid

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        rows, columns = (GlobalLines.of(n, self.grid, q.device) for n in size)
        chosen = (rows.at[:, None] * size[1] + columns.at).flatten()
        of_globals = fused_attention(q.index_select(2, chosen), k, v)
        down, along = (Axis.blocks(n, self.window, ceil_div(n, self.window), q.device) for n in size)
        halos = [Halo.of(n, self.window, q.device) for n in size]
        queries = pairs(down.queries, along.queries, size[1])
        nearby = pairs(halos[0].at, halos[1].at, size[1])
        keys = torch.cat((nearby, chosen.expand(queries.shape[0], -1)), 1)
        mask = self._mask(rows, columns, *halos)
        tiles = fused_attention(gather(q, queries), gather(k, keys), gather(v, keys), allowed=mask)
        local = put_back(tiles, slots(down, along), q)
        # A gather and a choice, not a scatter: on small maps a position is chosen twice, and its gradient would be too.
        place = (rows.rank[:, None] * self.grid + columns.rank).flatten()
        is_global = (rows.chosen[:, None] & columns.chosen).flatten()
        return torch.where(is_global[:, None], of_globals.index_select(2, place), local)

    def _mask(self, rows: GlobalLines, columns: GlobalLines, down: Halo, along: Halo) -> Tensor:
        """Which keys, of its halo and then global, each query of a tile sees: (tiles, 1, w * w, keys)."""
        # A global key inside a window is left out there, as it stands among the global ones already.
        is_global = rows.chosen[down.at][:, None, :, None] & columns.chosen[along.at][None, :, None]
        keys = down.inside[:, None, :, None] & along.inside[None, :, None] & ~is_global  # (down, along, u, u)
        near = _band(self.window, down.at.device)
        pairs = (near[:, None, :, None] & near[None, :, None]).flatten(2).flatten(0, 1)  # (w * w, u * u)
        local = keys.flatten(2).flatten(0, 1)[:, None] & pairs
        once = (rows.first[:, None] & columns.first).flatten()
        return torch.cat((local, once.expand(*local.shape[:2], -1)), -1)[:, None]

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        """What ``query`` sees: (H, W), boolean."""
        rows, columns = (GlobalLines.of(n, self.grid, torch.device("cpu")) for n in size)
        is_global = rows.chosen[:, None] & columns.chosen
        near_row, near_column = (
            (torch.arange(n) - at).abs() <= self.window // 2 for n, at in zip(size, query, strict=True)
        )
        return (near_row[:, None] & near_column) | is_global | is_global[query]


@dataclass(frozen=True)
class GlobalLines:
    """The rows, or the columns, with global positions.

    Attributes:
        at: (g,) index of each, in order; repeated where the map has fewer than g.
        first: (g,) False for a repetition.
        chosen: (n,) whether a line has global positions.
        rank: (n,) which of ``at`` a chosen line is.
    """

    at: Tensor
    first: Tensor
    chosen: Tensor
    rank: Tensor

    @classmethod
    def of(cls, n: int, grid: int, device: torch.device) -> GlobalLines:
        """Lines of an axis of ``n`` positions."""
        at = (2 * torch.arange(grid, device=device) + 1) * n // (2 * grid)
        first = torch.cat((at[:1] >= 0, at[1:] > at[:-1]))
        lines = torch.arange(n, device=device)[:, None]
        return cls(at, first, (lines == at).any(1), (at < lines).sum(1).clamp(max=grid - 1))


@dataclass(frozen=True)
class Halo:
    """The lines around each tile along one axis, u = 2 w - 1 for a tile of w.

    Attributes:
        at: (tiles, u) index, moved to the nearest line of the map.
        inside: (tiles, u) False where it had to be moved.
    """

    at: Tensor
    inside: Tensor

    @classmethod
    def of(cls, n: int, window: int, device: torch.device) -> Halo:
        """Halos along an axis of ``n`` positions."""
        starts = torch.arange(ceil_div(n, window), device=device)[:, None] * window
        at = starts + torch.arange(2 * window - 1, device=device) - window // 2
        return cls(at.clamp(min=0).clamp(max=n - 1), (at >= 0) & (at < n))


def _band(window: int, device: torch.device) -> Tensor:
    """Which lines of its halo each line of a tile sees: (w, u), boolean."""
    offset = torch.arange(2 * window - 1, device=device) - torch.arange(window, device=device)[:, None]
    return (offset >= 0) & (offset < window)
