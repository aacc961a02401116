"""Deformable attention from one map to several (Zhu et al., Deformable DETR, 2010.04159, section 4.1, equation 3).

b_q = W_o [sum_l sum_k A_hlqk v_hl(phi_l(p_q) + D_hlqk) for h in heads], with weights A that sum to 1 over all points of
all levels. Queries are the positions of the first map; phi_l takes the middle of a cell to the same place of the image
on level l; offsets D count in positions of that level. The rest is as in ``regard.nn.attention.deformable``.

Deviations: queries are a map; maps may differ in channels, each with a separate projection of its values, where
the paper first projects all of them to 256 channels. The map is the output; the input is not added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import (
    Size,
    check_at_least,
    check_divides,
    check_query,
    merge_heads,
    mixing,
    split_heads,
    to_map,
    to_tokens,
)
from regard.nn.attention.deformable import corners, initial_offsets, places
from regard.nn.precision import at_least_float32
from regard.nn.renamed import OldNames
from regard.types import AttentionMap


class MultiScaleDeformable(OldNames, nn.Module):
    """Every position of the first map attends to a few points of each map, predicted from its own vector.

    Args:
        in_channels: channels of each map; the first's are those of the output, a multiple of ``num_heads``.
        num_heads: number of heads, each of ``in_channels[0] / num_heads`` channels.
        points: of each query, head and map.

    Raises:
        RegardError: there is no map, or an option does not fit.
    """

    multi_input: ClassVar[bool] = True

    def __init__(self, in_channels: Sequence[int], num_heads: int = 4, points: int = 4) -> None:
        super().__init__()
        if not in_channels:
            raise RegardError("MultiScaleDeformable reads no map", expected="one or more")
        check_divides(in_channels[0], num_heads)
        check_at_least("MultiScaleDeformable", "points", points, 1)
        self.out_channels = channels = in_channels[0]
        self.num_heads, self.points, self.levels = num_heads, points, len(in_channels)
        self.values = nn.ModuleList(nn.Linear(c, channels) for c in in_channels)
        self.offsets = nn.Linear(channels, num_heads * self.levels * points * 2)
        self.weights = nn.Linear(channels, num_heads * self.levels * points)
        self.out = nn.Linear(channels, channels)
        for parameter in (self.offsets.weight, self.weights.weight, self.weights.bias):
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.offsets.bias.copy_(
                initial_offsets(num_heads, points)[:, None].expand(-1, self.levels, -1, -1).flatten()
            )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, C_l, H_l, W_l) for each level -> (B, C_0, H_0, W_0)."""
        size = (maps[0].shape[2], maps[0].shape[3])
        values = [split_heads(v(to_tokens(x)), self.num_heads) for v, x in zip(self.values, maps, strict=True)]
        mixed = mixing(self.mix, maps, values, without=values[0])
        return to_map(self.out(merge_heads(mixed)), size)

    def mix(self, maps: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
        """Maps and their values (B, heads, N_l, d) -> weighted values at the points, (B, heads, N_0, d)."""
        size = (maps[0].shape[2], maps[0].shape[3])
        tokens = to_tokens(maps[0])
        weights, offsets = self.weights_of(tokens), self.offsets_of(tokens)
        mixed: Tensor | None = None
        for level, (x, v) in enumerate(zip(maps, values, strict=True)):
            here = (x.shape[2], x.shape[3])
            at = centres(places(size, x.device), size, here, offsets)
            for index, share in corners(at[:, None] + offsets[:, :, :, level], here):
                flat = index.flatten(2)[..., None].expand(-1, -1, -1, v.shape[-1])
                found = v.gather(2, flat).view(*index.shape, v.shape[-1])
                part = ((weights[:, :, :, level] * share).to(v.dtype)[..., None, :] @ found)[..., 0, :]
                mixed = part if mixed is None else mixed + part
        assert mixed is not None
        return mixed

    def attention(self, maps: Sequence[Tensor], query: Size | None = None) -> AttentionMap:
        """Weights that the points of a query imply, of all levels together on the finest: (B, heads, 1, H, W).

        The weight of a cell of another level is spread over the cells of the finest in the same place of the image.

        Args:
            maps: (B, C_l, H_l, W_l) for each level.
            query: (row, column) on the first map; its centre if None.
        """
        place = check_query(query, (maps[0].shape[2], maps[0].shape[3]))
        return AttentionMap("rows", on_finest(self.on_levels(maps, place), maps), (place,))

    def on_levels(self, maps: Sequence[Tensor], query: Size) -> list[Tensor]:
        """Weights that the points of a query imply on each level: (B, heads, 1, H_l, W_l)."""
        size, token = (maps[0].shape[2], maps[0].shape[3]), maps[0][:, None, :, query[0], query[1]]
        weights, offsets = self.weights_of(token), self.offsets_of(token)
        found = []
        for level, x in enumerate(maps):
            here = (x.shape[2], x.shape[3])
            at = centres(torch.tensor([query], device=x.device), size, here, offsets)
            row = weights.new_zeros(*weights.shape[:3], here[0] * here[1])
            for index, share in corners(at[:, None] + offsets[:, :, :, level], here):
                row = row.scatter_add(-1, index, weights[:, :, :, level] * share)
            found.append(row.view(*row.shape[:3], *here))
        return found

    def weights_of(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> A, (B, heads, N, levels, K), in float32 at least; they sum to 1 over levels and points."""
        scores = split_heads(self.weights(tokens), self.num_heads)
        weights = at_least_float32(scores).softmax(-1)
        return weights.view(*weights.shape[:3], self.levels, self.points)

    def offsets_of(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> D, rows and columns, (B, heads, N, levels, K, 2), in float32 at least."""
        batch, n, _ = tokens.shape
        offsets = self.offsets(tokens).view(batch, n, self.num_heads, self.levels, self.points, 2).transpose(1, 2)
        return at_least_float32(offsets)


def centres(at: Tensor, size: Size, level: Size, like: Tensor) -> Tensor:
    """Positions of the cell centres of a map of ``size`` on another level of the image: (N, 2) each."""
    rows, columns = (at.to(like.dtype) + 0.5).unbind(-1)
    return torch.stack((rows * level[0] / size[0], columns * level[1] / size[1]), -1) - 0.5


def on_finest(of_levels: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
    """Sum of weights of all levels on the finest of ``maps``: (B, heads, 1, H_l, W_l) -> (B, heads, 1, H, W).

    The weight of a cell is spread over the cells in the same place of the image.
    """
    rows, columns = max(((x.shape[2], x.shape[3]) for x in maps), key=math.prod)
    spread = [overlaps(rows, w.shape[3], w) @ w @ overlaps(columns, w.shape[4], w).mT for w in of_levels]
    return torch.stack(spread).sum(0)


def overlaps(to: int, of: int, like: Tensor) -> Tensor:
    """Overlap (to, of) of ``of`` equal segments of a line with ``to`` equal segments, as fractions of the former."""
    # in steps of 1 / (to * of) of the line, which are whole numbers
    starts = torch.arange(to, device=like.device)[:, None] * of
    others = torch.arange(of, device=like.device) * to
    inside = torch.minimum(starts + of, others + to) - torch.maximum(starts, others)
    return inside.clamp(min=0).to(like.dtype) / to
