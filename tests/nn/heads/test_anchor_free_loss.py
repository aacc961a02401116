"""The losses of anchor-free heads against slow forms and by gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from regard.config import LossSettings
from regard.nn.heads import AnchorFreeHead, LossContext, V10Head, total_loss
from regard.nn.heads.anchor_free_loss import (
    boxes_in_cells,
    distribution_loss,
    expected_distances,
    make_grid,
)
from regard.types import Targets

NONE = Targets(torch.empty(0).long(), torch.empty(0).long(), torch.empty(0, 4))


def context(**options: object) -> LossContext:
    return LossContext(LossSettings(), 64, **options)  # type: ignore[arg-type]


def head_of(reg_max: int = 16, end2end: bool = False) -> AnchorFreeHead:
    return AnchorFreeHead([8, 16], 3, reg_max, end2end, hidden_classes=5, strides=(8, 16)).double()


def features(images: int = 2) -> list[Tensor]:
    return [torch.randn(images, 8, 5, 7).double(), torch.randn(images, 16, 3, 4).double()]


def some_targets(images: int, boxes: int) -> Targets:
    sizes = torch.cat((torch.rand(boxes, 2) * 0.6 + 0.2, torch.rand(boxes, 2) * 0.4 + 0.1), 1)
    return Targets(torch.randint(images, (boxes,)), torch.randint(3, (boxes,)), sizes)


def test_distances_are_expected_bins() -> None:
    bins = torch.full((1, 4 * 5), -100.0)
    for side, bin_ in enumerate((0, 2, 3, 4)):
        bins[0, side * 5 + bin_] = 100.0
    assert expected_distances(bins)[0].tolist() == pytest.approx([0, 2, 3, 4])
    assert expected_distances(torch.tensor([[1.5, -2.0, 3.0, 0.0]])).tolist() == [[1.5, -2.0, 3.0, 0.0]]


def test_distribution_loss_is_cross_entropy_of_both_neighbouring_bins() -> None:
    bins = torch.randn(3, 4 * 7).double()
    distances = torch.tensor([[0.25, 3.0, 5.9, 99.0], [-1.0, 2.5, 4.75, 1.0], [0.0, 6.0, 5.99, 3.3]]).double()
    for row in range(3):
        slow = 0.0
        for side in range(4):
            logits = bins[row, side * 7 : side * 7 + 7]
            d = min(max(float(distances[row, side]), 0.0), 5.99)
            j = math.floor(d)
            slow -= (j + 1 - d) * float(logits.log_softmax(0)[j]) + (d - j) * float(logits.log_softmax(0)[j + 1])
        assert float(distribution_loss(bins, distances)[row]) == pytest.approx(slow / 4)
    assert torch.autograd.gradcheck(lambda b: distribution_loss(b, distances), bins.requires_grad_())


def test_cells_are_read_level_by_level_and_row_by_row() -> None:
    grid = make_grid([torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 2)], (8, 16))
    assert grid.points.tolist() == [
        *[[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [0.5, 1.5], [1.5, 1.5], [2.5, 1.5]],
        *[[0.5, 0.5], [1.5, 0.5]],
    ]
    assert grid.strides.flatten().tolist() == [8] * 6 + [16] * 2
    assert grid.size == (16, 24)
    corners = boxes_in_cells(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[0.5, 1.5]]))
    assert corners.tolist() == [[-0.5, -0.5, 3.5, 5.5]]


@pytest.mark.parametrize("reg_max", [16, 1])
def test_gradients_are_those_of_the_values(reg_max: int) -> None:
    head, targets = head_of(reg_max), some_targets(2, 5)
    levels = [x.detach().requires_grad_() for x in head.levels(features())]

    def total(*raw: Tensor) -> Tensor:
        return total_loss(head.criterion(raw, targets, context()), 2)

    # The assignment, its scores and CIoU's alpha are detached, so only the class logits of a fixed assignment and the
    # distribution are checked here; CIoU has its own check.
    found = head.criterion(levels, targets, context())
    assert set(found) == {"box", "cls", "dfl"}
    assert all(torch.isfinite(v) for v in found.values())
    total(*levels).backward()
    assert all(x.grad is not None and torch.isfinite(x.grad).all() for x in levels)


@pytest.mark.parametrize("head", [head_of(), head_of(1, True), V10Head([8, 16], 3, 5, strides=(8, 16)).double()])
def test_a_batch_without_boxes_reaches_every_parameter(head: AnchorFreeHead) -> None:
    head.train()
    total_loss(head.criterion(head(features()), NONE, context()), 2).backward()
    assert all(p.grad is not None for p in head.parameters() if p.requires_grad)
    assert head.criterion(head(features()), NONE, context())["box"].item() == 0


def test_two_processes_compute_what_one_computes() -> None:
    head, targets = head_of().eval(), some_targets(4, 9)
    maps = features(4)
    whole = head.criterion(head.levels(maps), targets, context())
    halves = []
    sums: list[Tensor] = []
    for part in (0, 1):
        own = (targets.image_index // 2) == part
        mine = Targets(targets.image_index[own] % 2, targets.class_ids[own], targets.boxes_cxcywh[own])
        halves.append(([x[2 * part : 2 * part + 2] for x in maps], mine))
    for maps_, mine in halves:
        head.criterion(head.levels(maps_), mine, context(sum_over_processes=lambda t: sums.append(t) or t))  # type: ignore[func-returns-value]
    both = torch.stack(sums).sum(0)
    parts = [head.criterion(head.levels(m), t, context(sum_over_processes=lambda _: both)) for m, t in halves]
    for name, value in whole.items():
        assert ((parts[0][name] + parts[1][name]) / 2).item() == pytest.approx(value.item())


def test_the_second_branch_trains_only_itself_and_takes_over() -> None:
    head = head_of(1, True).train()
    maps = [x.requires_grad_() for x in features()]
    raw = head(maps)
    assert len(raw) == 4
    sum(x.sum() for x in raw[2:]).backward()
    assert all(x.grad is None for x in maps)
    targets = some_targets(2, 7)
    at = [head.criterion(raw, targets, context(progress=p))["cls"] for p in (0.0, 0.5, 1.0)]
    assert (at[0] + at[2]).item() == pytest.approx(2 * at[1].item())  # linear in the progress
    head.eval()
    many = head.levels(maps)
    head.one_to_one = True
    assert len(head.levels(maps)) == 2
    assert torch.equal(many[0], head.levels(maps)[0])


def test_class_weights_multiply_the_terms_of_their_class() -> None:
    head, targets, maps = head_of().eval(), some_targets(2, 7), features()
    levels = head.levels(maps)
    parts = [
        head.criterion(levels, targets, context(class_weights=[float(i == c) for i in range(3)]))["cls"]
        for c in range(3)
    ]
    assert sum(p.item() for p in parts) == pytest.approx(head.criterion(levels, targets, context())["cls"].item())


def test_boxes_and_scores_are_decoded_by_hand() -> None:
    head = head_of(3).eval()
    levels = head.levels(features(1))
    found = head.decode(levels)
    row, column, level = 2, 3, 0
    bins = levels[level][0, :12, row, column].view(4, 3).softmax(1) @ torch.arange(3.0).double()
    left, top, right, bottom = bins.tolist()
    width, height = left + right, top + bottom
    centre = ((column + 0.5 + (right - left) / 2) * 8, (row + 0.5 + (bottom - top) / 2) * 8)
    at = row * 7 + column
    assert found.boxes[0, at].tolist() == pytest.approx([*centre, width * 8, height * 8])
    assert torch.equal(found.scores[0, at], levels[level][0, 12:, row, column].sigmoid())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_outputs_in_half_precision_are_computed_in_float32(dtype: torch.dtype) -> None:
    head, targets = head_of(1, True).train(), some_targets(2, 7)
    low = [level.to(dtype) for level in head.levels(features())]
    found = head.criterion(low, targets, context(class_weights=[0.3, 1.1, 1.6]))
    exact = head.criterion([level.float() for level in low], targets, context(class_weights=[0.3, 1.1, 1.6]))
    assert all(value.dtype == torch.float32 and torch.equal(value, exact[name]) for name, value in found.items())
