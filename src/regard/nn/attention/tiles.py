"""Attention that stays near, computed by tiles: each tile of queries meets the few keys around it in one fused call.

Gathering a list of keys for every query would be the plain way, and moves as many keys as it multiplies. A tile of
queries shares its keys, so little is moved, at the price of products that a mask then discards. A map of 80 x 80, 128
channels, 4 heads and a window of 7 took 19 ms by tiles and 217 ms by lists (with backward 56 and 647 ms; one core of a
Xeon, PyTorch 2.15, the better of three runs). Time and memory grow with N.

What a query sees is a rectangle, so that rows and columns are cut apart: a subclass says how one axis is cut.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from regard.nn.attention.dot_product import attention_weights, fused_attention
from regard.nn.attention.multi_head import MultiHead, Size
from regard.nn.attention.position import LogSpaced, OffsetBias, Relative


class Axis(NamedTuple):
    """One axis of a map, of n positions, cut into tiles of t queries and m keys.

    Attributes:
        queries: (tiles, t), the position of each query; the last tile is filled up with copies of some position.
        keys: (tiles, m), the position of each key; likewise.
        seen: (tiles, t, m), boolean: whether a query sees a key. Each query sees one at least, copies of keys none.
        slots: (n,), where among the tiles * t queries a position stands.
    """

    queries: Tensor
    keys: Tensor
    seen: Tensor
    slots: Tensor


OFFSET_BIASES: Mapping[str, type[Relative] | type[LogSpaced]] = MappingProxyType(
    {"relative": Relative, "log_cpb": LogSpaced}
)
"""Positions that are a bias for each offset, of which a tile needs those within its reach only."""


class TiledAttention(MultiHead):
    """Projections, positions, masks and costs of attention by tiles; a subclass says how an axis is cut.

    Positions "relative" and "log_cpb" are one bias for each offset that occurs, not of all pairs. They take heads x
    keys of a tile values for each query, which keeps to linear memory, yet is what dominates it.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        positions: kind of position, see ``POSITIONS``.
        reach: the farthest that a key stands from its query along an axis.
    """

    def __init__(self, in_channels: int, heads: int, positions: str, reach: int) -> None:
        of_offsets = OFFSET_BIASES.get(positions)
        super().__init__(in_channels, heads, positions if of_offsets is None else "none")
        if of_offsets is not None:
            self.position = of_offsets(heads, reach)

    @abstractmethod
    def cut(self, n: int) -> tuple[int, int, int]:
        """Return the number of tiles on an axis of ``n`` positions, and of queries and keys in each."""

    @abstractmethod
    def axis(self, n: int, device: torch.device) -> Axis:
        """Cut an axis of ``n`` positions."""

    @abstractmethod
    def sees(self, query: int, n: int) -> Tensor:
        """Return what a query sees on an axis of ``n`` positions: (n,), boolean."""

    def reach(self, query: Size, size: Size) -> Tensor:
        """Return the rectangle of positions that a query sees: (H, W), boolean."""
        return self.sees(query[0], size[0])[:, None] & self.sees(query[1], size[1])

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        rows, columns = (self.axis(n, q.device) for n in size)
        queries, keys = _pairs(rows.queries, columns.queries, size[1]), _pairs(rows.keys, columns.keys, size[1])
        tiles = gather(q, queries), gather(k, keys), gather(v, keys)
        mixed = fused_attention(*tiles, bias=self._bias(rows, columns, q.shape[0]), allowed=_outer(rows, columns))
        return _put_back(mixed, rows, columns, q.shape)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Return the weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        bias = None
        if isinstance(self.position, OffsetBias):
            rows, columns = (torch.arange(n, device=q.device) - at for n, at in zip(size, query, strict=True))
            bias = self.position.at(rows[:, None], columns).flatten(1)[:, None]
        allowed = self.reach(query, size).flatten().to(q.device)
        return attention_weights(q, k, self.normalise, bias=bias, allowed=allowed)

    def pairs(self, height: int, width: int) -> int:
        """Return the pairs that are multiplied, those which the mask discards included."""
        (tiles_y, queries_y, keys_y), (tiles_x, queries_x, keys_x) = self.cut(height), self.cut(width)
        return tiles_y * queries_y * keys_y * tiles_x * queries_x * keys_x

    def position_flops(self, height: int, width: int) -> int:
        """Return operations of the positions, of biases for the offsets within reach only."""
        if isinstance(self.position, OffsetBias):
            return self.position.flops(self.position.reach + 1, self.position.reach + 1)
        return super().position_flops(height, width)

    def saved_elements(self, height: int, width: int) -> int:
        """Return input, merged values, tiles of queries, keys and values, and what the kernel keeps.

        That is its output, a normaliser for each query and the mask, or the weights where a bias is learned.
        """
        (tiles_y, queries_y, keys_y), (tiles_x, queries_x, keys_x) = self.cut(height), self.cut(width)
        queries, keys = tiles_y * queries_y * tiles_x * queries_x, tiles_y * keys_y * tiles_x * keys_x
        tokens = self.in_channels * (2 * height * width + queries + 2 * keys)
        if isinstance(self.position, OffsetBias):
            biases = self.position.saved_elements(self.position.reach + 1, self.position.reach + 1)
            return tokens + biases + self.heads * self.pairs(height, width)
        return tokens + (self.in_channels + self.heads) * queries + self.pairs(height, width)

    def _bias(self, rows: Axis, columns: Axis, batch: int) -> Tensor | None:
        """Return (tiles, B * heads, queries, keys) where positions are relative."""
        if not isinstance(self.position, OffsetBias):
            return None
        y, x = (axis.keys[:, None, :] - axis.queries[:, :, None] for axis in (rows, columns))
        bias = self.position.at(y[:, None, :, None, :, None], x[None, :, None, :, None, :])
        heads, *shape = bias.shape
        bias = bias.permute(1, 2, 0, 3, 4, 5, 6).reshape(shape[0] * shape[1], 1, heads, *_joined(shape[2:]))
        return bias.expand(-1, batch, -1, -1, -1).flatten(1, 2)


def gather(x: Tensor, index: Tensor) -> Tensor:
    """Return the tokens of every tile: (B, heads, N, d), (tiles, m) -> (tiles, B * heads, m, d).

    Whole rows of all images and heads are moved at once, which is what makes backward fast on the CPU.
    """
    batch, heads, n, d = x.shape
    rows = x.permute(2, 0, 1, 3).reshape(n, batch * heads * d).index_select(0, index.flatten())
    return rows.view(*index.shape, batch * heads, d).transpose(1, 2)


def count(n: int, tile: int) -> int:
    """Return how many tiles cover ``n`` positions; without negative numbers, which ONNX divides differently."""
    return (n + tile - 1) // tile


def _put_back(mixed: Tensor, rows: Axis, columns: Axis, shape: torch.Size) -> Tensor:
    """Return the map from its tiles: (tiles, B * heads, t * t, d) -> (B, heads, N, d)."""
    batch, heads, n, d = shape
    (tiles_y, t_y), (tiles_x, t_x) = rows.queries.shape, columns.queries.shape
    strip_y, strip_x = rows.slots // t_y, columns.slots // t_x
    inside_y, inside_x = rows.slots % t_y, columns.slots % t_x
    tile = strip_y[:, None] * tiles_x + strip_x
    at = (tile * t_y + inside_y[:, None]) * t_x + inside_x
    flat = mixed.transpose(1, 2).reshape(tiles_y * tiles_x * t_y * t_x, batch * heads * d)
    return flat.index_select(0, at.flatten()).view(n, batch, heads, d).permute(1, 2, 0, 3)


def _pairs(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    """Return the tokens of every tile: (tiles, m), (tiles', m') -> (tiles * tiles', m * m')."""
    tokens = rows[:, None, :, None] * width + columns[None, :, None, :]
    return tokens.reshape(rows.shape[0] * columns.shape[0], -1)


def _outer(rows: Axis, columns: Axis) -> Tensor:
    """Return what is seen along both axes: (tiles, 1, queries, keys), the same for every image and head."""
    seen = rows.seen[:, None, :, None, :, None] & columns.seen[None, :, None, :, None, :]
    return seen.reshape(seen.shape[0] * seen.shape[1], 1, *_joined(seen.shape[2:]))


def _joined(shape: torch.Size | list[int]) -> tuple[int, int]:
    """Return (t * t', m * m') from (t, t', m, m')."""
    return shape[0] * shape[1], shape[2] * shape[3]
