"""Deformable attention from one map to several (Zhu et al., Deformable DETR, 2010.04159, section 4.1, equation 3).

b_q = W_o [sum_l sum_k A_hlqk v_hl(phi_l(p_q) + D_hlqk) for h in heads], with weights A that sum to 1 over all points of
all levels. Queries are the positions of the first map; phi_l takes the middle of a cell to the same place of the image
on level l; offsets D count in positions of that level. The rest is as in ``regard.nn.attention.deformable``.

Deviations: queries are a map; maps may have different channels, each with a projection of its values of its own, where
the paper brings all to 256 channels before. The map is the output; the input is not added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.deformable import corners, places, star
from regard.nn.attention.heads import check_heads
from regard.nn.attention.options import check_at_least
from regard.nn.attention.tokens import merge_heads, split_heads, to_map, to_tokens


class MultiScaleDeformable(nn.Module):
    """Every position of the first map looks at a few points of each map, whose places it tells from its own vector.

    Args:
        in_channels: channels of each map; the first's are those of the output, a multiple of ``heads``.
        heads: each works on ``in_channels[0] / heads`` channels.
        points: of each query, head and map.

    Raises:
        RegardError: there is no map, or an option does not fit.
    """

    many_inputs: ClassVar[bool] = True

    def __init__(self, in_channels: Sequence[int], heads: int = 4, points: int = 4) -> None:
        super().__init__()
        if not in_channels:
            raise RegardError("MultiScaleDeformable reads no map", expected="one or more")
        check_heads(in_channels[0], heads)
        check_at_least("MultiScaleDeformable", "points", points, 1)
        self.out_channels = channels = in_channels[0]
        self.heads, self.points, self.levels = heads, points, len(in_channels)
        self.values = nn.ModuleList(nn.Linear(c, channels) for c in in_channels)
        self.offsets = nn.Linear(channels, heads * self.levels * points * 2)
        self.weights = nn.Linear(channels, heads * self.levels * points)
        self.out = nn.Linear(channels, channels)
        for parameter in (self.offsets.weight, self.weights.weight, self.weights.bias):
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.offsets.bias.copy_(star(heads, points)[:, None].expand(-1, self.levels, -1, -1).flatten())

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, C_l, H_l, W_l) for each level -> (B, C_0, H_0, W_0)."""
        size = (maps[0].shape[2], maps[0].shape[3])
        tokens = to_tokens(maps[0])
        weights, offsets = self.weights_of(tokens), self.offsets_of(tokens)
        mixed: Tensor | None = None
        for level, x in enumerate(maps):
            v = split_heads(self.values[level](to_tokens(x)), self.heads)
            here = (x.shape[2], x.shape[3])
            locations = centres(size, here, offsets)[:, None] + offsets[:, :, :, level]
            for index, share in corners(locations, here):
                flat = index.flatten(2)[..., None].expand(-1, -1, -1, v.shape[-1])
                found = v.gather(2, flat).view(*index.shape, v.shape[-1])
                part = ((weights[:, :, :, level] * share).to(v.dtype)[..., None, :] @ found)[..., 0, :]
                mixed = part if mixed is None else mixed + part
        assert mixed is not None
        return to_map(self.out(merge_heads(mixed)), size)

    def weights_of(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> A, (B, heads, N, levels, K), in float32 at least; they sum to 1 over levels and points."""
        scores = split_heads(self.weights(tokens), self.heads)
        weights = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(-1)
        return weights.view(*weights.shape[:3], self.levels, self.points)

    def offsets_of(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> D, rows and columns, (B, heads, N, levels, K, 2), in float32 at least."""
        batch, n, _ = tokens.shape
        offsets = self.offsets(tokens).view(batch, n, self.heads, self.levels, self.points, 2).transpose(1, 2)
        return offsets.to(torch.promote_types(offsets.dtype, torch.float32))


def centres(size: tuple[int, int], level: tuple[int, int], like: Tensor) -> Tensor:
    """Return where the middles of the cells of a map of ``size`` stand on another level of the image: (N, 2)."""
    at = places(size, like.device).to(like.dtype) + 0.5
    rows, columns = at.unbind(-1)
    return torch.stack((rows * level[0] / size[0], columns * level[1] / size[1]), -1) - 0.5
