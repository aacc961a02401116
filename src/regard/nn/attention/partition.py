"""Attention inside parts of a map: all parts in one call of the fused kernel, with a mask of what a query attends to.

What a query sees is a rectangle, or a grid of rows and columns, so rows and columns are divided apart, each as an
``Axis``: groups of queries, and the keys that each group meets. Parts stand in the batch dimension, with images next to
the heads, so that one mask serves all images and heads without being copied.

Gathering a list of keys for every query would be the plain way, and moves as many keys as it multiplies. The queries of
a part share their keys, so little is moved, at the price of products that the mask then discards. A map of 80 x 80, 128
channels, 4 heads and a window of 7 took 19 ms by parts and 217 ms by lists (with backward 56 and 647 ms; one core of a
Xeon, PyTorch 2.15, the better of three runs). Time and memory grow with N.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from regard.nn.attention.core import Size, attention_weights, ceil_div, fused_attention
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import LogSpaced, OffsetBias, Relative


class Axis(NamedTuple):
    """One axis of a map, of n positions, divided into g groups of t queries, each of which meets m keys.

    Attributes:
        queries: (g, t), the position of each query; groups are filled up with copies of some position.
        keys: (g, m), the position of each key; likewise.
        seen: (g, t, m), boolean, or (g, 1, m) where all queries of a group see the same keys: whether a query sees a
            key. Each query sees at least one; copies of keys are seen by none but copies of queries.
        group: (n,), the group that a position is in as a query.
        member: (n,), which query of that group it is.
    """

    queries: Tensor
    keys: Tensor
    seen: Tensor
    group: Tensor
    member: Tensor

    @classmethod
    def of(cls, queries: Tensor, keys: Tensor, seen: Tensor, slots: Tensor) -> Axis:
        """Axis from groups and the place of each position among all g * t queries, (n,)."""
        group = slots // queries.shape[1]
        return cls(queries, keys, seen, group, slots - group * queries.shape[1])

    @classmethod
    def of_groups(cls, at: Tensor, group: Tensor, member: Tensor) -> Axis:
        """Axis whose groups see themselves: the positions of their members, (g, m), are n or more for padding."""
        real = at < group.shape[0]
        at = at.clamp(max=group.shape[0] - 1)
        return cls(at, at, (real | ~real.any(-1, keepdim=True))[:, None], group, member)  # padding sees padding

    @classmethod
    def blocks(cls, n: int, length: int, groups: int, device: torch.device) -> Axis:
        """``groups`` contiguous groups of ``length``, which together are at least n."""
        at = torch.arange(groups, device=device)[:, None] * length + torch.arange(length, device=device)
        positions = torch.arange(n, device=device)
        group = positions // length
        return cls.of_groups(at, group, positions - group * length)  # not %: ONNX has none by a length that varies

    @classmethod
    def strided(cls, n: int, stride: int, device: torch.device) -> Axis:
        """``stride`` groups, each of every ``stride``-th position."""
        steps = torch.arange(ceil_div(n, stride), device=device)
        at = torch.arange(stride, device=device)[:, None] + steps * stride
        positions = torch.arange(n, device=device)
        return cls.of_groups(at, positions % stride, positions // stride)

    @classmethod
    def whole(cls, n: int, device: torch.device) -> Axis:
        """All positions as one group."""
        positions = torch.arange(n, device=device)
        return cls.of_groups(positions[None], torch.zeros_like(positions), positions)


def attend(q: Tensor, k: Tensor, v: Tensor, rows: Axis, columns: Axis, bias: Tensor | None = None) -> Tensor:
    """Attention of every part of a map to its keys: (B, heads, H * W, d) each -> the same.

    Args:
        q: queries.
        k: keys.
        v: values, which may be wider or narrower; the result has their channels.
        rows: how the H rows are divided.
        columns: how the W columns are divided; the parts are all pairs of a group of rows and one of columns.
        bias: added to the scores, (parts, B * heads, queries, keys).
    """
    width = columns.group.shape[0]
    queries, keys = pairs(rows.queries, columns.queries, width), pairs(rows.keys, columns.keys, width)
    parts = gather(q, queries), gather(k, keys), gather(v, keys)
    return put_back(fused_attention(*parts, bias=bias, allowed=seen_by(rows, columns)), slots(rows, columns), v)


def pairs(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    """Tokens of every part: (g, m) rows, (g', m') columns -> (g * g', m * m')."""
    tokens = rows[:, None, :, None] * width + columns[None, :, None, :]
    return tokens.reshape(rows.shape[0] * columns.shape[0], rows.shape[1] * columns.shape[1])


def seen_by(rows: Axis, columns: Axis) -> Tensor:
    """Keys that are seen along both axes: (parts, 1, queries or 1, keys), the same for every image and head."""
    seen = rows.seen[:, None, :, None, :, None] & columns.seen[None, :, None, :, None, :]
    shape = seen.shape
    return seen.reshape(shape[0] * shape[1], 1, shape[2] * shape[3], shape[4] * shape[5])


def slots(rows: Axis, columns: Axis) -> Tensor:
    """Place of each token among all queries of all parts: (H * W,)."""
    groups, (tall, wide) = columns.queries.shape[0], (rows.queries.shape[1], columns.queries.shape[1])
    group = rows.group[:, None] * groups + columns.group
    return ((group * tall + rows.member[:, None]) * wide + columns.member).flatten()


def gather(tokens_bhnd: Tensor, index: Tensor) -> Tensor:
    """(B, heads, N, d), (parts, members) -> (parts, B * heads, members, d).

    All images and heads of a token are moved at once, which is what makes backward fast on the CPU.
    """
    batch, heads, n, d = tokens_bhnd.shape
    flat = tokens_bhnd.permute(2, 0, 1, 3).reshape(n, batch * heads * d)
    return flat.index_select(0, index.flatten()).view(*index.shape, batch * heads, d).transpose(1, 2)


def put_back(mixed: Tensor, at: Tensor, like: Tensor) -> Tensor:
    """(parts, B * heads, members, d), (N,) slots -> (B, heads, N, d), the shape of ``like``."""
    batch, heads, n, d = like.shape
    parts, _, length, _ = mixed.shape
    flat = mixed.transpose(1, 2).reshape(parts * length, batch * heads * d)
    return flat.index_select(0, at).view(n, batch, heads, d).permute(1, 2, 0, 3)


OFFSET_BIASES: Mapping[str, type[Relative] | type[LogSpaced]] = MappingProxyType(
    {"relative": Relative, "log_cpb": LogSpaced}
)
"""Positions that are a bias for each offset, of which a part needs those within its reach only."""


class PartitionedAttention(MultiHead):
    """Attention inside parts of the map; a subclass divides one axis.

    Positions "relative" and "log_cpb" are one bias for each offset that occurs, not of all pairs. They take heads x
    keys of a part values for each query: linear memory still, of which they are the largest share.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        pos_embed: kind of position, see ``POSITIONS``.
        reach: the farthest that a key stands from its query along an axis.
    """

    def __init__(self, in_channels: int, num_heads: int, pos_embed: str, reach: int) -> None:
        of_offsets = OFFSET_BIASES.get(pos_embed)
        super().__init__(in_channels, num_heads, pos_embed if of_offsets is None else "none")
        if of_offsets is not None:
            self.position = of_offsets(num_heads, reach)

    @abstractmethod
    def axis(self, n: int, device: torch.device) -> Axis:
        """Divide an axis of ``n`` positions."""

    @abstractmethod
    def sees(self, query: int, n: int) -> Tensor:
        """Positions that a query sees on an axis of ``n``: (n,), boolean."""

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        """Rows and columns of positions that a query sees: (H, W), boolean."""
        return self.sees(query[0], size[0])[:, None] & self.sees(query[1], size[1])

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        rows, columns = (self.axis(n, q.device) for n in size)
        return attend(q, k, v, rows, columns, self._bias(rows, columns, q.shape[0]))

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        bias = None
        if isinstance(self.position, OffsetBias):
            rows, columns = (torch.arange(n, device=q.device) - at for n, at in zip(size, query, strict=True))
            bias = self.position.at(rows[:, None], columns).flatten(1)[:, None]
        allowed = self.attention_mask(query, size).flatten().to(q.device)
        return attention_weights(q, k, self.activation, bias=bias, allowed=allowed)

    def _bias(self, rows: Axis, columns: Axis, batch: int) -> Tensor | None:
        """(parts, B * heads, queries, keys) where positions are relative."""
        if not isinstance(self.position, OffsetBias):
            return None
        y, x = (axis.keys[:, None, :] - axis.queries[:, :, None] for axis in (rows, columns))
        bias = self.position.at(y[:, None, :, None, :, None], x[None, :, None, :, None, :])
        heads, down, along, *t = bias.shape
        bias = bias.permute(1, 2, 0, 3, 4, 5, 6).reshape(down * along, 1, heads, t[0] * t[1], t[2] * t[3])
        return bias.expand(-1, batch, -1, -1, -1).flatten(1, 2)
