"""A session turns what a file computes into predictions: all that score, in the units and types that callers expect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.config import DetectSettings
from regard.errors import RegardError
from regard.nn.raw_levels import RawDecoder
from regard.runtimes.base import Session
from regard.runtimes.header import Header, parse_header

BOXES = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
SCORES = np.array([[[0.1, 0.3], [0.0, 0.2], [0.7, 0.0]], [[0.2, 0.2], [0.1, 0.1], [0.0, 0.0]]], np.float32)
DETECTIONS = np.array([[1, 2, 4, 12, 10, 0.75, 1]], np.float32)
LEVEL = np.zeros((2, 7, 5, 3), np.float32)
IMAGES = np.zeros((2, 3, 8, 8), np.uint8)
RAW = RawDecoder(strides=(8,), anchors=(((1, 1),),))


def session(
    seen: list[NDArray[np.generic]],
    nms: DetectSettings | None = None,
    raw: RawDecoder | None = None,
    **others: NDArray[np.generic],
) -> Session:
    header = Header(
        regard_version="0", names={0: "a", 1: "b"}, imgsz=8, max_stride=8, strides=(8,), graph="", nms=nms, raw=raw
    )
    results = {"boxes": BOXES, "scores": SCORES, "detections": DETECTIONS, "level0": LEVEL, **others}

    def run(images: NDArray[np.generic], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        seen.append(images)
        return [results[name] for name in outputs]

    return Session(header, run)


def test_boxes_with_some_score_above_the_threshold_are_given() -> None:
    first, second = session([]).predict(IMAGES, 0.2)
    np.testing.assert_array_equal(first, np.concatenate((BOXES[0], SCORES[0]), 1)[[0, 2]])
    assert second.shape == (0, 6)
    assert [len(rows) for rows in session([]).predict(IMAGES, -1)] == [3, 3]


@pytest.mark.parametrize("raw", [None, RAW])
def test_a_file_gets_contiguous_images_of_its_own_type(raw: RawDecoder | None) -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 40, 24, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    seen: list[NDArray[np.generic]] = []
    session(seen, raw=raw).predict(images, 0.5)
    assert seen[0].flags.c_contiguous
    assert seen[0].dtype == (np.uint8 if raw else np.float32)
    np.testing.assert_array_equal(seen[0], images if raw else images.astype(np.float32) / 255)


def test_the_boxes_that_nms_inside_dropped_can_be_asked_for() -> None:
    inside = session([], nms=DetectSettings())
    assert [len(rows) for rows in inside.predict(IMAGES, 0.2)] == [0, 1]
    assert [len(rows) for rows in inside.without_nms().predict(IMAGES, 0.2)] == [2, 0]


def changed(values: NDArray[np.float32], place: tuple[int, ...], value: float) -> NDArray[np.float32]:
    copy = values.copy()
    copy[place] = value
    return copy


LIES = {
    "rank": {"boxes": BOXES[0]},
    "columns": {"boxes": np.ones((2, 3, 5), np.float32)},
    "classes": {"scores": np.ones((2, 3, 3), np.float32)},
    "numbers of boxes": {"scores": SCORES[:, :2]},
    "batch": {"boxes": BOXES[:1], "scores": SCORES[:1]},
    "type": {"boxes": BOXES.astype(np.int64)},
    "no array": {"scores": SCORES.tolist()},
    "too many": {"boxes": np.zeros((2, 300, 4), np.float32), "scores": np.zeros((2, 300, 2), np.float32)},
    "NaN box": {"boxes": changed(BOXES, (0, 2, 0), np.nan)},
    "NaN score": {"scores": changed(SCORES, (0, 1, 0), np.nan)},
    "infinite": {"boxes": changed(BOXES, (0, 2, 1), -np.inf)},
    "probability": {"scores": changed(SCORES, (0, 2, 0), 7)},
}
LIES_OF_NMS = {
    "columns": DETECTIONS[:, :6],
    "rank": DETECTIONS[None],
    "class": changed(DETECTIONS, (0, 6), 2),
    "negative class": changed(DETECTIONS, (0, 6), -1),
    "half a class": changed(DETECTIONS, (0, 6), 0.5),
    "NaN class": changed(DETECTIONS, (0, 6), np.nan),
    "image": changed(DETECTIONS, (0, 0), 2),
    "NaN image": changed(DETECTIONS, (0, 0), np.nan),
    "NaN corner": changed(DETECTIONS, (0, 2), np.nan),
    "score": changed(DETECTIONS, (0, 5), 1.5),
    "too many": np.repeat(DETECTIONS, 7, axis=0),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_the_header_does_not_describe_is_an_error(lie: str) -> None:
    with pytest.raises(RegardError, match="the program in the file computes"):
        session([], **LIES[lie]).predict(IMAGES, 0.2)


@pytest.mark.parametrize("lie", LIES_OF_NMS)
def test_impossible_detections_are_errors(lie: str) -> None:
    with pytest.raises(RegardError, match="the program in the file computes"):
        session([], nms=DetectSettings(max_det=3), detections=LIES_OF_NMS[lie]).predict(IMAGES, 0.2)


@pytest.mark.parametrize(
    "level", [LEVEL[:1], LEVEL[:, :6], LEVEL[..., :2], LEVEL[0], changed(LEVEL, (1, 4, 2, 1), np.nan)]
)
def test_raw_levels_that_do_not_fit_the_images_are_errors(level: NDArray[np.float32]) -> None:
    images = np.zeros((2, 3, 40, 24), np.uint8)
    assert session([], raw=RAW).predict(images, 0.2)[1].shape == (15, 6)
    with pytest.raises(RegardError, match="the program in the file computes"):
        session([], raw=RAW, level0=level).predict(images, 0.2)


def test_a_program_that_fails_is_an_error_and_a_lack_of_memory_none_of_the_file() -> None:
    for raised, expected in ((ValueError("no such axis"), RegardError), (MemoryError(), MemoryError)):
        header = session([]).header

        def run(*_: object, error: Exception = raised) -> list[NDArray[np.float32]]:
            raise error

        with pytest.raises(expected):
            Session(header, run).predict(IMAGES, 0.2)


@pytest.mark.parametrize(
    "lie",
    [
        {"max_stride": 7},
        {"max_stride": 2**40},
        {"strides": (0,)},
        {"strides": ()},
        {"names": {}},
        {"names": {1: "a", 2: "b"}},
        {"raw": {"strides": (4,), "anchors": [[[1, 1]]]}},
        {"raw": {"strides": (8,), "anchors": [[[1, 1]], [[1, 1]]]}},
        {"raw": {"strides": (8,), "anchors": [[]]}},
        {"raw": {"strides": (8,), "anchors": [[[1, -1]]]}},
    ],
)
def test_a_header_that_contradicts_itself_is_damaged(lie: dict[str, object], tmp_path: Path) -> None:
    sound = session([]).header.model_dump(mode="json")
    assert parse_header(json.dumps(sound), tmp_path) == session([]).header
    with pytest.raises(RegardError, match="the header in the file is damaged"):
        parse_header(json.dumps({**sound, **lie}), tmp_path)
