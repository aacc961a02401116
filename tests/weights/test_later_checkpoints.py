"""Checkpoints of YOLOv8 and later: read without running them, tensor by tensor and prediction by prediction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.api import insert, load
from regard.geometry.boxes import cxcywh_to_xyxy

FAMILIES = ("yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n")


@pytest.mark.parametrize("family", FAMILIES)
def test_tensors_and_predictions_are_the_published_ones(shared: Path, family: str) -> None:
    folder = shared / "reference" / "anchor-free" / family
    detector = load(folder / f"{family}.pt")
    shapes = json.loads((folder / "state_dict_shapes.json").read_text())
    own = detector.state_dict()
    assert [(key, list(tensor.shape)) for key, tensor in own.items()] == [
        (k, shape) for k, (shape, _) in shapes.items()
    ]
    image = np.load(shared / "reference" / "anchor-free" / "batches" / "raw_320.npz")["input_uint8"]
    images = torch.from_numpy(image)[None].float() / 255
    raw = np.load(folder / "raw_320.npz")
    with torch.no_grad():
        found = detector(images)
    assert np.abs(found.boxes[0].numpy().T - raw["decoded"][:4]).max() < 4e-3
    assert np.abs(found.scores[0].numpy().T - raw["decoded"][4:]).max() < 1.5e-5
    if "one_to_one" in raw:
        detector.head.one_to_one = True  # type: ignore[assignment]
        with torch.no_grad():
            found = detector(images)
        assert np.abs(cxcywh_to_xyxy(found.boxes)[0].numpy().T - raw["one_to_one"][:4]).max() < 4e-3


@pytest.mark.parametrize("family", ["yolov8n", "yolo26n"])
def test_an_insertion_keeps_every_tensor_and_prediction(shared: Path, family: str) -> None:
    base = load(shared / "reference" / "anchor-free" / family / f"{family}.pt")
    edited = insert(base, "SE", after="p4")
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(base(x).boxes, edited(x).boxes)
        assert torch.equal(base(x).scores, edited(x).scores)
    assert len(edited.state_dict()) > len(base.state_dict())
