"""Files of fixed size: read by OpenCV's DNN module, which finds what we find; and what they take."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import regard
from excited import excited
from regard.errors import RegardError, RegardWarning
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.runtimes import open_predictor
from regard.runtimes.export import export_detector

SHARED = Path(__file__).parents[3] / "shared"

ANCHOR_FREE = """
nc: 3
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, C2f, [16, True]]
  - [-1, 1, Conv, [24, 3, 2]]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 1], 1, Concat, [1]]
  - [[4, 2], 1, Detect, [nc]]
"""


def by_opencv(path: Path, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Boxes and scores as a user of OpenCV gets them."""
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(images)
    return [np.asarray(found) for found in net.forward(net.getUnconnectedOutLayersNames())]


def assert_opencv_agrees(detector: Detector, path: Path, side: int) -> None:
    image = np.random.default_rng(5).integers(0, 256, (side, side, 3), dtype=np.uint8)
    blob = cv2.dnn.blobFromImage(image, 1 / 255)
    with torch.inference_mode():
        boxes, scores = detector(torch.from_numpy(blob))
    found = by_opencv(path, np.asarray(blob, np.float32))
    assert float(scores.std()) > 1e-4  # else there is nothing to compare
    np.testing.assert_allclose(found[0], boxes, rtol=2e-4, atol=2e-2)
    np.testing.assert_allclose(found[1], scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize("form", ["anchors", "anchor-free"])
def test_opencv_finds_what_the_detector_finds(form: str, tmp_path: Path) -> None:
    model = regard.load("odd-one-out") if form == "anchors" else build(parse_spec(ANCHOR_FREE, Path("small.yaml")))
    path = tmp_path / "fixed.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("error", RegardWarning)  # that OpenCV cannot use the file
        report = export_detector(excited(model), path, imgsz=96, static=True)
    assert [(d.batch, d.height, d.width) for d in report.deviations] == [(1, 96, 96)]
    assert_opencv_agrees(model, path, 96)
    if form == "anchors":
        check_sizes(model, path)


def check_sizes(model: Detector, path: Path) -> None:
    """Smaller images are padded, one by one; larger ones are rejected."""
    opened = open_predictor(path)
    images = np.random.default_rng(7).integers(0, 256, (2, 3, 64, 96), dtype=np.uint8)
    padded = np.full((2, 3, 96, 96), 114, np.uint8)
    padded[:, :, :64] = images
    for found, expected in zip(opened.predict(images, 0.0), model.predict(padded, 0.0), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-2)
    with pytest.raises(RegardError, match=r"(?s)images of 96 pixels, not of 128 x 96.*imgsz=96"):
        opened.predict(np.zeros((1, 3, 96, 128), np.uint8), 0.25)
    data = "synthetic:context?train=0&val=3&test=0"
    ours, theirs = (regard.val(one, data, imgsz=96, rect=False, workers=0) for one in (model, path))
    with pytest.warns(RegardWarning, match="exported for 96 pixels"):
        regard.val(path, data, imgsz=64, workers=0)
    assert regard.val(path, data, imgsz=96, workers=0).ap == theirs.ap == pytest.approx(ours.ap, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 23])
@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolo11n", "yolo26n"])
def test_opencv_reads_published_graphs(name: str, opset: int, tmp_path: Path) -> None:
    weights = SHARED / "weights" / f"{name}.pt"
    model = regard.load(weights) if weights.is_file() else excited(regard.load(name))
    path = tmp_path / "fixed.onnx"
    export_detector(model, path, imgsz=160, static=True, opset=opset)
    assert_opencv_agrees(model, path, 160)


@pytest.mark.parametrize(
    ("path", "given", "words"),
    [
        ("a.onnx", {"opset": 17}, "opset is 17"),
        ("a.onnx", {"opset": 24}, "opset is 24"),
        ("a.onnx", {"static": True, "nms": True}, "fixed sizes"),
        ("a.torchscript", {"static": True}, "static has no effect"),
    ],
)
def test_what_a_file_cannot_be(path: str, given: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(RegardError, match=words):
        regard.export(regard.load("odd-one-out"), tmp_path / path, imgsz=64, **given)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
