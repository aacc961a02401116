"""Windows that slide with the query: what local and neighborhood attention share.

Along an axis a query sees an interval of at most k positions. Tiles of t queries therefore meet t + k - 1 keys.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.sizes import least
from regard.nn.attention.tiles import Axis, TiledAttention, count

SMALL_TILE, LARGE_TILE = 8, 16
"""Sides of a tile of queries. Of 4, 8, 12 and 16, 8 was fastest for windows of 3, 7 and 13, and 12 or 16 for 21."""


class SlidingAttention(TiledAttention):
    """Attention to an interval of positions along each axis; a subclass says which.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        window: the most positions that an interval holds, odd.
        positions: kind of position, see ``POSITIONS``.
        reach: the farthest that a key stands from its query along an axis.

    Raises:
        RegardError: ``window`` is even or not positive, or as for every ``MultiHead``.
    """

    def __init__(self, in_channels: int, heads: int, window: int, positions: str, reach: int) -> None:
        if window < 1 or window % 2 == 0:
            hint = f"the nearest is {max(1, window + 1)}"
            raise RegardError(f"a window of {window} has no centre", expected="an odd number", hint=hint)
        super().__init__(in_channels, heads, positions, reach)
        self.window = window
        self.tile = SMALL_TILE if window < LARGE_TILE else LARGE_TILE

    @abstractmethod
    def interval(self, positions: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Return the first and the last position that each of some positions of an axis of ``n`` sees.

        The first never falls from one position to the next, and the last is less than ``window`` after it.
        """

    def cut(self, n: int) -> tuple[int, int, int]:
        """Return the number of tiles on an axis of ``n`` positions, and of queries and keys in each."""
        return count(n, self.tile), self.tile, min(self.tile + self.window - 1, n)

    def axis(self, n: int, device: torch.device) -> Axis:
        """Cut an axis of ``n`` positions."""
        slots = torch.arange(count(n, self.tile) * self.tile, device=device)
        queries = slots.clamp(max=n - 1).view(-1, self.tile)
        first, last = self.interval(queries, n)
        length = least(self.tile + self.window - 1, n)
        # Near the end a tile takes keys from further back, so that all tiles have as many and none lies outside.
        keys = first[:, :1].clamp(max=n - length) + torch.arange(length, device=device)
        seen = (first[..., None] <= keys[:, None]) & (keys[:, None] <= last[..., None])
        return Axis(queries, keys, seen, slots[:n])
