"""Exported files against PyTorch, at sizes that the export never saw; and what keeps a file from being written."""

from __future__ import annotations

import copy
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

import regard
from regard.api import insert, load, validate
from regard.api import predict as api_predict
from regard.config import DetectSettings
from regard.data.images import ImageFile
from regard.errors import RegardError, RegardWarning
from regard.geometry.nms import suppress
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.prediction import predict
from regard.runtimes import export as export_module
from regard.runtimes import open_predictor
from regard.runtimes.base import Session, SessionOptions
from regard.runtimes.compare import ALL
from regard.runtimes.convert import quiet
from regard.runtimes.export import export_detector, write
from regard.runtimes.header import METADATA_KEY, Header
from regard.runtimes.table import RUNTIMES, runtime_to_write

Image = NDArray[np.uint8]
Excite = Callable[[Detector], Detector]

INSIDE = DetectSettings(conf=0.1, iou=0.4, max_det=13, multi_label=True, classes=(0, 2))
SIZES = [(1, 8, 16), (4, 40, 24), (2, 56, 88)]


def opened(path: Path) -> Session:
    found = RUNTIMES["torchscript"].open(path, SessionOptions()) if path.suffix == ".pt" else open_predictor(path)
    assert isinstance(found, Session)
    return found


def some_images(batch: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(batch).integers(0, 256, (batch, 3, height, width), dtype=np.uint8)


def assert_same_answers(
    detector: Detector, path: Path, sizes: list[tuple[int, int, int]], tolerance: float = 1e-4
) -> None:
    exported = opened(path)
    assert exported.names == detector.names
    assert (exported.strides, exported.max_stride) == (detector.strides, detector.max_stride)
    for size in sizes:
        images = some_images(*size)
        for found, expected in zip(exported.predict(images, ALL), detector.predict(images, ALL), strict=True):
            atol = tolerance * detector.max_stride
            np.testing.assert_allclose(found[:, :4], expected[:, :4], rtol=tolerance, atol=atol)
            np.testing.assert_allclose(found[:, 4:], expected[:, 4:], rtol=0, atol=tolerance)


def assert_same_detections(detector: Detector, path: Path, settings: DetectSettings) -> None:
    exported = opened(path)
    assert exported.nms == settings
    for size in SIZES:
        images = some_images(*size)
        outside = [suppress(rows, settings) for rows in detector.predict(images, settings.conf)]
        inside = [suppress(rows, settings) for rows in exported.predict(images, settings.conf)]
        assert sum(map(len, outside)) > size[0]
        for found, expected in zip(inside, outside, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_torchscript(small: Detector, tmp_path: Path, noise: Image) -> None:
    report = export_detector(small, tmp_path / "a.torchscript", imgsz=61, image=noise)
    assert (report.format, report.opset, report.passed) == ("torchscript", None, True)
    assert report.file_bytes == report.path.stat().st_size
    assert [(d.batch, d.height, d.width) for d in report.deviations] == [(1, 64, 64), (3, 32, 40)]
    assert [file.name for file in tmp_path.iterdir()] == ["a.torchscript"]
    assert_same_answers(small, report.path, SIZES)


def test_torchscript_with_suppression(small: Detector, tmp_path: Path, noise: Image) -> None:
    report = export_detector(small, tmp_path / "a.pt", imgsz=64, image=noise, nms=True, settings=INSIDE)
    assert all(d.detections for d in report.deviations)
    assert_same_detections(small, report.path, INSIDE)


def test_onnx_with_suppression(small: Detector, tmp_path: Path, noise: Image) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "new folder" / "a.onnx"
    learning = copy.deepcopy(small).train()
    report = export_detector(learning, path, imgsz=64, image=noise, nms=True, settings=INSIDE)
    assert learning.training
    assert (report.format, report.opset, report.passed) == ("onnx", 18, True)
    assert all(d.detections for d in report.deviations)
    assert_same_detections(small, path, INSIDE)

    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == [
        "images",
        "detections",
        "boxes",
        "scores",
    ]
    header = json.loads({p.key: p.value for p in model.metadata_props}[METADATA_KEY])
    assert (header["imgsz"], header["max_stride"], header["strides"]) == (64, 8, [4, 8])
    rebuilt = build(parse_spec(header["graph"], None))
    assert rebuilt.state_dict().keys() == small.state_dict().keys()
    torch.testing.assert_close(rebuilt.head.anchors, small.head.anchors)


def test_openvino(small: Detector, tmp_path: Path, noise: Image) -> None:
    pytest.importorskip("openvino")
    folder = tmp_path / "a_openvino"
    report = export_detector(small, folder, imgsz=64, image=noise)
    assert (report.format, report.passed) == ("openvino", True)
    assert sorted(file.name for file in folder.iterdir()) == ["detector.bin", "detector.xml"]
    assert report.file_bytes == sum(file.stat().st_size for file in folder.iterdir())
    assert_same_answers(small, folder, SIZES)
    assert_same_answers(small, folder / "detector.xml", SIZES[:1])


def test_settings_that_suppression_inside_cannot_serve_are_reported(
    small: Detector, tmp_path: Path, noise: Image
) -> None:
    path = tmp_path / "a.torchscript"
    export_detector(small, path, imgsz=64, image=noise, nms=True, settings=INSIDE)
    with pytest.warns(RegardWarning, match=r"(?s)conf 0\.1 \(asked for: 0\.01\), classes \(0, 2\).*without NMS"):
        api_predict(path, noise, imgsz=64, conf=0.01, iou=0.4, max_det=13)
    api_predict(path, noise, imgsz=64, conf=0.2, iou=0.3, max_det=5, classes=(2,))  # a warning would be an error


def test_prediction_with_an_exported_file(small: Detector, tmp_path: Path, noise: Image) -> None:
    export_detector(small, tmp_path / "a.torchscript", imgsz=64, image=noise)
    found = predict(opened(tmp_path / "a.torchscript"), noise, imgsz=72)
    expected = predict(small, noise, imgsz=72)
    assert not isinstance(found, list)
    assert not isinstance(expected, list)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1e-3)
    assert found.names == small.names


def test_a_wrong_graph_is_not_put_in_place(
    small: Detector, tmp_path: Path, noise: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.torchscript"
    path.write_bytes(b"the old one")

    def write_another(detector: Detector, *rest: object) -> None:
        wrong = build(detector.spec, names=detector.names)
        wrong.load_state_dict(detector.state_dict())
        wrong.head.m[0].get_parameter("bias").data[0] += 0.01
        write(wrong, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(export_module, "write", write_another)
    with pytest.raises(RegardError, match=r"deviates from PyTorch at 3 x 3|deviates from PyTorch at 1 x 3"):
        export_detector(small, path, imgsz=64, image=noise)
    assert [file.name for file in tmp_path.iterdir()] == ["a.torchscript"]
    assert path.read_bytes() == b"the old one"
    assert export_detector(small, path, imgsz=64, image=noise, tolerance=0.1).passed


def test_the_report_prints_its_deviations(small: Detector, tmp_path: Path) -> None:
    report = export_detector(small, tmp_path / "a.torchscript", imgsz=64, nms=True)
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(report)
    text = console.export_text()
    assert "3 x 3 x 32 x 40" in text
    assert f"{report.deviations[1].pixels:.1e}" in text
    assert "passed" in text


class FixedSize(nn.Module):
    """What a traced graph gets wrong: a number taken from the example."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.shape[3])


class ByValue(nn.Module):
    """What cannot be traced without its values."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if bool(x.mean() > 0) else x


def test_a_size_that_became_a_constant_is_found(small: Detector, tmp_path: Path, noise: Image) -> None:
    edited = insert(small, FixedSize, after="attention", gate=False)
    with pytest.raises(RegardError, match=r"deviates from PyTorch.*[\s\S]*FixedSize"):
        export_detector(edited, tmp_path / "a.torchscript", imgsz=64, image=noise)
    assert not list(tmp_path.iterdir())


def test_a_layer_that_cannot_be_exported_is_named(small: Detector, tmp_path: Path, noise: Image) -> None:
    edited = insert(small, ByValue, after=1, gate=False, name="mine")
    with pytest.raises(RegardError, match=r"layer 'mine' \(ByValue\) cannot be exported to onnx"):
        export_detector(edited, tmp_path / "a.onnx", imgsz=64, image=noise)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_opset_that_cannot_be_had(small: Detector, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    with pytest.raises(RegardError, match=r"(?s)opset 17.*expected: 18"):
        export_detector(small, tmp_path / "a.onnx", imgsz=64, opset=17)


@pytest.mark.parametrize(
    ("name", "package"), [("a.onnx", "onnx"), ("a.onnx", "onnxscript"), ("a.xml", "openvino"), ("b", "onnx")]
)
def test_a_missing_package(
    small: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RegardError, match=rf'package {package}\n.*pip install "regard\[export\]"'):
        export_detector(small, tmp_path / name)


def test_a_missing_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RegardError, match="package onnxruntime"):
        opened(tmp_path / "a.onnx")


def test_a_file_of_another_program(tmp_path: Path) -> None:
    traced = tmp_path / "a.torchscript"
    with quiet():
        torch.jit.save(torch.jit.trace(nn.ReLU(), (torch.zeros(1),)), traced)
    with pytest.raises(RegardError, match="was not exported by regard"):
        opened(traced)


@pytest.mark.parametrize("name", ["a.torchscript", "a.onnx", "a.xml"])
def test_a_damaged_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no such thing")
    with pytest.raises(RegardError, match=r"damaged or no|not plain XML"):
        opened(tmp_path / name)
    with pytest.raises(RegardError):
        opened(tmp_path / f"missing-{name}")


def test_the_format_follows_from_the_path(tmp_path: Path) -> None:
    named = {"a.onnx": "onnx", "a.xml": "openvino", "a.torchscript": "torchscript", "a.pt": "torchscript"}
    assert {name: runtime_to_write(Path(name)).format for name in named} == named
    assert runtime_to_write(Path("a_openvino")).format == runtime_to_write(tmp_path).format == "openvino"
    assert runtime_to_write(Path("a.bin"), "onnx").format == "onnx"
    with pytest.raises(RegardError, match=r"'.tflite' belongs to no export format"):
        runtime_to_write(Path("a.tflite"))
    with pytest.raises(RegardError, match=r"(?s)unknown format 'onyx'.*did you mean 'onnx'"):
        runtime_to_write(Path("a"), "onyx")


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("b.onnx", {"format": "openvino"}, ["the format is openvino", "'.onnx' is the suffix of onnx"]),
        ("b.pt", {"format": "onnx"}, ["the format is onnx", "'.pt' is the suffix of torchscript"]),
        ("b.onnx", {"classes": ["odd"]}, ["without NMS", "classes", "--nms"]),
        ("b.onnx", {"conf": 0.25, "agnostic_nms": True}, ["without NMS", "conf, agnostic_nms", "--nms"]),
        ("b.torchscript", {"opset": 18}, ["opset has no effect"]),
    ],
)
def test_settings_that_contradict_each_other_or_have_no_effect_are_rejected(
    tmp_path: Path, name: str, settings: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(RegardError) as error:
        regard.export("odd-one-out", tmp_path / name, **settings)
    assert all(word in str(error.value) for word in words), error.value
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("version", "advice"), [(99, "upgrade regard"), (1, "export it again")])
def test_a_header_of_another_version_is_rejected(small: Detector, tmp_path: Path, version: int, advice: str) -> None:
    header = Header(regard_version="0", names=small.names, imgsz=64, max_stride=8, strides=(4, 8), graph="")
    runtime, file = RUNTIMES["torchscript"], tmp_path / "a.torchscript"
    write(small, header.model_copy(update={"format_version": version}), runtime, file)
    with pytest.raises(RegardError, match=advice):
        opened(file)


def test_safetensors_are_an_export_too(small: Detector, tmp_path: Path) -> None:
    report = export_detector(small, tmp_path / "a.safetensors", imgsz=64)
    assert (report.format, report.opset) == ("safetensors", None)
    assert load(report.path).names == small.names
    with pytest.raises(RegardError, match="without NMS"):
        export_detector(small, tmp_path / "b.safetensors", imgsz=64, nms=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.onnx", "a_openvino", "a.torchscript"])
@pytest.mark.parametrize(
    "overlay",
    [
        "base: yolov5n\nnc: 3\nwidth_multiple: 0.125\nreplace: [{layer: 8, module: C3TR}]",
        "base: yolov5n6\nnc: 3\nwidth_multiple: 0.125\ninsert: [{after: sppf, module: SE}]",
    ],
)
def test_every_format_of_stock_graphs(overlay: str, name: str, tmp_path: Path, noise: Image, excite: Excite) -> None:
    detector = excite(build(parse_spec(overlay, None)))
    tolerance = 1e-3  # deep untrained networks spread rounding further than trained ones
    assert export_detector(detector, tmp_path / name, imgsz=192, image=noise, tolerance=tolerance).passed
    stride = detector.max_stride
    sizes = [(1, 2 * stride, 5 * stride), (5, 3 * stride, 2 * stride)]
    assert_same_answers(detector, tmp_path / name, sizes, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.onnx", "a_openvino", "a.torchscript"])
def test_published_weights_on_a_real_image(shared: Path, tmp_path: Path, name: str) -> None:
    detector = load(shared / "weights" / "yolov5n.pt")
    image = ImageFile(sorted((shared / "data" / "coco128").rglob("*.jpg"))[0]).read()
    report = export_detector(detector, tmp_path / name, nms=True, image=image)
    assert report.passed
    assert all(d.pixels < 0.05 and d.probability < 1e-4 and d.detections for d in report.deviations)
    found, expected = (predict(model, image) for model in (opened(report.path), detector))
    assert not isinstance(found, list)
    assert not isinstance(expected, list)
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=0.05)
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.onnx", "a_openvino", "a.torchscript"])
def test_an_exported_file_has_the_average_precision_of_pytorch(shared: Path, tmp_path: Path, name: str) -> None:
    images = sorted((shared / "data" / "coco128").rglob("*.jpg"))[:8]
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in images))
    detector = load(shared / "weights" / "yolov5n.pt")
    names = [detector.names[i] for i in range(detector.nc)]
    (tmp_path / "data.yaml").write_text(json.dumps({"val": "list.txt", "names": names}))
    export_detector(detector, tmp_path / name, imgsz=320)
    found, expected = (
        validate(model, tmp_path / "data.yaml", imgsz=320, batch=3) for model in (tmp_path / name, detector)
    )
    assert expected.ap > 0.3
    assert (found.ap, found.ap50, found.ap75) == pytest.approx((expected.ap, expected.ap50, expected.ap75), abs=1e-3)
