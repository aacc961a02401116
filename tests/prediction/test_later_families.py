"""Detections of YOLOv8 to YOLO26 against published numbers, with suppression and from the one-to-one branch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import regard
from regard.runtimes import open_predictor
from regard.types import Detections

SLOW = pytest.mark.slow
FAMILIES = ("yolo26n", "yolov8n", *(pytest.param(f, marks=SLOW) for f in ("yolov9t", "yolov10n", "yolo11n", "yolo12n")))


@pytest.mark.parametrize("family", FAMILIES)
def test_detections_are_the_published_ones(shared: Path, family: str) -> None:
    folder = shared / "reference" / "anchor-free" / family
    modes = json.loads((folder / "detections_640.json").read_text())["detections"]
    assert ("one_to_one" in modes) == (family in ("yolo26n", "yolov10n"))
    for mode, images in modes.items():
        asked = {"iou": 0.7} if mode == "nms" else {}
        predictor = open_predictor(folder / f"{family}.pt", device="cpu", nms=mode == "nms")
        for name, answer in sorted(images.items())[:4]:
            path = shared / "data" / "coco128" / "images" / "train2017" / name
            found = regard.predict(predictor, path, conf=0.25, max_det=300, **asked)
            expected = np.array(answer["detections"]).reshape(-1, 6)
            expected = expected[(expected[:, 2:4] >= expected[:, :2]).all(axis=1)]  # no negative width or height
            assert isinstance(found, Detections)
            assert found.class_ids.shape == expected[:, 5].shape, name
            distance = np.abs(found.boxes_xyxy[:, None] - expected[None, :, :4]).max(axis=2)
            distance += 1e3 * (found.class_ids[:, None] != expected[None, :, 5])
            distance += 1e3 * np.abs(found.scores[:, None] - expected[None, :, 4])
            assert distance.min(axis=0).max(initial=0) < 0.05, name
            assert distance.min(axis=1).max(initial=0) < 0.05, name
