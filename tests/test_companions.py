"""The examples of docs/companions.md with the real packages, and the adapter for SAHI against plain prediction."""

from __future__ import annotations

import itertools
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import regard
from excited import excited
from regard.companions import from_sahi, sahi_model
from regard.data.letterbox import letterbox_rect, restore_boxes
from regard.data.synthetic import scene
from regard.errors import RegardError

SIZES = ((426, 640), (641, 427), (1001, 667), (300, 200), (997, 333), (128, 128), (640, 481), (50, 37), (3, 700))
"""(height, width) of images that are scaled to odd sides, down and up, padded by odd numbers, or not changed."""
KEEP_ALL: Any = {"conf": 0.001, "iou": 1.0, "max_det": 3000}
"""Settings by which no detection depends on the order of equal scores, of which grey areas have many."""
PAGE = (Path(__file__).resolve().parents[1] / "docs" / "companions.md").read_text(encoding="utf-8")


def block(title: str) -> str:
    """The Python code of a section, for the small model and files."""
    text = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    for old, new in (
        ("yolov5n.pt", "model.safetensors"),
        ("street.mp4", "street.avi"),
        ("640", "128"),
        (".launch()", ""),
        ("128, 32)", "128, 16)"),  # the largest stride of the small model
        ("0.25, 0.45", "0.001, 1.0"),  # as KEEP_ALL
    ):
        code = code.replace(old, new)
    return code


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, images and a video of three frames."""
    monkeypatch.chdir(tmp_path)
    regard.save("odd-one-out", "model.safetensors")
    image = cv2.cvtColor(scene(0, "val", 0).read(), cv2.COLOR_RGB2BGR)
    cv2.imwrite("street.jpg", image)
    cv2.imwrite("large.jpg", cv2.resize(image, (317, 251)))
    video = cv2.VideoWriter("street.avi", cv2.VideoWriter_fourcc(*"MJPG"), 30, (image.shape[1], image.shape[0]))
    for _ in range(3):
        video.write(image)
    video.release()
    return tmp_path


def run(title: str, **known: Any) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__", **known}
    exec(compile(block(title), title, "exec"), names)
    return names


def test_images_and_boxes_are_brought_to_the_input_and_back_as_by_predict() -> None:
    names, generator = run("The image without this package"), np.random.default_rng(3)
    letterbox, restored = names["letterbox"], names["restored"]
    for size, stride, whole in itertools.product(SIZES, (32, 64), (False, True)):
        image = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        for side in (128, 640):
            expected, transform = letterbox_rect(image, side, stride, whole_pixels=whole)
            padded = letterbox(image, side, stride)
            np.testing.assert_array_equal(padded, expected, str((size, stride, side)))
            corners = generator.uniform(-9, side + 9, (20, 4)).astype(np.float32)
            found = restored(corners, image, padded, whole)
            np.testing.assert_allclose(found, restore_boxes(corners, transform), atol=2e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("place")
@pytest.mark.filterwarnings("ignore")
def test_bytetrack_follows_objects(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("trackers")
    assert run("ByteTrack")["tracked"].tracker_id is not None
    assert capsys.readouterr().out.count("\n") >= 3


@pytest.mark.slow
@pytest.mark.usefixtures("place")
@pytest.mark.filterwarnings("ignore")
def test_sahi_slices_and_merges() -> None:
    pytest.importorskip("sahi")
    found = run("SAHI")["found"]
    assert found.image_size == (251, 317)
    assert found.source == "large.jpg"


@pytest.mark.slow
@pytest.mark.usefixtures("place")
@pytest.mark.filterwarnings("ignore")
def test_one_slice_of_sahi_is_a_plain_prediction() -> None:
    predict = pytest.importorskip("sahi.predict")
    image, model = scene(0, "val", 0).read(), regard.load("odd-one-out")
    result = predict.get_prediction(image, sahi_model(model, conf=0.001, imgsz=128))
    plain = regard.predict(model, image, conf=0.001, imgsz=128)
    assert isinstance(plain, regard.Detections)
    found = from_sahi(result, model.names)
    assert len(found) == len(plain) > 0
    np.testing.assert_allclose(found.scores, plain.scores)
    np.testing.assert_allclose(np.sort(found.boxes_xyxy, 0), np.sort(plain.boxes_xyxy, 0), atol=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("place")
def test_gradio_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    if not find_spec("gradio"):  # the code is checked without the page
        known = {name: lambda *a, **_: made.append(a) for name in ("Interface", "Image", "Slider")}
        monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace(**known))  # type: ignore[arg-type]
    names = run("Gradio")
    image = scene(0, "val", 0).read()
    assert names["detect"](image, 0.001).shape == image.shape


@pytest.mark.slow
@pytest.mark.usefixtures("place")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("title", "file", "options"),
    [
        ("ONNX Runtime without this package", "detector.onnx", {"nms": True, **KEEP_ALL}),
        ("OpenCV without this package", "fixed.onnx", {"static": True}),
    ],
)
def test_an_exported_file_runs_without_this_package(
    title: str, file: str, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    regard.export(excited(regard.load("odd-one-out")), file, imgsz=128, **options)
    functions, whole = run("The image without this package"), scene(0, "val", 0).read()
    for size in SIZES:
        cv2.imwrite("street.jpg", cv2.resize(whole, size[::-1]))
        capsys.readouterr()
        run(title, **functions)
        printed = re.findall(r"(\w+) ([\d.e-]+) \[([^]]+)\]", capsys.readouterr().out)
        found = regard.predict(file, "street.jpg", imgsz=128, **KEEP_ALL)
        assert isinstance(found, regard.Detections)
        ids = {**{str(i): i for i in found.names}, **{name: i for i, name in found.names.items()}}
        theirs = np.array([[ids[name], 100 * float(score), *map(float, box.split())] for name, score, box in printed])
        ours = np.column_stack((found.class_ids, 100 * found.scores, found.boxes_xyxy))
        assert len(ours) == len(theirs) > 0, size
        distances = abs(ours[:, None] - theirs[None]).max(2)  # equal scores have no order
        assert max(distances.min(0).max(), distances.min(1).max()) < 0.02, size


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.companions.find_spec", lambda _: None)
    with pytest.raises(RegardError, match="sahi"):
        sahi_model("odd-one-out")


def test_results_of_sahi_become_detections() -> None:
    def one(box: list[float], score: float, class_id: int) -> Any:
        bbox = SimpleNamespace(to_xyxy=lambda: box)
        return SimpleNamespace(bbox=bbox, score=SimpleNamespace(value=score), category=SimpleNamespace(id=class_id))

    listed = [one([1, 2, 3, 5], 0.25, 1), one([7, 11, 13, 17], 0.5, 0)]
    result = SimpleNamespace(object_prediction_list=listed, image_height=89, image_width=113)
    found = from_sahi(result, {0: "cat", 1: "dog"}, "a.jpg")
    assert found.class_names == ["cat", "dog"]
    assert found.boxes_xyxy.tolist() == [[7, 11, 13, 17], [1, 2, 3, 5]]
    assert found.image_size == (89, 113)
    result.object_prediction_list = []
    assert len(from_sahi(result, {})) == 0
