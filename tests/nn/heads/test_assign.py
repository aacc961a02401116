from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.nn.heads.yolov5_loss import Assignment, assign
from regard.types import Targets

STOCK = torch.tensor([10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326.0]).view(3, 3, 2)
STOCK_IN_CELLS = STOCK / torch.tensor([8.0, 16.0, 32.0]).view(3, 1, 1)


def random_targets(n: int, images: int = 3, classes: int = 5) -> Targets:
    """Boxes of all sizes; every fifth one has its centre on a border of a tenth."""
    boxes = torch.cat((torch.rand(n, 2), torch.rand(n, 2) ** 3 + 0.01), 1)
    boxes[::5, :2] = (boxes[::5, :2] * 10).round() / 10
    return Targets(torch.randint(images, (n,)), torch.randint(classes, (n,)), boxes)


Row = tuple[int, int, int, int, list[float], list[float], int]


def slow_assign(targets: Targets, anchors: Tensor, grid: tuple[int, int], threshold: float) -> list[Row]:
    """The rule of the facts page, box by box."""
    ny, nx = grid
    rows: list[Row] = []
    for dx, dy in ((0, 0), (-0.5, 0), (0, -0.5), (0.5, 0), (0, 0.5)):
        for index, (aw, ah) in enumerate(anchors.tolist()):
            for image, class_id, box in zip(
                targets.image_index.tolist(), targets.class_ids.tolist(), targets.boxes_cxcywh, strict=True
            ):
                x, y, w, h = (box * torch.tensor([nx, ny, nx, ny])).tolist()
                if max(w / aw, aw / w, h / ah, ah / h) >= threshold:
                    continue
                along, size = (x, nx) if dx else (y, ny)
                from_edge = along if dx + dy < 0 else size - along
                if (dx or dy) and not (from_edge % 1 < 0.5 and from_edge > 1):
                    continue
                column, row = min(math.floor(x + dx), nx - 1), min(math.floor(y + dy), ny - 1)
                rows.append((image, index, row, column, [x - column, y - row, w, h], [aw, ah], class_id))
    return rows


def as_rows(positives: Assignment) -> list[Row]:
    p = positives
    columns = (p.image, p.anchor, p.row, p.column, p.boxes_cxcywh, p.anchor_wh, p.class_ids)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_against_plain_python_in_the_same_order() -> None:
    targets = random_targets(47)
    anchors, grids = torch.rand(2, 3, 2) * 3 + 0.5, ((7, 11), (5, 3))
    found = assign(targets, anchors, grids, 4.0)
    for positives, level_anchors, grid in zip(found, anchors, grids, strict=True):
        expected = slow_assign(targets, level_anchors, grid, 4.0)
        assert len(positives) == len(expected) > 47
        for got, want in zip(as_rows(positives), expected, strict=True):
            assert got[:4] == want[:4]
            assert got[6] == want[6]
            assert got[4] == pytest.approx(want[4], abs=1e-5)
            assert got[5] == want[5]


def test_by_hand() -> None:
    # centre (2.25, 3.75) cells of a grid 7 high and 5 wide: its own cell, the left one and the lower one
    targets = Targets(torch.tensor([1]), torch.tensor([4]), torch.tensor([[2.25 / 5, 3.75 / 7, 2 / 5, 3 / 7]]))
    (positives,) = assign(targets, torch.tensor([[[9.0, 3.0], [2.0, 3.0]]]), [(7, 5)], 4.0)
    cells = list(zip(positives.anchor.tolist(), positives.row.tolist(), positives.column.tolist(), strict=True))
    assert cells == [(1, 3, 2), (1, 3, 1), (1, 4, 2)]  # 9 / 2 is too far from the first anchor
    expected = torch.tensor([[0.25, 0.75, 2, 3], [1.25, 0.75, 2, 3], [0.25, -0.25, 2, 3]])
    torch.testing.assert_close(positives.boxes_cxcywh, expected)
    assert positives.image.tolist() == [1, 1, 1]
    assert positives.class_ids.tolist() == [4, 4, 4]


@pytest.mark.parametrize(("corner", "row", "column"), [((0.0, 0.0), 0, 0), ((1.0, 1.0), 6, 4)])
def test_a_centre_on_the_image_border_stays_inside(corner: tuple[float, float], row: int, column: int) -> None:
    targets = Targets(torch.tensor([0]), torch.tensor([0]), torch.tensor([[*corner, 0.4, 0.4]]))
    (positives,) = assign(targets, torch.tensor([[[2.0, 3.0]]]), [(7, 5)], 4.0)
    assert (positives.row[0], positives.column[0]) == (row, column)
    assert (positives.row >= 0).all()
    assert (positives.row < 7).all()
    assert (positives.column >= 0).all()
    assert (positives.column < 5).all()


def test_every_centre_can_be_predicted() -> None:
    for positives in assign(random_targets(211), torch.ones(2, 3, 2), [(7, 11), (5, 3)], 4.0):
        assert (positives.boxes_cxcywh[:, :2] >= -0.5).all()
        assert (positives.boxes_cxcywh[:, :2] <= 1.5).all()


def test_a_ratio_at_the_threshold_is_no_candidate() -> None:
    targets = Targets(torch.tensor([0]), torch.tensor([0]), torch.tensor([[0.3, 0.3, 0.5, 0.5]]))
    (positives,) = assign(targets, torch.tensor([[[1.0, 4.0], [1.001, 4.0]]]), [(8, 8)], 4.0)
    assert set(positives.anchor.tolist()) == {1}


def test_without_targets_and_with_boxes_of_no_area() -> None:
    empty = Targets(torch.empty(0).long(), torch.empty(0).long(), torch.empty(0, 4))
    flat = Targets(torch.tensor([0]), torch.tensor([0]), torch.tensor([[0.5, 0.5, 0.2, 0.0]]))
    for targets in (empty, flat):
        for positives in assign(targets, STOCK_IN_CELLS, [(7, 11), (5, 3), (3, 2)], 4.0):
            assert len(positives) == 0
            assert positives.boxes_cxcywh.shape == (0, 4)
            assert positives.anchor_wh.shape == (0, 2)


def test_a_thousand_objects_an_image() -> None:
    for positives in assign(random_targets(4000, images=4), STOCK_IN_CELLS, [(80, 80), (40, 40), (20, 20)], 4.0):
        assert 0 < len(positives) <= 4000 * 3 * 5


@pytest.mark.parametrize(
    ("size", "counts", "sharing"), [(320, [3, 39, 54], [0, 0, 2]), (640, [636, 675, 316], [38, 59, 33])]
)
def test_positives_of_the_reference(shared: Path, size: int, counts: list[int], sharing: list[int]) -> None:
    rows = torch.from_numpy(np.load(shared / "reference" / f"loss_{size}.npz")["targets"])
    targets = Targets(rows[:, 0].long(), rows[:, 1].long(), rows[:, 2:])
    found = assign(targets, STOCK_IN_CELLS, [(size // stride, size // stride) for stride in (8, 16, 32)], 4.0)
    assert [len(p) for p in found] == counts
    cells = [set(zip(*(c.tolist() for c in (p.image, p.anchor, p.row, p.column)), strict=True)) for p in found]
    assert [len(p) - len(c) for p, c in zip(found, cells, strict=True)] == sharing
