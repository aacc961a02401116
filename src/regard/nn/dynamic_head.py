"""Dynamic head (Dai et al., DyHead, 2106.08322, section 3.2): attention over levels, places and channels in turn.

A block is W(F) = c(s(l(F) F) F) F, with one weight per level (scale-aware, equation 3), samples at moved places
(spatial-aware, equation 4) and a piecewise linear function per channel (task-aware, equation 5):

* l: F_n <- F_n hat(w_n . m + b_n), m the means of all levels, hat(x) = max(0, min(1, (x + 1) / 2));
* s: F_n(p) <- mean over levels m next to n of sum_k W_(m-n),k F_m(p + p_k + D_k) M_k, k the 3 x 3 places around p, with
  offsets D and weights M = sigmoid(...) from a 3 x 3 convolution of F_n, and matrices W for the finer, the same and the
  coarser level;
* c: F <- max((1 + t_1) F + t_3 / 2, t_2 F + t_4 / 2), t = 2 sigmoid(W_2 relu(W_1 m_c)) - 1 of the mean of all levels
  (the form of 2003.10027).

Levels pass a 1 x 1 convolution to a common number of channels, the blocks, and a 1 x 1 convolution back. Offsets start
from 0, M from 1 / 2 and c as ReLU.

Deviations: levels keep their sizes and are aggregated from their neighbours, as in the authors' code, where the paper
resizes all to the middle one; the place on another level is the same place of the image, and samples between cells are
bilinear, where the authors' code convolves with stride or upsamples; no group norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from regard.nn.attention.core import Size, check_at_least, check_query, to_map, to_tokens
from regard.nn.attention.deformable import corners, places
from regard.nn.gated import Gated
from regard.nn.multi_scale import centres, on_finest
from regard.nn.precision import at_least_float32
from regard.types import AttentionMap

SIDE = 3
"""Side of the square of places around each position."""
LEAST_HIDDEN = 8


class DynamicHead(nn.Module):
    """Blocks of scale-, spatial- and task-aware attention on the levels of a detection head.

    Args:
        in_channels: channels of each level.
        blocks: number of blocks in sequence.
        hidden: common channels; the fewest of a level if not given.
        strides: input pixels per cell of each level.

    Raises:
        RegardError: ``blocks`` or ``hidden`` is not positive.
    """

    multi_input: ClassVar[bool] = True

    def __init__(
        self, in_channels: Sequence[int], blocks: int = 1, hidden: int | None = None, *, strides: Sequence[int]
    ) -> None:
        super().__init__()
        check_at_least("DyHead", "blocks", blocks, 1)
        hidden = min(in_channels) if hidden is None else hidden
        check_at_least("DyHead", "hidden", hidden, 1)
        self.to_common = nn.ModuleList(nn.Conv2d(c, hidden, 1) for c in in_channels)
        self.blocks = nn.Sequential(*(DynamicBlock(hidden, strides) for _ in range(blocks)))
        self.from_common = nn.ModuleList(nn.Conv2d(hidden, c, 1) for c in in_channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C_n, H_n, W_n)] -> the same shapes."""
        common = self.blocks([into(x) for into, x in zip(self.to_common, maps, strict=True)])
        return [back(x) for back, x in zip(self.from_common, common, strict=True)]

    def attention(self, maps: Sequence[Tensor], query: Size | None = None) -> AttentionMap:
        """Weights of the samples of a query on the first level, of all levels together: (B, blocks, 1, H, W).

        A weight is that of the level times M, a bilinear share, and 1 over the number of levels sampled; matrices are
        left out. The map has the size of the finest level.

        Args:
            maps: (B, C_n, H_n, W_n) for each level.
            query: (row, column) on the first level; its centre if None.
        """
        place = check_query(query, (maps[0].shape[2], maps[0].shape[3]))
        common = [into(x) for into, x in zip(self.to_common, maps, strict=True)]
        rows = []
        for block in self.blocks:
            assert isinstance(block, DynamicBlock)
            rows.append(on_finest(block.samples_of(common, place), common))
            common = block(common)
        return AttentionMap("rows", torch.cat(rows, 1), (place,))


class DynamicBlock(nn.Module):
    """One block on levels with a common number of channels.

    Args:
        channels: of every level.
        strides: input pixels per cell of each level.
    """

    def __init__(self, channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        order = sorted(range(len(strides)), key=lambda n: strides[n])
        rank = {level: i for i, level in enumerate(order)}
        self.neighbours = [
            [(step, order[rank[n] + step - 1]) for step in range(3) if 0 <= rank[n] + step - 1 < len(order)]
            for n in range(len(strides))
        ]
        self.scale = nn.Linear(len(strides), len(strides))
        self.where = nn.Conv2d(channels, 3 * SIDE**2, 3, padding=1)
        self.matrices = nn.ModuleList(nn.Linear(SIDE**2 * channels, channels, bias=False) for _ in range(3))
        hidden = max(LEAST_HIDDEN, channels // 4)
        self.task = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 4 * channels))
        last = self.task[2]
        for parameter in (*self.where.parameters(), *last.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C, H_n, W_n)] -> the same shapes."""
        scaled = [x * weight for x, weight in zip(maps, self.scales(maps), strict=True)]
        return self.activated([self.aggregated(scaled, n) for n in range(len(scaled))])

    def scales(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Weight of each level: levels x (B, 1, 1, 1), from 0 to 1."""
        means = torch.stack([x.mean((1, 2, 3)) for x in maps], 1)
        weights = ((self.scale(means) + 1) / 2).clamp(0, 1)
        return [weight[:, None, None, None] for weight in weights.unbind(1)]

    def aggregated(self, maps: Sequence[Tensor], level: int) -> Tensor:
        """Samples of a level and its neighbours, around every position of the level: (B, C, H, W)."""
        x = maps[level]
        size = (x.shape[2], x.shape[3])
        offsets, weights = self.moves(to_tokens(self.where(x)))
        total: Tensor | None = None
        for step, n in self.neighbours[level]:
            values = to_tokens(maps[n])
            found = values.new_zeros(*weights.shape, values.shape[2])  # (B, N, 9, C)
            for index, share in self._around(places(size, x.device), size, maps[n], offsets):
                flat = index.flatten(1)[..., None].expand(-1, -1, values.shape[2])
                taken = values.gather(1, flat).view(found.shape)
                found = found + taken * (share * weights).to(values.dtype)[..., None]
            part = self.matrices[step](found.flatten(2))
            total = part if total is None else total + part
        assert total is not None
        return to_map(total / len(self.neighbours[level]), size)

    def activated(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The larger of two linear functions of each channel, of coefficients that all levels share."""
        mean = torch.stack([x.mean((2, 3)) for x in maps]).mean(0)
        t = (2 * self.task(mean).sigmoid() - 1)[..., None, None].chunk(4, 1)  # (B, C, 1, 1) each
        return [torch.maximum((1 + t[0]) * x + t[2] / 2, t[1] * x + t[3] / 2) for x in maps]

    def moves(self, predicted: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, 27) -> rows and columns from each position (B, N, 9, 2), and weights (B, N, 9), float32 at least."""
        predicted = at_least_float32(predicted)
        offsets, scores = predicted[..., : 2 * SIDE**2], predicted[..., 2 * SIDE**2 :]
        square = places((SIDE, SIDE), predicted.device) - SIDE // 2
        return torch.unflatten(offsets, -1, (-1, 2)) + square, scores.sigmoid()

    def samples_of(self, maps: Sequence[Tensor], query: Size) -> list[Tensor]:
        """Weights of the samples of a query on the first level, zero on other levels: n x (B, 1, 1, H_n, W_n)."""
        scales = self.scales(maps)
        scaled = [x * weight for x, weight in zip(maps, scales, strict=True)]
        x = scaled[0]
        at, here = torch.tensor([query], device=x.device), (x.shape[2], x.shape[3])
        predicted = self.where(x)[:, None, :, query[0], query[1]]
        offsets, weights = self.moves(predicted)
        rows = [weights.new_zeros(x.shape[0], 1, y.shape[2] * y.shape[3]) for y in maps]
        for _, n in self.neighbours[0]:
            for index, share in self._around(at, here, maps[n], offsets):
                of_level = share * weights * scales[n][..., 0] / len(self.neighbours[0])
                rows[n] = rows[n].scatter_add(-1, index, of_level)
        return [row.view(row.shape[0], 1, 1, *y.shape[2:]) for row, y in zip(rows, maps, strict=True)]

    def _around(self, at: Tensor, size: Size, x: Tensor, offsets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Corners of the samples on a map, of positions (N, 2) on a level of ``size``."""
        here = (x.shape[2], x.shape[3])
        return corners(centres(at, size, here, offsets)[:, None] + offsets, here)


class GatedLevels(Gated):
    """Levels behind a gate that is closed at the start: x_n + gamma (f(x)_n - x_n).

    Args:
        module: takes a list of maps and gives as many of the same shapes.
    """

    multi_input: ClassVar[bool] = True

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:  # type: ignore[override]
        """[(B, C_n, H_n, W_n)] -> the same shapes."""
        return [x + self.gamma * (y - x) for x, y in zip(maps, self.module(maps), strict=True)]
