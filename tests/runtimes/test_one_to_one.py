"""The one-to-one branch of later families: chosen by ``nms=False``, in PyTorch, exported and compiled."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

import regard
from regard.cli import app
from regard.config import DetectSettings, PredictSettings
from regard.errors import RegardError
from regard.geometry.nms import suppress
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.runtimes import open_predictor
from regard.runtimes.base import Session, SessionOptions
from regard.runtimes.export import export_detector
from regard.runtimes.table import RUNTIMES
from regard.types import Detections

GRAPH = """
nc: 3
end2end: True
reg_max: 1
scales: {n: [1.0, 1.0, 1024]}
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C3k2, [16]]
  - [-1, 1, Conv, [16, 3, 2]]
head:
  - [[2, 3], 1, Detect, [nc]]
"""


def two_branches(graph: str = GRAPH) -> Detector:
    """A detector whose branches disagree, with scores on both sides of any threshold."""
    torch.manual_seed(5)
    detector = build(parse_spec(graph, None), names={0: "ball", 1: "cat", 2: "dog"})
    with torch.no_grad():
        for name, parameter in detector.head.named_parameters():
            if name.endswith("2.weight"):
                parameter.normal_(0, 2)
            if name.endswith("2.bias"):
                parameter.normal_(1.5 if "cv2" in name else -1, 0.5)
    return detector.eval()


@pytest.fixture(scope="module")
def detector() -> Detector:
    return two_branches()


@pytest.fixture(scope="module")
def weights(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    regard.save(detector, path)
    return path


@pytest.fixture(scope="module")
def exported(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    files = {name: folder / f"{name}.torchscript" for name in ("boxes", "suppressed", "one_to_one")}
    for nms, file in zip((None, True, False), files.values(), strict=True):
        assert export_detector(detector, file, nms=nms, imgsz=64).passed
    return files


def image() -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (64, 88, 3), dtype=np.uint8)


def detect(model: object, **settings: object) -> NDArray[np.float32]:
    settings |= {"trust": True} if isinstance(model, Path) and model.suffix == ".torchscript" else {}
    found = regard.predict(model, image(), imgsz=88, **settings)  # type: ignore[arg-type, call-overload]
    assert isinstance(found, Detections)
    return np.column_stack((found.boxes_xyxy, found.scores, found.class_ids))


def assert_same(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Compare as sets: nearly equal scores may change places."""
    assert found.shape == expected.shape
    distances = np.abs(found[:, None] - expected[None]).max(axis=2)
    assert max(distances.min(axis=0).max(initial=0), distances.min(axis=1).max(initial=0)) < 5e-3


def slow_selection(detector: Detector, conf: float, most: int) -> NDArray[np.float32]:
    """The ``most`` largest of all scores of the second branch above ``conf``, box by box and class by class."""
    head = detector.head
    planes = torch.from_numpy(image().transpose(2, 0, 1).copy())[None] / 255
    with torch.no_grad():
        head.one_to_one = True
        boxes, scores = detector(planes)
        head.one_to_one = False
    rows = []
    for (cx, cy, w, h), own in zip(boxes[0].tolist(), scores[0].tolist(), strict=True):
        for class_id, score in enumerate(own):
            if score > conf and w > 0 and h > 0:
                corners = np.clip([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 0, [88, 64, 88, 64])
                rows.append([*corners, score, class_id])
    return np.array(sorted(rows, key=lambda row: -row[4])[:most], np.float32)


@pytest.mark.parametrize("most", [7, 300])
def test_the_best_scores_of_the_second_branch_are_the_detections(detector: Detector, most: int) -> None:
    found = detect(detector, nms=False, conf=0.3, max_det=most)
    expected = slow_selection(detector, 0.3, most)
    assert len(found) > 5
    assert_same(found, expected)
    assert not detector.one_to_one
    assert len(detect(detector, conf=0.3, max_det=most)) != len(found) or most == 7


def test_without_nms_boxes_may_overlap_and_class_agnostic_boxes_count_once() -> None:
    rows = np.array([[50, 50, 20, 20, 0.9, 0.6], [50, 50, 20, 20, 0.8, 0.0]], np.float32)
    found = suppress(rows, DetectSettings(nms=False, conf=0.25))
    np.testing.assert_allclose(found[:, 4:], [[0.9, 0], [0.8, 0], [0.6, 1]])
    assert suppress(rows, DetectSettings(nms=False, agnostic_nms=True, conf=0.25))[:, 5].tolist() == [0, 0]
    assert len(suppress(rows, DetectSettings(conf=0.25))) == 1


def test_the_detector_itself_predicts_with_either_branch(detector: Detector) -> None:
    planes = image().transpose(2, 0, 1)[None].copy()
    one, many = (detector.predict(planes, 0.3, nms=nms)[0] for nms in (False, True))
    assert one.shape != many.shape or not np.allclose(one, many)
    np.testing.assert_array_equal(many, detector.predict(planes, 0.3)[0])


@pytest.mark.parametrize(
    ("backend", "branches"),
    [
        ("torch", (False, None)),
        ("onnxruntime", (False, False)),  # the second time from the cache
        pytest.param("openvino", (False, None, False), marks=pytest.mark.slow),
        pytest.param("onnxruntime", (False, None, False), marks=pytest.mark.slow),
    ],
)
def test_weights_run_either_branch_in_every_runtime(
    weights: Path, detector: Detector, backend: str, branches: tuple[bool | None, ...]
) -> None:
    for nms in branches:
        found = detect(open_predictor(weights, backend=backend, device="cpu", nms=nms), conf=0.3)
        assert_same(found, detect(detector, nms=nms, conf=0.3))


def test_an_exported_file_states_its_branch_and_predicts_with_it(exported: dict[str, Path], detector: Detector) -> None:
    for name, nms in (("one_to_one", False), ("boxes", True), ("suppressed", True)):
        for asked in (None, nms):
            found = detect(exported[name], nms=asked, device="cpu", conf=0.3)
            assert_same(found, detect(detector, nms=nms, conf=0.3))
        opened = RUNTIMES["torchscript"].open(exported[name], SessionOptions(trust=True))
        assert isinstance(opened, Session)
        assert opened.header.one_to_one == (not nms)
        assert opened.header.whole_pixels


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_suppression_inside_ignores_boxes_without_area(detector: Detector, tmp_path: Path, format: str) -> None:
    path = tmp_path / ("file" + ".onnx" * (format == "onnx"))
    assert export_detector(detector, path, nms=True, imgsz=64, settings=DetectSettings(conf=0.01, iou=0.9)).passed
    assert_same(detect(path, conf=0.3), detect(detector, conf=0.3))


def test_the_branch_that_a_model_or_file_lacks_is_an_error(exported: dict[str, Path], weights: Path) -> None:
    plain = two_branches(GRAPH.replace("end2end: True", "end2end: False"))
    yolov5 = regard.load("odd-one-out")
    for model in (plain, yolov5, exported["boxes"], exported["suppressed"]):
        with pytest.raises(RegardError, match="one-to-one branch"):
            detect(model, nms=False)
    with pytest.raises(RegardError, match="one-to-one branch"):
        detect(exported["one_to_one"], nms=True)
    for model in (plain, yolov5):
        with pytest.raises(RegardError, match="one-to-one branch"):
            regard.export(model, "never.onnx", nms=False)
    assert not Path("never.onnx").exists()
    for setting in (PredictSettings, regard.config.ValSettings):
        with pytest.raises(RegardError, match="iou has no effect"):
            setting(nms=False, iou=0.5)
    with pytest.raises(RegardError, match="conf would have no effect"):
        regard.export(weights, "never.onnx", nms=False, conf=0.5)


def test_the_commands_take_the_setting(weights: Path, tmp_path: Path, detector: Detector) -> None:
    (tmp_path / "images").mkdir()
    assert cv2.imwrite(str(tmp_path / "images" / "a.png"), image())
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.3 0.3\n")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [ball, cat, dog]\n")
    val = ["val", str(weights), "--data", str(tmp_path / "data.yaml"), "--imgsz", "88", "--save-json"]
    for flag in ("--no-nms", "--nms"):
        done = CliRunner().invoke(app, [*val, str(tmp_path / f"{flag}.json"), flag, "--conf", "0.3"])
        assert done.exit_code == 0, done.output
    assert (tmp_path / "--no-nms.json").read_text() != (tmp_path / "--nms.json").read_text()
    done = CliRunner().invoke(
        app, ["export", str(weights), "--no-nms", "--imgsz", "64", "-o", str(tmp_path / "one.torchscript")]
    )
    assert done.exit_code == 0, done.output
    found = detect(tmp_path / "one.torchscript", conf=0.3)
    assert_same(found, detect(detector, nms=False, conf=0.3))
