"""AP against pycocotools and by hand; precision, recall and confusion by hand; a real detector on coco128."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

import regard
from regard.data.dataset import DetectionDataset, Sample
from regard.data.formats import load_data
from regard.data.validation import ValidationLoader
from regard.evaluation import Metrics, detect, evaluate, save_coco_json, score
from regard.evaluation.coco import ALL_AREAS, coco_evaluate, pixel_boxes
from regard.evaluation.matching import match_classes, overlaps
from regard.types import Detections, LetterboxedBatch, LetterboxTransform

SIZE = (97, 211)


class _NoImage:
    name = "none"

    def read(self) -> NDArray[np.uint8]:
        return np.zeros((*SIZE, 3), np.uint8)


def _record(
    boxes_xyxy: Iterable[Iterable[float]], class_ids: list[int], crowd: list[bool] | None = None, image_id: int = 0
) -> Sample:
    corners = np.array(list(boxes_xyxy), dtype=np.float64).reshape(-1, 4)
    low, high = corners[:, :2], corners[:, 2:]
    fractions = np.concatenate([(low + high) / 2, high - low], axis=1) / (SIZE[1], SIZE[0], SIZE[1], SIZE[0])
    ids = np.array(class_ids, dtype=np.int64)
    return Sample(_NoImage(), fractions, ids, image_id, crowd=None if crowd is None else np.array(crowd, dtype=bool))


def _found(boxes_xyxy: Iterable[Iterable[float]], scores: list[float], class_ids: list[int]) -> Detections:
    boxes = np.array(list(boxes_xyxy), dtype=np.float32).reshape(-1, 4)
    return Detections(boxes, np.array(scores, np.float32), np.array(class_ids, np.int64), image_size=SIZE)


def _random_boxes(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    low = rng.uniform(0, 60, (n, 2))
    return np.concatenate([low, low + rng.uniform(3, 120, (n, 2))], axis=1)


def _random_case(images: int = 23, classes: int = 5) -> tuple[list[Detections], list[Sample]]:
    """Labels, some of them crowds, with noisy copies of them and false alarms as detections."""
    rng = np.random.default_rng(0)
    detections, records = [], []
    for i in range(images):
        n = int(rng.integers(0, 12))
        boxes, ids = _random_boxes(rng, n), rng.integers(0, classes - 1, n)  # the last class has no label
        crowd = (rng.random(n) < 0.15).tolist()
        records.append(_record(boxes, ids.tolist(), crowd, image_id=1000 - 3 * i))
        noisy = np.concatenate([boxes + rng.normal(0, 4, boxes.shape), boxes, _random_boxes(rng, 7)])
        noisy[:, 2:] = np.maximum(noisy[:, 2:], noisy[:, :2] + 1)
        found_ids = np.concatenate([ids, rng.integers(0, classes, n), rng.integers(0, classes, 7)])
        scores = np.sort(rng.random(len(noisy)))[::-1]
        shuffled = rng.permutation(len(noisy))
        detections.append(_found(noisy[shuffled], scores.tolist(), found_ids[shuffled].tolist()))
    return detections, records


def _pycocotools(truth: dict[str, Any], results: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the twelve numbers of pycocotools, and its precision per class."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = truth
        ground.createIndex()
        evaluation = COCOeval(ground, ground.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"][:, :, :, ALL_AREAS, -1]


def _as_coco(records: list[Sample], category_ids: list[int]) -> dict[str, Any]:
    height, width = SIZE
    annotations = []
    for record in records:
        assert record.crowd is not None
        for (cx, cy, w, h), class_id, crowd in zip(record.boxes_cxcywh, record.class_ids, record.crowd, strict=True):
            box = [float(v) for v in ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height)]
            row = {"id": len(annotations) + 1, "image_id": record.image_id, "category_id": category_ids[class_id]}
            annotations.append(row | {"bbox": box, "area": box[2] * box[3], "iscrowd": int(crowd)})
    images = [{"id": record.image_id} for record in records]
    return {"images": images, "categories": [{"id": i} for i in category_ids], "annotations": annotations}


def _assert_equal_to_pycocotools(metrics: Metrics, truth: dict[str, Any], results: Path) -> None:
    stats, precision = _pycocotools(truth, results)
    ours = [metrics.ap, metrics.ap50, metrics.ap75, metrics.ap_small, metrics.ap_medium, metrics.ap_large]
    np.testing.assert_allclose(ours, stats[:6], atol=1e-6)
    for i, entry in enumerate(metrics.per_class):
        values = precision[:, :, i]
        np.testing.assert_allclose(entry.ap, values.mean() if (values > -1).any() else np.nan, atol=1e-6)


def test_equals_pycocotools_on_random_detections(tmp_path: Path) -> None:
    detections, records = _random_case()
    category_ids = [7, 3, 11, 90, 2]
    path = save_coco_json(tmp_path / "results.json", detections, records, category_ids)
    ordered = sorted(range(5), key=lambda i: category_ids[i])  # pycocotools orders classes by category id
    metrics = score(detections, records, list("abcde"))
    metrics = replace(metrics, per_class=tuple(metrics.per_class[i] for i in ordered))
    assert 0.1 < metrics.ap < 0.9
    assert math.isnan(metrics.per_class[0].ap)  # category 2: the class without a label
    _assert_equal_to_pycocotools(metrics, _as_coco(records, category_ids), path)


def test_own_matching_gives_the_ap50_of_coco() -> None:
    """Precision and recall come from our own matching: at IoU 0.5 it must lead to the same interpolated curve."""
    detections, records = _random_case()
    rng = np.random.default_rng(1)
    many = _random_boxes(rng, 140)  # more than the 100 detections that count
    records.append(_record(many[:40], [0] * 40, [False] * 40))
    detections.append(_found(many, np.linspace(0.01, 0.9, 140).tolist(), [0] * 140))
    coco = coco_evaluate(detections, records, 5)
    for class_id, own in enumerate(match_classes(detections, records, 5, (0.5,))):
        if not (n := own.labels.sum()):
            continue
        right = own.right[0][~own.ignored[0]]
        correct = np.cumsum(right)
        precision = np.maximum.accumulate((correct / np.arange(1, len(right) + 1))[::-1])[::-1]
        at = np.searchsorted(correct / n, np.linspace(0, 1, 101), side="left")
        curve = np.concatenate([precision, [0]])[np.minimum(at, len(precision))]
        np.testing.assert_allclose(coco.precision[0, :, class_id, 0], curve, atol=1e-9)


def test_ap_by_hand() -> None:
    """Two boxes; found in order: right, wrong, right. Precision 1 up to recall 0.5, then 2/3: 51 + 50 * 2/3 of 101."""
    record = _record([[0, 0, 40, 40], [100, 0, 140, 40]], [0, 0])
    found = _found([[0, 0, 40, 40], [50, 50, 90, 90], [100, 0, 140, 40]], [0.9, 0.8, 0.7], [0, 0, 0])
    metrics = score([found], [record], ["cell"])
    expected = (51 + 50 * 2 / 3) / 101
    assert metrics.ap50 == pytest.approx(expected)
    assert metrics.ap == pytest.approx(expected)
    assert metrics.ap_medium == pytest.approx(expected)
    assert math.isnan(metrics.ap_small)
    assert metrics.f1 == pytest.approx(0.8)
    assert (metrics.precision, metrics.recall) == (pytest.approx(2 / 3), 1)
    assert metrics.confidence == 0  # the lowest of the confidences with the same F1
    assert metrics.fitness == pytest.approx(expected)


def test_stated_areas_decide_what_is_small() -> None:
    """A mask of 500 pixels makes a box of 40 x 40 a small object."""
    record = replace(_record([[0, 0, 40, 40]], [0]), areas=np.array([500.0]))
    metrics = score([_found([[0, 0, 40, 40]], [0.5], [0])], [record], ["cell"])
    assert metrics.ap_small == pytest.approx(1)
    assert math.isnan(metrics.ap_medium)


def test_a_score_at_the_threshold_counts() -> None:
    metrics = score([_found([[0, 0, 40, 40]], [0.5], [0])], [_record([[0, 0, 40, 40]], [0])], ["cell"])
    assert metrics.curves.recall[0, 499:502].tolist() == [1, 1, 0]


def test_precision_and_recall_are_means_over_the_labelled_classes() -> None:
    """At 0.5: class a 1 of 1 right, 1 of 2 found; class b 1 of 2 right, 1 of 1 found; class c has no label."""
    record = _record([[0, 0, 40, 40], [100, 0, 140, 40], [0, 50, 40, 90]], [0, 0, 1])
    found = _found(
        [[0, 0, 40, 40], [0, 50, 40, 90], [50, 50, 90, 90], [150, 50, 190, 90], [0, 0, 9, 9]],
        [0.9, 0.8, 0.85, 0.6, 0.3],
        [0, 1, 1, 2, 1],
    )
    metrics = score([found], [record], ["a", "b", "c"])
    assert (metrics.precision, metrics.recall) == (0.75, 0.75)
    assert metrics.f1 == pytest.approx(2 / 3)
    assert metrics.confidence == pytest.approx(0.301)
    assert [entry.labels for entry in metrics.per_class] == [2, 1, 0]
    assert math.isnan(metrics.per_class[2].precision)


def test_confusion_by_hand() -> None:
    record = _record(
        [[0, 0, 40, 40], [100, 0, 140, 40], [0, 50, 40, 90], [150, 50, 200, 90]], [0, 0, 1, 1], [False] * 3 + [True]
    )
    found = _found(
        [[0, 0, 40, 41], [101, 0, 141, 40], [160, 60, 170, 70], [60, 60, 80, 80], [0, 50, 40, 90]],
        [0.9, 0.8, 0.7, 0.6, 0.24],
        [0, 1, 1, 0, 1],
    )
    confusion = score([found], [record], ["a", "b"]).confusion
    # one a right, one a taken for b, the b found too unsurely, one a where nothing is; the crowd's detection is ignored
    assert confusion.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_overlap_with_a_crowd_is_the_part_inside() -> None:
    found = np.array([[0.0, 0, 10, 10], [90, 0, 110, 10]])
    labelled = np.array([[0.0, 0, 100, 10]])
    np.testing.assert_allclose(overlaps(found, labelled, np.array([True]))[:, 0], [1, 0.5])
    np.testing.assert_allclose(overlaps(found, labelled, np.array([False]))[:, 0], [0.1, 100 / 1100])


@pytest.mark.parametrize("images", [0, 3])
def test_nothing_labelled_and_nothing_found(images: int) -> None:
    metrics = score([_found([], [], [])] * images, [_record([], [])] * images, ["a", "b"])
    assert math.isnan(metrics.ap)
    assert math.isnan(metrics.f1)
    assert metrics.fitness == 0
    assert json.loads(json.dumps(metrics.to_dict(), allow_nan=False))["ap"] is None


def test_labels_without_detections_score_zero() -> None:
    metrics = score([_found([], [], [])], [_record([[0, 0, 20, 20]], [1])], ["a", "b"])
    assert (metrics.ap, metrics.ap50, metrics.precision, metrics.recall, metrics.f1) == (0, 0, 0, 0, 0)
    assert metrics.confusion[1, 2] == 1


def test_prints_as_a_table_and_nothing_else(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    detections, records = _random_case()
    metrics = score(detections, records, list("abcde"))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    console = Console(file=io.StringIO(), width=120)
    console.print(metrics)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert f"{metrics.ap50:.3f}" in text
    assert "23 images" in text


class _Oracle:
    """Finds one box, in input pixels, in every image; raw outputs in training mode must never be seen."""

    names = MappingProxyType({0: "a", 1: "b"})
    strides = (32,)
    max_stride = 32

    def predict(self, images: NDArray[np.uint8], conf: float) -> list[NDArray[np.float32]]:
        assert images.dtype == np.uint8
        assert conf < 0.72
        return [np.array([[60, 50, 40, 20, 0, 0.72]] * 3, np.float32)] * len(images)


def _batches() -> list[LetterboxedBatch]:
    images = np.full((2, 3, 64, 96), 255, dtype=np.uint8)
    placement, moved = (
        LetterboxTransform(SIZE, (0.5, 0.5), (10.0, 5.0)),
        LetterboxTransform(SIZE, (0.5, 0.5), (0.0, 5.0)),
    )
    return [
        LetterboxedBatch(images, (2, 0), (placement, placement)),
        LetterboxedBatch(images[:1], (1,), (moved,)),
    ]


def test_evaluate_restores_boxes_and_order() -> None:
    """Input box 40..80 x 40..60 lies at 60..140 x 70..110 of the original, cut to its 97 rows; image 1: 20 right."""
    records = [_record([[60 + 20 * (i == 1), 70, 140 + 20 * (i == 1), 97]], [1], image_id=i) for i in range(3)]
    model = _Oracle()
    detections, speed = detect(model, _batches(), records)
    assert [len(d) for d in detections] == [1, 1, 1]
    for i, left in enumerate((60, 80, 60)):
        np.testing.assert_allclose(detections[i].boxes_xyxy, [[left, 70, left + 80, 97]])
    assert speed.network > 0
    metrics = evaluate(model, _batches(), records, ["a", "b"])
    assert metrics.ap == pytest.approx(1)
    assert metrics.speed is not None


def test_only_the_next_batch_is_made_while_one_is_processed() -> None:
    made: list[int] = []

    def batches() -> Iterator[LetterboxedBatch]:
        for i in range(6):
            made.append(i)
            yield LetterboxedBatch(
                np.full((1, 3, 64, 96), 255, np.uint8), (i,), (LetterboxTransform(SIZE, (1.0, 1.0), (0.0, 0.0)),)
            )

    class Watching(_Oracle):
        def predict(self, images: NDArray[np.uint8], conf: float) -> list[NDArray[np.float32]]:
            seen.append(len(made))
            return super().predict(images, conf)

    seen: list[int] = []
    detect(Watching(), batches(), [_record([], [])] * 6)
    assert max(ready - used for used, ready in enumerate(seen)) <= 2


def test_saved_results_carry_the_data_sets_ids(tmp_path: Path) -> None:
    detections = [_found([[10, 20, 40, 60]], [0.5], [1])]
    path = save_coco_json(tmp_path / "new" / "results.json", detections, [_record([], [], image_id=42)], [5, 18])
    assert json.loads(path.read_text()) == [{"image_id": 42, "category_id": 18, "bbox": [10, 20, 30, 40], "score": 0.5}]
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]
    save_coco_json(path, [_found([], [], [])], [_record([], [])])
    assert json.loads(path.read_text()) == []


def _coco128(shared: Path) -> tuple[DetectionDataset, dict[str, Any]]:
    path = shared / "data" / "coco128" / "annotations" / "instances_train2017.json"
    return load_data(path), json.loads(path.read_text())


def test_equals_pycocotools_on_the_labels_of_coco128(shared: Path, tmp_path: Path) -> None:
    data, truth = _coco128(shared)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    rng = np.random.default_rng(0)
    detections = []
    for record in data.splits["train"]:
        boxes = pixel_boxes(record, sizes[record.image_id])
        spread = (boxes[:, 2:] - boxes[:, :2]).mean(axis=1, keepdims=True) * 0.08
        noisy = np.concatenate([boxes + rng.normal(0, 1, boxes.shape) * spread, boxes + 3])
        scores, class_ids = rng.random(len(noisy)), np.tile(record.class_ids, 2)
        found = _found(noisy, scores.tolist(), class_ids.tolist())
        detections.append(replace(found, image_size=sizes[record.image_id]))
    path = save_coco_json(tmp_path / "found.json", detections, data.splits["train"], data.category_ids)
    metrics = score(detections, data.splits["train"], data.names)
    assert 0.3 < metrics.ap < 0.9
    _assert_equal_to_pycocotools(metrics, truth, path)


def _run_yolov5n(shared: Path, images: int, tmp_path: Path) -> Metrics:
    """Measure yolov5n on the first images of coco128, and check the numbers with pycocotools."""
    data, truth = _coco128(shared)
    records = data.splits["train"][:images]
    model = regard.load(shared / "weights" / "yolov5n.pt")
    loader = ValidationLoader(records, imgsz=640, batch=1, workers=0)
    detections, speed = detect(model, loader, records)
    metrics = score(detections, records, data.names, speed=speed)
    chosen = {record.image_id for record in records}
    truth["images"] = [image for image in truth["images"] if image["id"] in chosen]
    truth["annotations"] = [row for row in truth["annotations"] if row["image_id"] in chosen]
    _assert_equal_to_pycocotools(
        metrics, truth, save_coco_json(tmp_path / "found.json", detections, records, data.category_ids)
    )
    return metrics


def test_yolov5n_on_the_first_images_of_coco128(shared: Path, tmp_path: Path) -> None:
    metrics = _run_yolov5n(shared, 16, tmp_path)
    assert metrics.ap50 > 0.6
    assert metrics.images == 16


@pytest.mark.slow
def test_yolov5n_on_coco128(shared: Path, tmp_path: Path) -> None:
    """YOLOv5's own detections have AP 0.3671 and AP50 0.5632."""
    metrics = _run_yolov5n(shared, 128, tmp_path)
    assert metrics.ap50 >= 0.561
    assert metrics.ap >= 0.365
