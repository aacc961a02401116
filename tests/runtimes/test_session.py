"""A session turns what a file computes into predictions: all that score, in the units and types that callers expect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.config import DetectSettings
from regard.nn.raw_levels import RawDecoder
from regard.runtimes.base import Session
from regard.runtimes.header import Header

BOXES = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
SCORES = np.array([[[0.1, 0.3], [0.0, 0.2], [0.7, 0.0]], [[0.2, 0.2], [0.1, 0.1], [0.0, 0.0]]], np.float32)
DETECTIONS = np.array([[1, 2, 4, 12, 10, 0.75, 1]], np.float32)
LEVEL = np.zeros((2, 7, 5, 3), np.float32)


def session(
    seen: list[NDArray[np.generic]], nms: DetectSettings | None = None, raw: RawDecoder | None = None
) -> Session:
    header = Header(
        regard_version="0", names={0: "a", 1: "b"}, imgsz=8, max_stride=8, strides=(8,), graph="", nms=nms, raw=raw
    )
    results = {"boxes": BOXES, "scores": SCORES, "detections": DETECTIONS, "level0": LEVEL}

    def run(images: NDArray[np.generic], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        seen.append(images)
        return [results[name] for name in outputs]

    return Session(header, run)


def test_boxes_with_some_score_above_the_threshold_are_given() -> None:
    first, second = session([]).predict(np.zeros((2, 3, 8, 8), np.uint8), 0.2)
    np.testing.assert_array_equal(first, np.concatenate((BOXES[0], SCORES[0]), 1)[[0, 2]])
    assert second.shape == (0, 6)
    assert [len(rows) for rows in session([]).predict(np.zeros((2, 3, 8, 8), np.uint8), -1)] == [3, 3]


@pytest.mark.parametrize("raw", [None, RawDecoder(strides=(8,), anchors=(((1, 1),),))])
def test_a_file_gets_contiguous_images_of_its_own_type(raw: RawDecoder | None) -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 40, 24, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    seen: list[NDArray[np.generic]] = []
    session(seen, raw=raw).predict(images, 0.5)
    assert seen[0].flags.c_contiguous
    assert seen[0].dtype == (np.uint8 if raw else np.float32)
    np.testing.assert_array_equal(seen[0], images if raw else images.astype(np.float32) / 255)


def test_the_boxes_that_nms_inside_dropped_can_be_asked_for() -> None:
    inside = session([], nms=DetectSettings())
    images = np.zeros((2, 3, 8, 8), np.uint8)
    assert [len(rows) for rows in inside.predict(images, 0.2)] == [0, 1]
    assert [len(rows) for rows in inside.without_nms().predict(images, 0.2)] == [2, 0]
