"""The losses of every family, their gradients and assignments against published numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.api import load
from regard.config import LossSettings
from regard.geometry.boxes import cxcywh_to_xyxy
from regard.graph.detector import Detector
from regard.nn.heads import AnchorFreeHead, LossContext, total_loss
from regard.nn.heads.anchor_free_loss import (
    KEEP_ONE_TO_ONE,
    TOPK_ONE_TO_ONE,
    Branch,
    anchor_free_losses,
    boxes_in_cells,
    expected_distances,
    flatten_levels,
    make_grid,
)
from regard.nn.heads.task_aligned import assign, least_side
from regard.types import Targets

FAMILIES = ("yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n")
BRANCHES = ("one_to_many", "one_to_one")
families = pytest.mark.parametrize(
    "family", [pytest.param(f, marks=[] if f == "yolo26n" else pytest.mark.slow) for f in FAMILIES]
)
FAST, SLOW = (), (pytest.mark.slow,)
CASES = {
    ("loss_320", "eval_bn_class_weights"): FAST,
    ("loss_320", "eval_bn"): SLOW,
    ("loss_320", "train_bn"): FAST,
    ("raw_320", "eval_bn"): SLOW,
    ("raw_320", "train_bn"): FAST,
    ("loss_640", "eval_bn"): SLOW,
    ("loss_640", "train_bn"): SLOW,
}
"""Batches, and modes of batch norm."""


@cache
def opened(file: Path) -> Detector:
    return load(file)


def detector_of(shared: Path, family: str, mode: str) -> Detector:
    """In training mode, batch norm perhaps in evaluation; its statistics are restored by loading."""
    kept = opened(shared / "reference" / "anchor-free" / family / f"{family}.pt")
    detector = load(shared / "reference" / "anchor-free" / family / f"{family}.pt") if mode == "train_bn" else kept
    detector.train().zero_grad()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(mode == "train_bn")
    return detector


def batch_of(shared: Path, name: str) -> tuple[Tensor, Targets]:
    folder = shared / "reference"
    content = np.load(folder / f"{name}.npz" if name == "loss_640" else folder / f"anchor-free/batches/{name}.npz")
    images = content["batch_uint8"] if "batch_uint8" in content else content["input_uint8"][None]
    rows = torch.from_numpy(content["targets"])
    return torch.from_numpy(images).float() / 255, Targets(rows[:, 0].long(), rows[:, 1].long(), rows[:, 2:])


def branches_of(head: AnchorFreeHead, levels: Sequence[Tensor]) -> list[Branch]:
    found = [Branch(*flatten_levels(levels[:3], head.nc))]
    if head.end2end:
        found.append(Branch(*flatten_levels(levels[3:], head.nc), TOPK_ONE_TO_ONE, KEEP_ONE_TO_ONE))
    return found


def positives(head: AnchorFreeHead, branch: Branch, levels: Sequence[Tensor], targets: Targets) -> Tensor:
    """Rows of image, anchor, target within the image, class and score of one branch, by image and anchor."""
    grid = make_grid(levels[:3], head.strides)
    size, rows = branch.bins.new_tensor(grid.size), []
    for image in range(len(branch.bins)):
        own = targets.image_index == image
        classes = targets.class_ids[own]
        found = assign(
            branch.logits[image].sigmoid(),
            boxes_in_cells(expected_distances(branch.bins[image]), grid.points) * grid.strides,
            grid.points * grid.strides,
            cxcywh_to_xyxy(targets.boxes_cxcywh[own] * size.flip(0).repeat(2)),
            classes,
            least_side=least_side(head.strides),
            topk=branch.topk,
            keep=branch.keep,
        )
        columns = (torch.full_like(found.anchor, image), found.anchor, found.target, classes[found.target], found.score)
        rows.append(torch.stack([column.double() for column in columns], 1)[found.anchor.argsort()])
    return torch.cat(rows)


@families
@pytest.mark.parametrize(("batch", "mode"), [pytest.param(*case, marks=marks) for case, marks in CASES.items()])
def test_losses_and_gradient_norms_are_the_published_ones(shared: Path, family: str, batch: str, mode: str) -> None:
    wanted = published(shared, family)[batch][mode]
    images, targets = batch_of(shared, batch)
    detector = detector_of(shared, family, mode)
    head = detector.head
    assert isinstance(head, AnchorFreeHead)
    levels = detector(images)
    weights = [0.5 + c / 79 for c in range(80)] if "class_weights" in mode else None
    context = LossContext(LossSettings(), 640, class_weights=weights)

    branches = branches_of(head, levels)
    parts = anchor_free_losses(branches, make_grid(levels[:3], head.strides), head.strides, targets, context)
    for name, found in zip(BRANCHES, parts, strict=False):
        assert [v.item() for v in found.values()] == pytest.approx(wanted[name]["parts_after_gains"], rel=4e-5)

    total = total_loss(head.criterion(levels, targets, context), len(images))
    assert float(total.detach()) == pytest.approx(wanted["total"], rel=4e-5)
    if "grad_norm" in wanted:
        total.backward()
        norm = sum(float(p.grad.double().square().sum()) for p in detector.parameters() if p.grad is not None) ** 0.5
        assert norm == pytest.approx(wanted["grad_norm"], rel=2e-5)
        for name, value in wanted["grad_norm_of"].items():
            gradient = detector.get_parameter(name).grad
            assert gradient is not None
            assert float(gradient.double().norm()) == pytest.approx(value, rel=1e-4)


@families
@pytest.mark.parametrize(
    ("batch", "mode"),
    [
        pytest.param(*case, marks=() if case == ("raw_320", "eval_bn") else SLOW)
        for case in CASES
        if "class" not in case[1]
    ],
)
@torch.no_grad()
def test_positives_are_the_published_ones(shared: Path, family: str, batch: str, mode: str) -> None:
    wanted = published(shared, family)[batch][mode]
    anchors = np.load(shared / "reference" / "anchor-free" / family / "loss_assignment.npz")
    images, targets = batch_of(shared, batch)
    detector = detector_of(shared, family, mode)
    head = detector.head
    assert isinstance(head, AnchorFreeHead)
    levels = detector(images)
    ends = torch.tensor([level[0, 0].numel() for level in levels[:3]]).cumsum(0)
    for name, branch in zip(BRANCHES, branches_of(head, levels), strict=False):
        rows = positives(head, branch, levels, targets)
        level = torch.bucketize(rows[:, 1].contiguous(), ends, right=True)
        assert level.bincount(minlength=3).tolist() == wanted[name]["positives_per_level"]
        assert float(rows[:, 4].sum()) == pytest.approx(wanted[name]["sum_of_target_scores"], rel=2e-5)
        if mode == "eval_bn":
            file = torch.from_numpy(anchors[f"{batch}_{name}_positive"]).double()
            order = np.lexsort((file[:, 1].numpy(), file[:, 0].numpy()))
            assert torch.equal(rows[:, :4], file[order])
            scores = torch.from_numpy(anchors[f"{batch}_{name}_target_score"])[order]
            assert torch.allclose(rows[:, 4].float(), scores, rtol=1e-3, atol=1e-6)


@cache
def published(shared: Path, family: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared / "reference/anchor-free" / family / "loss.json").read_text())["results"]
    return found
