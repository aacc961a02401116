"""Deformable attention on one map (Zhu et al., Deformable DETR, 2010.04159, section 4.1, equation 2).

b_q = W_o [sum_k A_hqk v_h(p_q + D_hqk) for h in heads]: K points for each query and head, at offsets D = W_d x_q + b_d
from the query's own position p_q, in positions of the map, with weights A = softmax_k(W_a x_q + b_a). Values between
positions are bilinear, and zero outside of the map: ``attention`` gives the implied weights of positions, which sum to
less than 1 where a point lies outside. Cost and memory grow with N alone.

As in section A.4, W_d, W_a and b_a start from zero, and b_d so that the points of each head are in a different
direction, 1 .. K positions away.

Deviations: queries are the map itself. Values are gathered at the four corners of each point rather than by
``grid_sample``, whose gradient does not repeat on GPUs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from regard.nn.attention.core import (
    Attention,
    Card,
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
from regard.nn.precision import at_least_float32
from regard.types import AttentionMap

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


class DeformableAttention(Attention):
    """Every position attends to a few points, whose places are predicted from its own vector.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads, each of ``in_channels / num_heads`` channels.
        points: K, for each query and head.
    """

    card = Card(
        family="sparse",
        paper="2010.04159",
        equation="b_q = W_o [sum_k softmax_k(W_ha x_q)_k v_h(p_q + W_hdk x_q)]",
        parameters="2 * C**2 + 2 * C + 3 * num_heads * points * (C + 1)",
        flops="4 * N * C**2 + N * C * points * (6 * num_heads + 8)",
        peers=("torch.nn.functional.grid_sample",),
        when="When each position should look at a few places that it chooses itself; the cost grows linearly with N.",
    )

    def __init__(self, in_channels: int, num_heads: int = 4, points: int = 4) -> None:
        super().__init__(in_channels)
        check_divides(in_channels, num_heads)
        check_at_least("DeformableAttention", "points", points, 1)
        self.num_heads = num_heads
        self.points = points
        self.value = nn.Linear(in_channels, in_channels)
        self.offsets = nn.Linear(in_channels, num_heads * points * 2)
        self.weights = nn.Linear(in_channels, num_heads * points)
        self.out = nn.Linear(in_channels, in_channels)
        for parameter in (self.offsets.weight, self.weights.weight, self.weights.bias):
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.offsets.bias.copy_(initial_offsets(num_heads, points).flatten())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        size, tokens = (x.shape[2], x.shape[3]), to_tokens(x)
        v = split_heads(self.value(tokens), self.num_heads)
        mixed = mixing(self.mix, tokens, v, size, without=v)
        return to_map(self.out(merge_heads(mixed)), size)

    def mix(self, tokens: Tensor, v: Tensor, size: Size) -> Tensor:
        """Tokens (B, N, C) and values (B, heads, N, d) -> weighted values at the points, (B, heads, N, d)."""
        weights = self.weights_of(tokens)
        mixed = torch.zeros_like(v)
        for index, share in corners(self.locations(tokens, places(size, v.device)), size):
            flat = index.flatten(2)[..., None].expand(-1, -1, -1, v.shape[-1])
            values = v.gather(2, flat).view(*index.shape, v.shape[-1])  # (B, heads, N, K, d)
            mixed = mixed + ((weights * share).to(v.dtype)[..., None, :] @ values)[..., 0, :]
        return mixed

    def weights_of(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> A, (B, heads, N, K), in float32 at least."""
        scores = split_heads(self.weights(tokens), self.num_heads)
        return at_least_float32(scores).softmax(-1)

    def locations(self, tokens: Tensor, at: Tensor) -> Tensor:
        """Row and column of each point: (B, N, C) and (N, 2) -> (B, heads, N, K, 2), float32 at least."""
        batch, n, _ = tokens.shape
        offsets = self.offsets(tokens).view(batch, n, self.num_heads, self.points, 2).transpose(1, 2)
        return at[:, None] + at_least_float32(offsets)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Weights that a query's points imply: (B, heads, 1, H, W)."""
        size = (x.shape[2], x.shape[3])
        row, column = place = check_query(query, size)
        token = x[:, None, :, row, column]
        weights = self.weights_of(token)
        found = weights.new_zeros(x.shape[0], self.num_heads, 1, size[0] * size[1])
        at = torch.tensor([place], device=x.device)
        for index, share in corners(self.locations(token, at), size):
            found = found.scatter_add(-1, index, weights * share)
        return AttentionMap("rows", found.view(*found.shape[:3], *size), (place,))


def initial_offsets(num_heads: int, points: int) -> Tensor:
    """First offsets: heads in different directions, points 1, 2, ... away: (heads, points, 2)."""
    angles = torch.arange(num_heads) * (2 * math.pi / num_heads)
    direction = torch.stack((angles.sin(), angles.cos()), -1)
    direction = direction / direction.abs().amax(-1, keepdim=True)
    return direction[:, None] * torch.arange(1, points + 1)[:, None]


def places(size: Size, device: torch.device) -> Tensor:
    """Row and column of every position: (H * W, 2)."""
    rows, columns = (torch.arange(n, device=device) for n in size)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)


def corners(locations: Tensor, size: Size) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the four positions around each location, as tokens, and their bilinear shares, 0 outside of the map.

    (..., 2) -> four times (...), whole numbers, and (...). The gradient is that of the shares.
    """
    height, width = size
    low = locations.detach().floor()
    row_part, column_part = (locations - low).unbind(-1)
    for down, along in CORNERS:
        row, column = low[..., 0] + down, low[..., 1] + along
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        share = (row_part if down else 1 - row_part) * (column_part if along else 1 - column_part)
        index = row.clamp(min=0).clamp(max=height - 1) * width + column.clamp(min=0).clamp(max=width - 1)
        yield index.long(), share * inside
