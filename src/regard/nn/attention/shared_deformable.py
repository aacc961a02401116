"""Deformable attention with keys shared by all queries (Xia et al., DAT, 2201.00520, section 3.2).

A grid of n = ceil(H / r) x ceil(W / r) points p lies evenly on the map. Each moves by an offset that the queries around
it predict, D = s tanh(W_2 gelu(P * q)), P a depth-wise convolution of stride r; the map is sampled there (bilinear),
and all queries attend to the same samples: x' = x(p + D), k' = W_k x', v' = W_v x',
b_i = W_o [sum_j softmax_j(q_i . k'_j / sqrt(d)) v'_j]. Channels fall into groups with separate offsets. Cost is
4 C N n. With r = 1 and no offsets this is plain attention.

``attention`` spreads the weight of a point over the positions that it is sampled from, as a mean over the groups.

Deviations: no bias by relative offset, whose table belongs to one size of map; points are kept on the map, as in the
authors' code. Samples are gathered at the four corners of each point, as in ``regard.nn.attention.deformable``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.core import (
    Card,
    Size,
    attention_weights,
    check_at_least,
    check_divides,
    check_odd,
    check_query,
    fused_attention,
    merge_heads,
    split_heads,
    to_map,
    to_tokens,
)
from regard.nn.attention.deformable import corners
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import MAP_POSITIONS, check_pos_embed
from regard.nn.precision import at_least_float32
from regard.types import AttentionMap


class SharedDeformableAttention(MultiHead):
    """Every position attends to the same points, which the map moves to where they are needed.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        groups: groups of channels with separate points; a divisor of the channels.
        reduction: r, rows, and columns, from one point to the next.
        kernel: side of the convolution that predicts offsets, odd.
        offset_range: s, the farthest that a point moves along an axis, in distances of points.
        pos_embed: kind of position that acts on the map, see ``POSITIONS``.

    Raises:
        RegardError: an option does not fit, or as for every ``MultiHead``.
    """

    card = Card(
        family="sparse",
        paper="2201.00520",
        equation="b_i = W_o [sum_j softmax_j(q_hi . W_k x'_j / sqrt(d)) W_v x'_j], x'_j = x(p_j + D_j)",
        parameters="4 * C**2 + 4 * C + C / groups * (kernel**2 + 3)",
        flops="4 * N * C**2 + (4 * C**2 + 4 * N * C + C * (2 * kernel**2 + 13) + 36 * groups)"
        " * ceiling(H / reduction) * ceiling(W / reduction) + 3 * (ceiling(H / reduction) + ceiling(W / reduction))",
        peers=("torch.nn.functional.grid_sample", "MultiHeadSelfAttention without offsets"),
        when="When all positions should look at the same few places, which the map chooses; the cost is N^2 divided by"
        " the square of the reduction.",
        linear=False,
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        groups: int = 2,
        reduction: int = 2,
        kernel: int = 5,
        offset_range: float = 1.0,
        pos_embed: str = "none",
    ) -> None:
        owner = "SharedDeformableAttention"
        check_pos_embed(owner, pos_embed, MAP_POSITIONS)
        check_at_least(owner, "reduction", reduction, 1)
        check_odd(owner, "kernel", kernel)
        check_divides(in_channels, groups, "groups")
        if offset_range < 0:
            raise RegardError(f"{owner}: offset_range {offset_range} is negative", expected="0 or more, such as 1")
        super().__init__(in_channels, num_heads, pos_embed)
        self.groups, self.reduction, self.kernel, self.offset_range = groups, reduction, kernel, offset_range
        own = in_channels // groups
        self.offsets = nn.Sequential(
            nn.Conv2d(own, own, kernel, reduction, kernel // 2, groups=own), nn.GELU(), nn.Conv2d(own, 2, 1, bias=False)
        )

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries (B, heads, H * W, d), keys and values of the points, (B, heads, n, d)."""
        q, k, v, _ = self.project_and_place(x)
        return q, k, v

    def project_and_place(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> the same, and row and column of each point, (B, groups, n, 2), in float32 at least."""
        size, c = (x.shape[2], x.shape[3]), self.in_channels
        tokens, weight, bias = to_tokens(self.position.on_map(x)), self.qkv.weight, self.qkv.bias
        q = F.linear(tokens, weight[:c], bias[:c])
        at = self.locations(to_map(q, size))
        k, v = F.linear(self.sample(tokens, at, size), weight[c:], bias[c:]).chunk(2, -1)
        return split_heads(q, self.num_heads), split_heads(k, self.num_heads), split_heads(v, self.num_heads), at

    def locations(self, q: Tensor) -> Tensor:
        """Queries as a map (B, C, H, W) -> row and column of each point, (B, groups, n, 2), in float32 at least."""
        batch, _, *size = q.shape
        moved = self.offsets(torch.unflatten(q, 1, (self.groups, -1)).flatten(0, 1))
        moved = at_least_float32(moved).tanh()
        of_axes = []
        for axis, n in enumerate(size):
            points = moved.shape[2 + axis]
            step = n / points
            grid = (torch.arange(points, device=q.device, dtype=moved.dtype) + 0.5) * step - 0.5
            along = grid[:, None] if axis == 0 else grid
            of_axes.append((along + self.offset_range * step * moved[:, axis]).clamp(min=0).clamp(max=n - 1))
        return torch.unflatten(torch.stack(of_axes, -1).flatten(1, 2), 0, (batch, self.groups))

    def sample(self, tokens: Tensor, at: Tensor, size: Size) -> Tensor:
        """Tokens (B, N, C) at the points (B, groups, n, 2): (B, n, C)."""
        x = split_heads(tokens.contiguous(), self.groups)
        found = x.new_zeros(*at.shape[:3], x.shape[-1])
        for index, share in corners(at, size):
            values = x.gather(2, index[..., None].expand(-1, -1, -1, x.shape[-1]))
            found = found + values * share[..., None].to(x.dtype)
        return merge_heads(found)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d), (B, heads, n, d) twice -> (B, heads, N, d)."""
        return fused_attention(q, k, v)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Weights of positions that those of the points imply: (B, heads, 1, H, W)."""
        size = (x.shape[2], x.shape[3])
        place = check_query(query, size)
        q, k, _, at = self.project_and_place(x)
        weights = self.row_among(q, k, place, size)
        found = weights.new_zeros(*weights.shape[:3], size[0] * size[1])
        for index, share in corners(at, size):
            for of_group, part in zip(index.unbind(1), share.to(weights.dtype).unbind(1), strict=True):
                spread = weights * part[:, None, None] / self.groups
                found = found.scatter_add(-1, of_group[:, None, None].expand_as(spread), spread)
        return AttentionMap("rows", found.view(*found.shape[:3], *size), (place,))

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Weights of one query (B, heads, 1, d) over all points (B, heads, n, d): (B, heads, 1, n)."""
        return attention_weights(q, k)
