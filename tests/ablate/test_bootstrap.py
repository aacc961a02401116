"""AP of weighted images against COCO's on the images themselves repeated, and the interval over drawn images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.ablate.bootstrap import draw_images, image_interval
from regard.data.dataset import Sample
from regard.evaluation.coco import coco_evaluate
from regard.evaluation.reweigh import match_classes, weighted_ap
from regard.types import Detections

SIZE = (97, 211)
CLASSES = 3


class _NoImage:
    name = "none"

    def read(self) -> NDArray[np.uint8]:
        return np.zeros((*SIZE, 3), np.uint8)


def _fraction(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1) / (SIZE[1], SIZE[0], SIZE[1], SIZE[0])


def scenes(seed: int, images: int, with_crowds: bool) -> tuple[list[Sample], list[Detections]]:
    """Return labels, and detections that sit more or less on them; the first image has neither."""
    rng = np.random.default_rng(seed)
    records, found = [], []
    for i in range(images):
        count = int(rng.integers(0, 7)) * (i > 0)
        low = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([low, low + rng.uniform(9, 35, (count, 2))], axis=1)
        ids = rng.integers(0, CLASSES, count)
        crowd = rng.uniform(size=count) < 0.3 if with_crowds else None
        records.append(Sample(_NoImage(), _fraction(boxes), ids, i + 1, crowd=crowd))
        picked = rng.integers(0, max(count, 1), 11 if count else 0)
        guesses = boxes[picked] + rng.uniform(-4, 4, (len(picked), 4))
        guessed_ids = np.where(rng.uniform(size=len(picked)) < 0.8, ids[picked], rng.integers(0, CLASSES, len(picked)))
        scores = rng.integers(1, 12, len(picked)) / 12  # many are equal
        found.append(Detections(guesses.astype(np.float32), scores.astype(np.float32), guessed_ids, image_size=SIZE))
    return records, found


@pytest.mark.parametrize("with_crowds", [False, True])
@pytest.mark.parametrize("seed", [2, 3, 5])
def test_ap_is_that_of_coco(seed: int, with_crowds: bool) -> None:
    records, found = scenes(seed, 13, with_crowds)
    expected = coco_evaluate(found, records, CLASSES)
    matches, once = match_classes(found, records, CLASSES), np.ones((1, 13), dtype=np.int64)
    assert 0.1 < expected.ap() < 0.9
    assert weighted_ap(matches, once) == pytest.approx(expected.ap(), abs=1e-12)
    assert weighted_ap(matches, once, slice(1)) == pytest.approx(expected.ap(iou=0), abs=1e-12)
    assert weighted_ap(matches, once, slice(5, 6)) == pytest.approx(expected.ap(iou=5), abs=1e-12)


def test_a_weight_is_a_number_of_copies() -> None:
    records, found = scenes(7, 11, with_crowds=True)
    found = [_untied(image, i) for i, image in enumerate(found)]  # the order of equal scores depends on the copies'
    weights = draw_images(11, 5)
    copies = [np.repeat(np.arange(11), row) for row in weights]
    expected = [coco_evaluate(_pick(found, own), _pick(records, own), CLASSES).ap() for own in copies]
    assert weighted_ap(match_classes(found, records, CLASSES), weights) == pytest.approx(expected, abs=1e-12)


def _untied(image: Detections, index: int) -> Detections:
    scores = image.scores + (np.arange(len(image)) + 20 * index).astype(np.float32) * 1e-5
    return Detections(image.boxes_xyxy, scores, image.class_ids, image_size=SIZE)


def _pick(values: Sequence[Any], indices: NDArray[np.int64]) -> list[Any]:
    return [values[i] for i in indices]


def test_only_the_hundred_best_count() -> None:
    """The right detection of the only label is the 101st, and then the 100th."""
    box = np.array([[100.0, 40.0, 130.0, 60.0]])
    records = [Sample(_NoImage(), _fraction(box), np.array([0]), 1)]
    boxes = np.repeat(np.array([[0, 0, 9, 9]], dtype=np.float32), 101, axis=0)
    boxes[-1] = box
    for first, expected in ((0, 0.0), (1, 0.01)):
        scores = np.linspace(0.9, 0.1, 101, dtype=np.float32)[first:]
        found = Detections(boxes[first:], scores, np.zeros(101 - first, np.int64), image_size=SIZE)
        ap = weighted_ap(match_classes([found], records, 1), np.ones((1, 1), dtype=np.int64))
        assert ap == pytest.approx(expected)


def test_without_labels_or_detections() -> None:
    records, found = scenes(2, 3, with_crowds=False)
    matches = match_classes(found, records, CLASSES)
    assert np.isnan(weighted_ap(matches, np.array([[4, 0, 0], [0, 0, 0]]))).all()
    nothing = [
        Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), image_size=SIZE)
    ]
    assert weighted_ap(match_classes(nothing * 3, records, CLASSES), np.array([[1, 1, 1]])) == 0


def test_draws_are_of_all_images_and_the_same_each_time() -> None:
    weights = draw_images(17, 50)
    assert (weights.sum(axis=1) == 17).all()
    assert (weights == draw_images(17, 50)).all()
    assert not (weights == draw_images(17, 50, seed=1)).all()


def test_interval_by_hand() -> None:
    """The metric is the mean of a value per image: the interval of its difference is known from the normal."""
    values = np.random.default_rng(0).normal(0.02, 0.1, 401)
    variant = np.stack([draw_images(401, 4000) @ values / 401] * 3)
    low, high = image_interval(variant, np.zeros_like(variant), 0.95)
    error = values.std() / np.sqrt(401)
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.1 * error)


def test_pairing_takes_out_what_both_share() -> None:
    base = np.random.default_rng(0).normal(0, 1, (2, 101))
    assert image_interval(base + 0.01, base, 0.9) == pytest.approx((0.01, 0.01))


def test_draws_without_labels_are_left_out() -> None:
    variant = np.array([[0.2, np.nan, 0.4]])
    assert image_interval(variant, np.zeros((1, 3)), 1.0) == pytest.approx((0.2, 0.4))


def test_no_interval_without_pairs_or_labels() -> None:
    assert np.isnan(image_interval(np.zeros((0, 7)), np.zeros((0, 7)), 0.9)).all()
    assert np.isnan(image_interval(np.full((1, 7), np.nan), np.zeros((1, 7)), 0.9)).all()
