"""Errors one by one: each kind where it was made to occur, and their numbers against a slow count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.data.dataset import Sample
from regard.data.images import ImageFile
from regard.evaluation.error_analysis import find_errors
from regard.geometry.boxes import xyxy_to_cxcywh
from regard.types import Detections

SIZE = (100, 200)


def sample(*labels: tuple[int, tuple[float, float, float, float]], crowd: tuple[bool, ...] = ()) -> Sample:
    boxes = np.array([box for _, box in labels], np.float64).reshape(-1, 4) / [200, 100, 200, 100]
    ids = np.array([class_id for class_id, _ in labels], np.int64)
    return Sample(ImageFile(Path("a.png")), xyxy_to_cxcywh(boxes), ids, 0, crowd=np.array(crowd) if crowd else None)


def found(*rows: tuple[int, float, tuple[float, float, float, float]]) -> Detections:
    boxes = np.array([box for *_, box in rows], np.float32).reshape(-1, 4)
    scores, ids = np.array([row[1] for row in rows]), np.array([row[0] for row in rows])
    return Detections(boxes, scores, ids, {}, SIZE)


BOX = (10, 10, 50, 50)


@pytest.mark.parametrize(
    ("row", "kind", "other", "iou", "missed"),
    [
        ((1, 0.75, BOX), "wrong class", 0, 1, 1),
        ((0, 0.75, (10, 10, 50, 26)), "poorly located", None, 0.4, 1),
        ((1, 0.75, (10, 10, 50, 26)), "wrong class and place", 0, 0.4, 1),
        ((0, 0.75, (110, 10, 150, 50)), "background", None, 0, 1),
    ],
)
def test_kinds(
    row: tuple[int, float, tuple[float, ...]], kind: str, other: int | None, iou: float, missed: int
) -> None:
    errors = find_errors([found(row)], [sample((0, BOX))])  # type: ignore[arg-type]
    wrong = [error for error in errors if error.kind != "missed"]
    assert [(error.kind, error.class_id, error.other, error.badness) for error in wrong] == [
        (kind, row[0], other, 0.75)
    ]
    assert wrong[0].iou == pytest.approx(iou)
    assert len(errors) - len(wrong) == missed


def test_a_second_box_is_a_duplicate_and_the_first_is_right() -> None:
    errors = find_errors([found((0, 0.5, BOX), (0, 0.75, BOX))], [sample((0, BOX))])
    assert [(error.kind, error.score) for error in errors] == [("duplicate", 0.5)]


def test_missed_objects_are_ranked_by_what_was_almost_found_and_by_size() -> None:
    small, large = (10, 60, 20, 70), (100, 10, 190, 90)
    labels = sample((0, BOX), (0, small), (0, large))
    errors = find_errors([found((0, 0.125, BOX))], [labels], conf=0.25)
    assert [error.box_xyxy for error in errors] == [pytest.approx(box) for box in (large, small, BOX)]
    assert [(error.badness, error.score) for error in errors] == [(1, 0), (1, 0), (0.875, 0.125)]


def test_crowds_are_neither_missed_nor_wrong() -> None:
    labels = sample((0, (0, 0, 100, 100)), crowd=(True,))
    assert find_errors([found((0, 0.5, BOX), (1, 0.5, BOX))], [labels]) == []
    assert find_errors([found()], [labels]) == []


def test_the_numbers_add_up() -> None:
    rng = np.random.default_rng(7)

    def boxes(n: int) -> list[tuple[float, float, float, float]]:
        corners = rng.integers(0, 5, (n, 2)) * 15.0
        return [(x, y, x + 10 + 7 * (i % 2), y + 13) for i, (x, y) in enumerate(corners)]

    samples = [sample(*((int(rng.integers(3)), box) for box in boxes(11))) for _ in range(13)]
    detections = [found(*((int(rng.integers(3)), float(rng.random()), box) for box in boxes(17))) for _ in range(13)]
    errors = find_errors(detections, samples, conf=0.3)
    right = sum((d.scores >= 0.3).sum() for d in detections) - sum(error.kind != "missed" for error in errors)
    missed = sum(error.kind == "missed" for error in errors)
    assert right + missed == sum(len(one.class_ids) for one in samples)
    assert missed
    assert right
    assert [error.badness for error in errors] == sorted((error.badness for error in errors), reverse=True)
