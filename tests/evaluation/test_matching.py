"""Matching against pycocotools itself, on boxes of few sizes and scores, so that ties are the rule."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.evaluation.matching import IOUS, match, overlaps


def _of_pycocotools(
    found_xyxy: NDArray[np.float64], labelled_xyxy: NDArray[np.float64], crowd: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(thresholds, found), the index of the label that pycocotools gives to each detection, or -1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entry(number: int, box: NDArray[np.float64], **more: Any) -> dict[str, Any]:
        left, top, right, bottom = box.tolist()
        width, height = right - left, bottom - top
        about = {"id": number, "image_id": 1, "category_id": 1, "bbox": [left, top, width, height]}
        return {**about, "area": width * height, "iscrowd": 0, **more}

    truth = COCO()
    labels = [entry(i + 1, box, iscrowd=int(c)) for i, (box, c) in enumerate(zip(labelled_xyxy, crowd, strict=True))]
    truth.dataset = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": labels, "info": {}}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        results = truth.loadRes([entry(i, box, score=1 - i / 100) for i, box in enumerate(found_xyxy)])
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.evaluate()
    taken: NDArray[np.int64] = evaluation.evalImgs[0]["dtMatches"].astype(np.int64) - 1
    return taken


@pytest.mark.parametrize("seed", range(29))
def test_each_detection_takes_what_pycocotools_gives_it(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> NDArray[np.float64]:
        corner = rng.integers(0, 3, (count, 2)) * 2.0
        return np.concatenate([corner, corner + rng.integers(2, 5, (count, 2)) * 2.0], axis=1)

    found, labelled = boxes(int(rng.integers(1, 17))), boxes(int(rng.integers(1, 13)))
    crowd = rng.random(len(labelled)) < 0.2
    ours = match(overlaps(found, labelled, crowd), crowd, IOUS)
    assert np.array_equal(ours, _of_pycocotools(found, labelled, crowd))


def test_of_two_equal_boxes_the_last_is_taken_first() -> None:
    iou = np.array([[0.6, 0.6], [0.6, 0.6], [0.6, 0.6]])
    assert match(iou, np.array([False, False])).tolist() == [[1, 0, -1]]


def test_nothing_found_and_nothing_labelled() -> None:
    assert match(np.zeros((0, 3)), np.zeros(3, bool), IOUS).shape == (10, 0)
    assert match(np.zeros((5, 0)), np.zeros(0, bool), IOUS).tolist() == [[-1] * 5] * 10
