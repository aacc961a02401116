"""Which cells and anchors answer for which labelled box.

The rule of YOLOv5 v6 (it has no paper): a box is matched to every anchor of every level whose sides differ
from its own by less than a factor, in its own cell and in up to two neighbours on the nearer sides. All of it is
vectorised; time and memory are linear in the number of boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.types import Targets


@dataclass(frozen=True)
class Assignment:
    """The predictions of one level that answer for a labelled box, one row each.

    They are ordered by offset block (own cell, left, up, right, down), then anchor, then target.

    Attributes:
        image: (P,) int64, position in the batch.
        anchor: (P,) int64, index among the level's anchors.
        row: (P,) int64, cell index in 0..ny-1.
        column: (P,) int64, cell index in 0..nx-1.
        boxes_cxcywh: (P, 4), the box to predict in cells, its centre relative to the corner of the assigned cell.
        anchor_wh: (P, 2), the anchor's size in cells.
        class_ids: (P,) int64.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    boxes_cxcywh: Tensor
    anchor_wh: Tensor
    class_ids: Tensor

    def __len__(self) -> int:
        return len(self.image)


def assign(
    targets: Targets, anchors: Tensor, grids: Sequence[tuple[int, int]], anchor_threshold: float
) -> list[Assignment]:
    """Return each level's positives.

    Args:
        targets: the labelled boxes of the batch.
        anchors: (levels, A, 2) widths and heights in cells of their level.
        grids: (ny, nx) of each level.
        anchor_threshold: an anchor is a candidate when max(w/aw, aw/w, h/ah, ah/h) is below this.
    """
    return [
        _assign_level(targets, level_anchors, grid, anchor_threshold)
        for level_anchors, grid in zip(anchors, grids, strict=True)
    ]


def _assign_level(targets: Targets, anchors: Tensor, grid: tuple[int, int], threshold: float) -> Assignment:
    ny, nx = grid
    boxes = targets.boxes_cxcywh.to(anchors.dtype) * anchors.new_tensor((nx, ny, nx, ny))  # (T, 4) in cells
    ratio = boxes[None, :, 2:] / anchors[:, None, :]  # (A, T, 2)
    candidate = torch.maximum(ratio, 1 / ratio).amax(dim=-1) < threshold
    anchor, target = candidate.nonzero(as_tuple=True)  # in the order of anchor, then target

    chosen, cells = _cells(boxes[target, :2], grid)
    anchor, target = anchor[chosen], target[chosen]
    return Assignment(
        image=targets.image_index[target],
        anchor=anchor,
        row=cells[:, 1],
        column=cells[:, 0],
        boxes_cxcywh=torch.cat((boxes[target, :2] - cells, boxes[target, 2:]), dim=1),
        anchor_wh=anchors[anchor],
        class_ids=targets.class_ids[target],
    )


def _cells(centres: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return which of the (C, 2) ``centres`` each assignment is for, (P,), and its (column, row), (P, 2)."""
    ny, nx = grid
    size = centres.new_tensor((nx, ny))
    from_far_edge = size - centres
    left_up = (centres % 1 < 0.5) & (centres > 1)
    right_down = (from_far_edge % 1 < 0.5) & (from_far_edge > 1)
    own = torch.ones_like(left_up[:, :1])
    block, chosen = torch.cat((own, left_up, right_down), dim=1).T.nonzero(as_tuple=True)

    # A neighbour is the cell that holds the centre moved by half a cell. A centre exactly on a border between cells is
    # near both of them: the far one is then its own cell once more, and never a cell that its prediction cannot reach.
    moves = centres.new_tensor(((0, 0), (-0.5, 0), (0, -0.5), (0.5, 0), (0, 0.5)))
    cells = (centres[chosen] + moves[block]).floor().clamp(min=0)
    return chosen, torch.minimum(cells, size - 1).long()
