"""Files in the layouts that Ultralytics and YOLOv5 export, made by hand: recognised, predicted and validated with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import regard
from regard.errors import RegardError, RegardWarning
from regard.runtimes import open_predictor
from regard.runtimes.base import Session
from regard.runtimes.openvino import openvino_core
from regard.system.home import import_openvino
from regard.types import Detections

NAMES = {0: "ball", 1: "bird's nest", 2: "dog"}
BOXES = np.array([[20, 30, 11, 17], [21, 30, 11, 17], [70, 40, 13, 19], [50, 20, 7, -5]], np.float32)
SCORES = np.array([[0.9, 0.1, 0.0], [0.7, 0.6, 0.0], [0.0, 0.0, 0.4], [0.8, 0.0, 0.0]], np.float32)
CORNERS = np.concatenate((BOXES[:, :2] - BOXES[:, 2:] / 2, BOXES[:, :2] + BOXES[:, 2:] / 2), 1)
SIZE = (64, 96)
FACTS = {"author": "Ultralytics", "stride": "32", "task": "detect", "names": str(NAMES), "end2end": "False"}
FACTS |= {"args": "{'nms': None, 'half': False}"}


def decoded(nc: int = 3) -> NDArray[np.float32]:
    return np.concatenate((BOXES, SCORES[:, :nc]), 1).T[None]


def rows() -> NDArray[np.float32]:
    found = np.zeros((1, 9, 6), np.float32)
    for i, (box, class_id) in enumerate(((0, 0), (1, 0), (1, 1), (2, 2))):
        found[0, i] = [*CORNERS[box], SCORES[box, class_id], class_id]
    return found


def yolov5() -> NDArray[np.float32]:
    halves = np.full((4, 1), 0.5, np.float32)
    return np.concatenate((BOXES, halves, SCORES * 2), 1)[None].clip(-9, 1000)


Size = tuple[int | str, int | str]


def write(path: Path, output: NDArray[np.float32], size: Size = SIZE, batch: int = 1, **facts: str | None) -> Path:
    """An ONNX program that computes ``output`` of each of ``batch`` images, whatever they show."""
    values = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, *size])
    shape = [batch, *output.shape[1:]]
    made = helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)
    constant = numpy_helper.from_array(np.repeat(output, batch, axis=0), "constant")
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["constant", "nothing"], ["output0"]),
    ]
    zero = numpy_helper.from_array(np.array(0, np.float32), "zero")
    graph = helper.make_graph(nodes, "graph", [values], [made], [constant, zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    stated = {key: value for key, value in (FACTS | facts).items() if value is not None}
    helper.set_model_props(model, stated)
    onnx.save(model, path)
    return path


def image(height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def found_in(path: Path, **settings: object) -> list[tuple[int, int, float]]:
    """Class, left and score of each detection, best first."""
    found = regard.predict(path, image(), **settings)  # type: ignore[arg-type]
    assert isinstance(found, Detections)
    triples = zip(found.class_ids.tolist(), found.boxes_xyxy[:, 0].tolist(), found.scores.tolist(), strict=True)
    return [(class_id, round(left), round(score, 3)) for class_id, left, score in triples]


SUPPRESSED = [(0, 14, 0.9), (2, 64, 0.4)]
EVERYTHING = [(0, 14, 0.9), (0, 16, 0.7), (1, 16, 0.6), (2, 64, 0.4)]


def test_each_layout_is_recognised(tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    assert found_in(write(file, decoded()), iou=0.5) == SUPPRESSED
    assert found_in(write(file, rows(), end2end="True")) == EVERYTHING
    assert found_in(write(file, rows(), end2end="True"), nms=False, max_det=3) == EVERYTHING[:3]
    assert found_in(write(file, rows(), end2end=None, args=None)) == EVERYTHING  # older files of YOLOv10
    inside = write(file, rows(), args="{'nms': True}")
    assert found_in(inside, iou=0.5) == [EVERYTHING[0], *EVERYTHING[2:]]  # each row counts for one class
    with pytest.warns(RegardWarning, match=r"conf 0\.25 \(asked for: 0\.1\)"):
        found_in(inside, conf=0.1)
    with pytest.warns(RegardWarning, match="at most 4 detections"):
        found_in(write(file, rows()[:, :4], args="{'nms': True}"))
    older = {"author": None, "task": None, "end2end": None, "args": None}
    assert found_in(write(file, yolov5(), **older), iou=0.5) == SUPPRESSED  # type: ignore[arg-type]
    two = str({0: "a", 1: "b"})
    assert found_in(write(file, np.concatenate((decoded(2), decoded(2)), 2), names=two), iou=0.5)[0] == (0, 14, 0.9)


def test_names_and_sizes_come_from_the_metadata(tmp_path: Path) -> None:
    opened = open_predictor(write(tmp_path / "a.onnx", decoded()), device="cpu")
    assert isinstance(opened, Session)
    assert (opened.names, opened.max_stride, opened.input_size) == (NAMES, 32, SIZE)
    listed = open_predictor(write(tmp_path / "a.onnx", decoded(), names=str(["x", "y", "z"])), device="cpu")
    assert listed.names == {0: "x", 1: "y", 2: "z"}
    any_size = open_predictor(write(tmp_path / "b.onnx", decoded(), size=("height", "width")), device="cpu")
    assert isinstance(any_size, Session)
    assert any_size.input_size is None
    with pytest.raises(RegardError, match="64 x 96 pixels only"):
        regard.predict(tmp_path / "a.onnx", image(), imgsz=96)
    assert len(found_in(tmp_path / "a.onnx", imgsz=(64, 96), iou=0.5)) == 2
    scaled = regard.predict(tmp_path / "a.onnx", image(128, 192), iou=0.5)
    assert isinstance(scaled, Detections)
    np.testing.assert_allclose(scaled.boxes_xyxy[0], 2 * CORNERS[0])


def test_images_go_in_as_many_at_a_time_as_the_file_takes(tmp_path: Path) -> None:
    file = write(tmp_path / "a.onnx", decoded(), batch=2)
    many = regard.predict(file, [image()] * 5, batch=3, iou=0.5)
    assert isinstance(many, list)
    assert [len(found) for found in many] == [2] * 5


def test_a_folder_of_openvino_is_recognised(tmp_path: Path) -> None:
    onnx_file = write(tmp_path / "a.onnx", decoded())
    folder = tmp_path / "yolo_openvino_model"
    folder.mkdir()
    import_openvino().save_model(openvino_core().read_model(onnx_file), folder / "yolo.xml", compress_to_fp16=False)
    facts = {**FACTS, "names": NAMES, "stride": 32, "end2end": False, "args": {"nms": None}}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(facts))
    assert found_in(folder, iou=0.5) == SUPPRESSED
    assert found_in(folder / "yolo.xml", iou=0.5) == SUPPRESSED
    (folder / "metadata.yaml").unlink()
    with pytest.raises(RegardError, match="not exported by regard"):
        found_in(folder)


def test_validation_runs_them_with_classes_in_any_order(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for name in "abc":
        assert cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), image())
        lines = [f"{c} {x / 96} {y / 64} {w / 96} {h / 64}" for c, (x, y, w, h) in ((2, BOXES[0]), (0, BOXES[2]))]
        (tmp_path / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [dog, cat, ball]\n")
    with pytest.warns(RegardWarning) as warned:
        metrics = regard.val(write(tmp_path / "a.onnx", decoded()), tmp_path / "data.yaml", protocol="ultralytics")
    assert ["cat" in str(w.message) for w in warned] == [False, True]
    assert metrics.ap50 == pytest.approx(1)
    assert metrics.ultralytics is not None
    assert metrics.ultralytics.map50 == pytest.approx(0.995, abs=1e-3)


@pytest.mark.parametrize(
    ("output", "facts", "what"),
    [
        (decoded(), {"task": "segment"}, "task 'segment'"),
        (decoded()[:, :6], {}, "computes 'output0' of shape"),
        (decoded()[0], {}, "computes 'output0' of shape"),
        (decoded(), {"stride": "0"}, "stride"),
        (decoded(), {"names": "{0: 'a', 7: 'b', 8: 'c'}"}, "class ids"),
        (decoded(), {"names": "{0: ["}, "a.onnx"),
        (decoded(), {"names": "person"}, "names"),
        (np.where(rows() == 2, 3, rows()).astype(np.float32), {"end2end": "True"}, "a class index of 3"),
        (np.full_like(decoded(), np.nan), {}, "not finite"),
        (decoded() * 3, {}, "no probability"),
        (np.zeros((1, 7, 64 * 96 * 5), np.float32), {}, "boxes per image"),
    ],
)
def test_what_does_not_fit_its_metadata_is_an_error(
    tmp_path: Path, output: NDArray[np.float32], facts: dict[str, str], what: str
) -> None:
    with pytest.raises(RegardError, match=what):
        found_in(write(tmp_path / "a.onnx", output, **facts))


def test_a_program_with_other_inputs_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path / "a.onnx", decoded())
    model = onnx.load(file)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, file)
    with pytest.raises(RegardError, match="takes float32"):
        found_in(file)


@pytest.mark.parametrize("shape", [(10**6, 3, 64, 96), (1, 3, 2**16, 2**16)])
def test_a_program_that_takes_more_than_fits_into_memory_is_an_error(tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = write(tmp_path / "a.onnx", decoded())
    model = onnx.load(file)
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dimension.dim_value = size
    onnx.save(model, file)
    with pytest.raises(RegardError, match=r"at most [0-9,]+ numbers"):
        found_in(file)


def test_a_message_about_a_name_of_any_length_is_short(tmp_path: Path) -> None:
    file = write(tmp_path / "a.onnx", decoded(), names=f"{{0: {'x' * 10**6}}}")
    with pytest.raises(RegardError) as error:
        regard.val(file, "synthetic:local?train=1&val=1&test=0")
    assert len(str(error.value)) < 10**5
