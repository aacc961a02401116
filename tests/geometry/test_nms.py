"""Suppression against a slow plain-Python reference, and each setting by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms

from regard.config import EVALUATE, DetectSettings
from regard.geometry import nms
from regard.geometry.nms import greedy

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


def _row(x1: float, y1: float, x2: float, y2: float, *scores: float) -> list[float]:
    return [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, *scores]


def suppress(decoded: Tensor, settings: DetectSettings) -> list[Tensor]:
    return [torch.from_numpy(nms.suppress(rows.float().numpy(), settings)) for rows in decoded]


def _iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def _reference(rows: Tensor, settings: DetectSettings) -> list[list[float]]:
    """The definition, one box at a time."""
    candidates = []
    for row in rows:
        cx, cy, w, h = row[:4].tolist()
        scores = row[4:].tolist()
        for class_id, score in enumerate(scores):
            if score > settings.conf and (settings.multi_label or score == max(scores)):
                candidates.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, score, class_id])
    if settings.classes:
        candidates = [c for c in candidates if c[5] in settings.classes]
    kept: list[list[float]] = []
    for box in sorted(candidates, key=lambda c: -c[4]):
        rivals = [k for k in kept if settings.agnostic_nms or k[5] == box[5]]
        if all(_iou(k, box) <= settings.iou for k in rivals):
            kept.append(box)
    return kept[: settings.max_det]


@pytest.mark.parametrize(
    "settings",
    [
        DetectSettings(conf=0.2),
        DetectSettings(conf=0.1, iou=0.7, agnostic_nms=True),
        DetectSettings(conf=0.05, multi_label=True, max_det=17),
        DetectSettings(conf=0.1, multi_label=True, classes=(1, 4)),
        EVALUATE,
    ],
)
def test_equals_the_slow_reference(settings: DetectSettings) -> None:
    corners = torch.randint(0, 96, (3, 131, 2)).float()
    sizes = 2 * torch.randint(3, 20, (3, 131, 2)).float()  # whole pixels, so that no overlap is decided by rounding
    decoded = torch.cat([corners, sizes, torch.rand(3, 131, 5) * torch.rand(3, 131, 1)], dim=2)
    for found, rows in zip(suppress(decoded, settings), decoded, strict=True):
        expected = torch.tensor(_reference(rows, settings))
        assert len(expected) > 5
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_best_class_only_then_class_filter() -> None:
    decoded = torch.tensor([[_row(10, 10, 30, 30, 0.72, 0.54)]])
    assert len(suppress(decoded, DetectSettings(conf=0.1))[0]) == 1
    assert len(suppress(decoded, DetectSettings(conf=0.1, multi_label=True))[0]) == 2
    assert len(suppress(decoded, DetectSettings(conf=0.1, classes=(1,)))[0]) == 0


def test_classes_stay_apart_at_negative_coordinates() -> None:
    decoded = torch.tensor([[_row(600, 600, 640, 640, 0.9, 0), _row(-41, -41, -1, -1, 0, 0.8)]])
    assert len(suppress(decoded, DetectSettings())[0]) == 2


def test_agnostic_suppresses_across_classes() -> None:
    decoded = torch.tensor([[_row(0, 0, 40, 40, 0.9, 0), _row(1, 0, 41, 40, 0, 0.8)]])
    assert len(suppress(decoded, DetectSettings())[0]) == 2
    (found,) = suppress(decoded, DetectSettings(agnostic_nms=True))
    assert found[:, 5].tolist() == [0]


def test_only_the_best_candidates_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nms, "MAX_CANDIDATES", 3)
    rows = [_row(50 * i, 0, 50 * i + 20, 20, 0.3 + 0.1 * i) for i in range(7)]
    (found,) = suppress(torch.tensor([rows]), DetectSettings())
    assert found[:, 0].tolist() == [300, 250, 200]


def test_of_equal_scores_the_first_enter_and_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nms, "MAX_CANDIDATES", 6)
    scores = [0.5, 0.75, 0.5, 0.25, 0.5, 1.0, 0.75, 0.5, 0.5]
    rows = [_row(50 * i, 0, 50 * i + 20, 20, score) for i, score in enumerate(scores)]
    (found,) = suppress(torch.tensor([rows]), DetectSettings(conf=0.1))
    assert (found[:, 0] / 50).tolist() == [5, 1, 6, 0, 2, 4]
    assert found[:, 4].tolist() == [1.0, 0.75, 0.75, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("shape", [(0, 7, 7), (2, 0, 7), (2, 11, 7)])
def test_nothing_found(shape: tuple[int, int, int]) -> None:
    for multi_label in (False, True):
        found = suppress(torch.zeros(shape), DetectSettings(multi_label=multi_label))
        assert [tuple(f.shape) for f in found] == [(0, 6)] * shape[0]


@pytest.mark.parametrize("block", [1, 13, 512])
@pytest.mark.parametrize("iou", [0.0, 0.1, 0.45, 0.6, 0.9, 1.0])
def test_boxes_out_of_reach_are_left_out_of_the_comparison_and_nothing_else(
    iou: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nms, "BLOCK", block)
    rng = np.random.default_rng(7)
    for count in (1, 2, 53, 211):
        low = rng.uniform(0, 100, (count, 2))
        sides = np.exp(rng.uniform(-1, 4.5, (count, 2)))  # from slivers to boxes that hold all others
        boxes = np.concatenate([low, low + sides], axis=1).astype(np.float32)
        groups = rng.integers(0, 3, count)
        expected = batched_nms(*map(torch.from_numpy, (boxes, -np.arange(count, dtype=np.float32), groups)), iou)
        np.testing.assert_array_equal(greedy(boxes, groups, iou, count), expected.numpy())
        np.testing.assert_array_equal(greedy(boxes, groups, iou, 17), expected[:17].numpy())


def test_no_box_is_no_trouble() -> None:
    assert len(greedy(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), 0.5, 10)) == 0


def _crowd(objects: int, *, in_a_column: bool) -> tuple[Floats, Indices]:
    """Ten boxes on each object; the objects share one image, so they shrink as they grow in number."""
    rng = np.random.default_rng(0)
    side = np.array([64, 640 / objects] if in_a_column else [640 / objects**0.5] * 2)
    extent = (20, 640) if in_a_column else (640, 640)
    low = np.repeat(rng.uniform(0, extent, (objects, 2)), 10, axis=0) + rng.normal(0, side / 20, (10 * objects, 2))
    boxes = np.concatenate([low, low + side * np.repeat(rng.uniform(0.5, 1.2, (objects, 2)), 10, axis=0)], axis=1)
    return rng.permutation(boxes).astype(np.float32), np.zeros(10 * objects, np.int64)


@pytest.mark.parametrize("in_a_column", [False, True])
def test_the_cost_grows_with_the_objects_not_with_their_square(
    monkeypatch: pytest.MonkeyPatch, in_a_column: bool
) -> None:
    compared: list[int] = []
    overlapping = nms._overlapping

    def counting(columns: Floats, iou: float, these: Indices, those: Indices) -> tuple[Indices, Indices]:
        compared.append(len(these))
        return overlapping(columns, iou, these, those)

    monkeypatch.setattr(nms, "_overlapping", counting)
    counts = {}
    for objects in (500, 2000):
        compared.clear()
        kept = greedy(*_crowd(objects, in_a_column=in_a_column), 0.45, 10_000)
        counts[objects] = sum(compared)
        assert len(kept) > 0.7 * objects  # no limit dropped any
    assert counts[2000] / counts[500] < 4 * 1.2
    assert counts[2000] < 60 * 2000
