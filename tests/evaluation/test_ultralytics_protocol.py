"""mAP by Ultralytics' rules: against published numbers, and against slow forms of the rules that these do not reach."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from regard.data.dataset import Sample
from regard.data.images import ImageFile
from regard.evaluation.matching import IOUS, match
from regard.evaluation.metrics import score
from regard.evaluation.ultralytics import linear_ap, precision_recall, smooth, ultralytics_metrics
from regard.types import Detections

SIZE = (640, 640)


def detections_of(rows: np.ndarray) -> Detections:
    return Detections(
        boxes_xyxy=rows[:, :4].astype(np.float32),
        scores=rows[:, 4].astype(np.float32),
        class_ids=rows[:, 5].astype(np.int64),
        names={i: str(i) for i in range(80)},
        image_size=SIZE,
    )


def sample_of(rows: np.ndarray, crowd: np.ndarray | None = None) -> Sample:
    low, high = rows[:, :2] / SIZE[0], rows[:, 2:4] / SIZE[0]
    boxes = np.concatenate(((low + high) / 2, high - low), axis=1)
    return Sample(ImageFile(Path("none.jpg")), boxes, rows[:, 4].astype(np.int64), 0, crowd=crowd)


def test_ap_precision_and_recall_are_the_published_ones(shared: Path) -> None:
    published = json.loads((shared / "reference" / "anchor-free" / "average_precision.json").read_text())
    found = [detections_of(np.array(image["detections"]).reshape(-1, 6)) for image in published["images"]]
    records = [sample_of(np.array(image["truth"]).reshape(-1, 5)) for image in published["images"]]
    measured = ultralytics_metrics(found, records, 80)
    assert measured.map50 == pytest.approx(published["map50"], abs=5e-6)
    assert measured.map == pytest.approx(published["map50_95"], abs=5e-6)
    assert measured.precision == pytest.approx(published["mean_precision"], abs=5e-6)
    assert measured.recall == pytest.approx(published["mean_recall"], abs=5e-6)
    for class_id, ap in zip(published["classes"], published["ap"], strict=True):
        assert measured.class_map[class_id] == pytest.approx(np.mean(ap), abs=5e-6)
        assert measured.class_map50[class_id] == pytest.approx(ap[0], abs=5e-6)
    assert np.isnan(measured.class_map).sum() == 80 - len(published["classes"])
    coco = score(found, records, [str(i) for i in range(80)])
    assert abs(coco.ap - measured.map) > 1e-3  # another protocol
    assert coco.ultralytics is None


def test_matches_are_the_published_ones(shared: Path) -> None:
    cases = json.loads((shared / "reference" / "anchor-free" / "matching.json").read_text())["cases"]
    for case in cases:
        iou = np.array(case["iou"], np.float32).astype(np.float64).T  # ours has a row for each detection
        taken = match(iou, np.zeros(iou.shape[1], dtype=bool), IOUS.astype(np.float32).astype(np.float64))
        np.testing.assert_array_equal((taken >= 0).T, np.array(case["matched"], dtype=bool))


def slow_linear_ap(correct: list[bool], labels: int) -> float:
    points = [(0.0, 1.0)]
    right = 0
    for count, hit in enumerate(correct, 1):
        right += hit
        points.append((right / labels, right / count))
    points += [(points[-1][0], 0.0), (1.0, 0.0)]
    envelope = [max(p for _, p in points[i:]) for i in range(len(points))]
    heights = np.interp(np.arange(101) / 100, [r for r, _ in points], envelope)
    return sum((a + b) / 2 / 100 for a, b in pairwise(heights))


@pytest.mark.parametrize("count", [1, 2, 7, 31])
def test_linear_ap_is_the_area_under_the_envelope(count: int) -> None:
    correct = np.random.default_rng(count).random((3, count)) < 0.6
    found = linear_ap(correct, count)
    assert found.tolist() == pytest.approx([slow_linear_ap(row.tolist(), count) for row in correct])


def test_precision_and_recall_between_and_beyond_the_scores() -> None:
    precision, recall = precision_recall(np.array([True, False]), np.array([0.8, 0.4], np.float32), 2)
    at = {score: round(score * 999) for score in (0.9, 0.6, 0.1)}
    assert (precision[at[0.9]], recall[at[0.9]]) == (1, 0)
    assert precision[at[0.6]] == pytest.approx(0.75, abs=1e-3)
    assert (precision[at[0.1]], recall[at[0.1]]) == (0.5, 0.5)


def test_smoothing_repeats_the_ends() -> None:
    values = np.arange(1000.0)
    slow = [np.mean([values[min(max(j, 0), 999)] for j in range(i - 50, i + 51)]) for i in range(1000)]
    np.testing.assert_allclose(smooth(values), slow)


def test_more_than_a_hundred_detections_count_and_crowds_are_unknown() -> None:
    rows = np.array([[10 * i, 0, 10 * i + 9, 9, 1 - i / 1000, 0] for i in range(60)] * 2, np.float64)
    rows[60:, [1, 3]] += 20
    truth = np.delete(rows, 4, axis=1)
    crowd = np.arange(120) == 119
    found, record = [detections_of(rows)], [sample_of(truth, crowd)]
    measured = ultralytics_metrics(found, record, 1)
    assert measured.class_map50 == (pytest.approx(0.995, abs=1e-3),)
    assert score(found, record, ["a"]).ap50 < 0.9


def test_without_labels_nothing_is_known_and_the_result_can_be_written() -> None:
    none = [detections_of(np.zeros((0, 6)))]
    unlabelled = score(none, [sample_of(np.zeros((0, 5)))], ["a"], by_ultralytics=True)
    assert unlabelled.to_dict()["ultralytics"]["map"] is None
    missed = score(none, [sample_of(np.array([[1.0, 2, 30, 40, 0]]))], ["a"], by_ultralytics=True)
    assert missed.to_dict()["ultralytics"]["class_map"] == [0.0]
    assert missed.ultralytics is not None
    assert (missed.ultralytics.precision, missed.ultralytics.recall) == (0, 0)
