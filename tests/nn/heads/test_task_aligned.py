"""The assignment against a slow form of the rules, box by box."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.geometry.boxes import xyxy_to_cxcywh
from regard.geometry.iou import ciou
from regard.nn.heads.task_aligned import assign, least_side

STRIDES = (8, 16, 32)


def cells(height: int = 96, width: int = 160) -> tuple[Tensor, Tensor]:
    """Anchor points in pixels and strides of all levels of an image."""
    points, strides = [], []
    for stride in STRIDES:
        for y in range(height // stride):
            for x in range(width // stride):
                points.append([(x + 0.5) * stride, (y + 0.5) * stride])
                strides.append(stride)
    return torch.tensor(points).double(), torch.tensor(strides).double()


def slow_assign(
    scores: Tensor, boxes: Tensor, points: Tensor, targets: Tensor, classes: Tensor, topk: int, keep: int | None
) -> dict[int, tuple[int, float]]:
    """Anchor -> target and score, by the rules written out one after another."""
    t: dict[tuple[int, int], float] = {}
    q: dict[tuple[int, int], float] = {}
    for j, (left, top, right, bottom) in enumerate(targets.tolist()):
        cx, cy = (left + right) / 2, (top + bottom) / 2
        if right - left < 16:
            left, right = cx - 8, cx + 8
        if bottom - top < 16:
            top, bottom = cy - 8, cy + 8
        for i, (x, y) in enumerate(points.tolist()):
            if min(x - left, y - top, right - x, bottom - y) > 1e-9:
                overlap = float(ciou(xyxy_to_cxcywh(targets[j : j + 1]), xyxy_to_cxcywh(boxes[i : i + 1])))
                q[j, i] = max(overlap, 0.0)
                t[j, i] = float(scores[i, classes[j]]) ** 0.5 * q[j, i] ** 6
    chosen: dict[int, list[int]] = {}
    fit = torch.zeros(len(targets), len(points)).double()
    for (j, i), value in t.items():
        fit[j, i] = value
    for j in range(len(targets)):
        for i in fit[j].topk(min(topk, len(points))).indices.tolist():  # the choice among zeros is open: the same here
            if (j, i) in t:
                chosen.setdefault(i, []).append(j)
    owner = {}
    for i, takers in chosen.items():
        owner[i] = takers[0]
        if len(takers) > 1:
            owner[i] = max((j for j, k in q if k == i), key=lambda j: (q[j, i], -j))
    if keep is not None:
        for j in range(len(targets)):
            own = sorted((i for i, k in owner.items() if k == j), key=lambda i: -t[j, i])
            for i in own[keep:]:
                del owner[i]
    found = {}
    for i, j in owner.items():
        of_target = [k for k, o in owner.items() if o == j]
        most_t, most_q = max(t[j, k] for k in of_target), max(q[j, k] for k in of_target)
        found[i] = (j, t[j, i] * most_q / (most_t + 1e-9))
    return found


@pytest.mark.parametrize(("topk", "keep"), [(10, None), (7, 1), (3, 2), (500, None)])
@pytest.mark.parametrize("seed", range(5))
def test_assignment_is_that_of_the_rules(topk: int, keep: int | None, seed: int) -> None:
    torch.manual_seed(seed)
    points, strides = cells()
    targets = torch.rand(13, 4).double() * torch.tensor([150.0, 90.0, 60.0, 60.0])
    targets[:, 2:] = targets[:, :2] + targets[:, 2:] + 1  # some far smaller than a cell, many overlapping
    sides = torch.rand(len(points), 4).double() * 4
    boxes = torch.cat((points - sides[:, :2] * strides[:, None], points + sides[:, 2:] * strides[:, None]), 1)
    scores, classes = torch.rand(len(points), 3).double(), torch.randint(3, (13,))

    found = assign(scores, boxes, points, targets, classes, least_side=least_side(STRIDES), topk=topk, keep=keep)

    wanted = slow_assign(scores, boxes, points, targets, classes, topk, keep)
    positive = {i: w for i, w in wanted.items() if w[1] > 0}  # the choice among zeros is open
    rows = zip(found.anchor.tolist(), found.target.tolist(), found.score.tolist(), strict=True)
    own = {i: (j, s) for i, j, s in rows if s > 0}
    assert {i: j for i, (j, _) in own.items()} == {i: j for i, (j, _) in positive.items()}
    assert [own[i][1] for i in own] == pytest.approx([positive[i][1] for i in own], rel=1e-9)


def test_a_contested_prediction_goes_to_the_first_of_equals() -> None:
    points = torch.tensor([[8.0, 8.0]])
    targets = torch.tensor([[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 16.0, 16.0]])
    found = assign(torch.tensor([[0.5, 0.9]]), targets[:1], points, targets, torch.tensor([0, 1]), least_side=16)
    assert found.target.tolist() == [0]


def test_a_prediction_goes_to_the_largest_overlap_even_if_it_suits_another_target_better() -> None:
    points = torch.tensor([[8.0, 8.0]])
    predicted = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    targets = torch.tensor([[0.0, 0.0, 16.0, 15.0], [0.0, 0.0, 16.0, 16.0]])
    scores = torch.tensor([[0.99, 0.01]])  # t prefers the first, q the second
    found = assign(scores, predicted, points, targets, torch.tensor([0, 1]), least_side=8)
    assert found.target.tolist() == [1]


def test_no_targets_assign_nothing() -> None:
    points, _ = cells()
    found = assign(
        torch.rand(len(points), 2),
        torch.rand(len(points), 4),
        points,
        torch.zeros(0, 4),
        torch.zeros(0).long(),
        least_side=16,
    )
    assert not len(found.anchor)
    assert not len(found.score)


def test_short_sides_count_as_long_as_the_second_finest_stride() -> None:
    assert [least_side(s) for s in ((32, 8, 16), (4, 8, 16, 32), (8,))] == [16, 8, 8]
    points = torch.tensor([[8.0, 8.0], [24.0, 8.0]])
    tiny = torch.tensor([[13.0, 7.0, 15.0, 9.0]])  # 6 pixels from the first point
    found = assign(torch.full((2, 1), 0.5), tiny.expand(2, 4), points, tiny, torch.tensor([0]), least_side=16)
    assert found.anchor.tolist() == [0]
