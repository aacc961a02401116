"""Prediction end to end with a detector that finds white rectangles, and yolov5n box for box."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import regard
from regard.config import DetectSettings, SaveSettings
from regard.errors import RegardError, RegardWarning
from regard.prediction import Source, frames, predict, predict_iter, save_detections
from regard.types import Detections


class _FindsWhite:
    """Answers with the bounding box of the white pixels of each image; scores nothing where there are none."""

    names = MappingProxyType({0: "dark", 1: "white"})
    strides = (32,)
    max_stride = 32

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def predict(self, images: NDArray[np.uint8], conf: float) -> list[NDArray[np.float32]]:
        self.shapes.append(tuple(images.shape))
        return [self.box(image)[: conf < 0.63] for image in images]

    def box(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        y, x = np.nonzero(image.min(axis=0) > 0.9 * 255)
        if not len(x):
            return np.zeros((0, 6), np.float32)
        left, top, right, bottom = x.min(), y.min(), x.max() + 1, y.max() + 1
        box = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        return np.array([[*box, 0.09, 0.63]], np.float32)


def _scene(height: int, width: int, box: tuple[int, int, int, int] | None = None) -> NDArray[np.uint8]:
    image = np.full((height, width, 3), 40, np.uint8)
    if box:
        left, top, right, bottom = box
        image[top:bottom, left:right] = 255
    return image


def _write_image(path: Path, image: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


def _write_video(path: Path, count: int = 5) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12, (160, 96))
    for i in range(count):
        writer.write(_scene(96, 160, (10 + 20 * i, 20, 50 + 20 * i, 60)))
    writer.release()
    return path


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _one(found: Detections | list[Detections]) -> Detections:
    assert isinstance(found, Detections)
    return found


def _many(found: Detections | list[Detections]) -> list[Detections]:
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("size", [(211, 307), (307, 211), (640, 640), (61, 1013), (1, 1)])
def test_array_boxes_come_back_in_original_pixels(size: tuple[int, int]) -> None:
    height, width = size
    box = (width // 3, height // 4, width // 3 + max(width // 2, 1), height // 4 + max(height // 2, 1))
    backend = _FindsWhite()
    found = _one(predict(backend, _scene(height, width, box), imgsz=320))
    blur = max(height, width) / 320 + 0.5  # a pixel of the input, and what resizing blurs
    np.testing.assert_allclose(found.boxes_xyxy, [box], atol=blur)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_allclose(found.scores, [0.63], atol=1e-6)
    assert (found.image_size, found.source) == (size, "")
    assert max(backend.shapes[0][2:]) == 320
    assert all(side % 32 == 0 for side in backend.shapes[0][2:])


def test_nothing_found_is_an_empty_answer() -> None:
    found = _one(predict(_FindsWhite(), _scene(64, 96)))
    assert len(found) == 0
    assert found.boxes_xyxy.shape == (0, 4)


def test_settings_are_obeyed() -> None:
    scene = _scene(64, 96, (10, 10, 50, 50))
    assert len(_one(predict(_FindsWhite(), scene, settings=DetectSettings(conf=0.7)))) == 0
    assert len(_one(predict(_FindsWhite(), scene, settings=DetectSettings(classes=(0,))))) == 0


def test_batches_change_nothing_but_the_number_of_calls() -> None:
    sizes = [(64, 96), (64, 96), (64, 96), (96, 64), (64, 96)]
    scenes = [_scene(*size, (5 + 3 * i, 7, 40 + 3 * i, 50)) for i, size in enumerate(sizes)]
    single, batched = _FindsWhite(), _FindsWhite()
    one_by_one, together = _many(predict(single, scenes, imgsz=96)), _many(predict(batched, scenes, imgsz=96, batch=2))
    assert [shape[0] for shape in batched.shapes] == [2, 1, 1, 1]
    assert len(single.shapes) == 5
    for a, b in zip(one_by_one, together, strict=True):
        np.testing.assert_array_equal(a.boxes_xyxy, b.boxes_xyxy)
    assert _many(predict(single, [])) == []


class _Parallel:
    """Finds each image's own grey; in threads, the earlier an image came the later it is finished."""

    names = MappingProxyType({0: "grey"})
    strides = (32,)
    max_stride = 32

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.meeting = threading.Barrier(streams)

    def predict(self, images: NDArray[np.uint8], conf: float) -> list[NDArray[np.float32]]:
        assert 0 < conf < 0.9
        grey = int(images[0, 0, 16, 16])
        if grey == 255:
            raise ValueError("white")
        self.meeting.wait(10)  # nobody passes before all are here
        time.sleep(0.02 * (4 - grey % 4))
        return [np.array([[16, 16, 10, 10, 0.9 * grey / 255]], np.float32)]


def _greys(*values: int) -> list[NDArray[np.uint8]]:
    return [np.full((32, 32, 3), value, np.uint8) for value in values]


def test_images_in_parallel_streams_keep_their_order() -> None:
    greys = (96, 97, 98, 99, 100, 101)
    found = predict(_Parallel(3), _greys(*greys), imgsz=32)
    assert [round(float(one.scores[0]) / 0.9 * 255) for one in found] == list(greys)  # type: ignore[union-attr]


@pytest.mark.parametrize(("count", "parallel"), [(1, False), (2, True)])
@pytest.mark.parametrize("given", [list, lambda images: images[0] if len(images) == 1 else images])
def test_a_single_image_has_the_whole_processor(
    monkeypatch: pytest.MonkeyPatch, count: int, parallel: bool, given: Callable[[list[NDArray[np.uint8]]], Source]
) -> None:
    opened: list[bool] = []
    monkeypatch.setattr(
        "regard.api.runs.open_predictor", lambda *_, **way: opened.append(way["parallel"]) or _FindsWhite()
    )
    regard.predict("yolov5n", given(_greys(*range(count))), imgsz=32)
    assert opened == [parallel]


def test_an_error_in_one_of_several_streams_arrives() -> None:
    with pytest.raises(ValueError, match="white"):
        predict(_Parallel(1), _greys(96, 255, 97), imgsz=32)
    with pytest.raises(ValueError, match="white"):
        predict(_Parallel(2), _greys(96, 97, 255, 255), imgsz=32)


def test_a_detector_predicts_in_evaluation_mode_without_gradients() -> None:
    model, modes = regard.load("yolov5n").train(), []
    model.model[0].register_forward_pre_hook(lambda module, _: modes.append((module.training, torch.is_grad_enabled())))
    predict(model, _scene(64, 64), imgsz=64)
    assert modes == [(False, False)]
    assert model.training


def test_files_folders_patterns_and_sequences(tmp_path: Path) -> None:
    scene = _scene(64, 96, (10, 10, 50, 50))
    first, second = _write_image(tmp_path / "a.png", scene), _write_image(tmp_path / "b.JPG", scene)
    _write_video(tmp_path / "c.mp4")
    (tmp_path / "notes.txt").write_text("no image")
    backend = _FindsWhite()
    assert _one(predict(backend, first)).source == str(first)
    assert [d.source for d in _many(predict(backend, str(tmp_path / "*.png")))] == [str(first)]
    assert [d.source for d in _many(predict(backend, [second, scene, str(first)]))] == [str(second), "", str(first)]
    sources = [d.source for d in _many(predict(backend, tmp_path, imgsz=96))]
    assert sources == [str(first), str(second), *(f"{tmp_path / 'c.mp4'}#{i}" for i in range(5))]


def test_video_frames_stream(tmp_path: Path) -> None:
    found = _many(predict(_FindsWhite(), _write_video(tmp_path / "walk.mp4"), imgsz=160, batch=2))
    lefts = [d.boxes_xyxy[0, 0] for d in found]
    np.testing.assert_allclose(lefts, [10, 30, 50, 70, 90], atol=4)


def test_wrong_sources_are_explained(tmp_path: Path) -> None:
    _write_image(tmp_path / "street.jpg", _scene(8, 8))
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.mp4").write_bytes(b"not a video")
    (tmp_path / "torn.jpg").write_bytes(b"not an image")
    backend = _FindsWhite()
    with pytest.raises(RegardError, match=r"did you mean 'street.jpg'"):
        predict(backend, tmp_path / "stret.jpg")
    for name in ("empty", "*.png"):
        with pytest.raises(RegardError, match="no images or videos"):
            predict(backend, str(tmp_path / name))
    for name in ("torn.mp4", "torn.jpg"):
        with pytest.raises(RegardError, match=name):
            predict(backend, tmp_path / name)
    with pytest.raises(RegardError, match=r"shape \(3, 64, 64\) and type float32"):
        predict(backend, np.zeros((3, 64, 64), np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "reported"),
    [
        ("0", "no end"),
        ("/dev/video7", "no end"),
        ("rtsp://host/street", "no end"),
        ("ftp://host/street.jpg", "ftp addresses are not read"),
        ("", "empty name"),
        ("http://[::1/street.jpg", "cannot download"),
        ("http://host:port/street.jpg", "cannot download"),
    ],
)
def test_what_is_no_file_is_rejected_by_its_kind(source: str, reported: str) -> None:
    with pytest.raises(RegardError, match=reported):
        predict(_FindsWhite(), source)


def test_a_torn_file_in_a_folder_costs_only_itself(tmp_path: Path) -> None:
    first, last = _write_image(tmp_path / "a.png", _scene(8, 8)), _write_image(tmp_path / "c.png", _scene(8, 8))
    (tmp_path / "b.jpg").write_bytes(b"not an image")
    for source in (str(tmp_path), str(tmp_path / "*")):
        with pytest.warns(RegardWarning, match=r"(?s)b\.jpg.*skipped"):
            assert [d.source for d in _many(predict(_FindsWhite(), source))] == [str(first), str(last)]


@pytest.mark.parametrize("wrong", [{"imgsz": 0}, {"batch": 0}, {"imgsz": -32}])
def test_sizes_below_one_are_rejected(wrong: dict[str, int]) -> None:
    with pytest.raises(RegardError, match=r"(imgsz|batch) is (0|-32)\n  expected: a positive whole number"):
        predict(_FindsWhite(), _scene(8, 8), **wrong)


def test_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, bytes] = {"http://host/torn.jpg": b"not an image", "https://host/none.jpg": b""}
    _, data = cv2.imencode(".png", _scene(64, 96, (10, 10, 50, 50)))
    answers["https://host/a%20b.png?size=2"] = data.tobytes()

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        assert timeout > 0
        if url not in answers:
            raise urllib.error.URLError("no route to host")
        return io.BytesIO(answers[url])

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert _one(predict(_FindsWhite(), "https://host/a%20b.png?size=2")).source == "https://host/a%20b.png?size=2"
    for url, message in [
        ("http://host/torn.jpg", "is not an image"),
        ("https://host/none.jpg", "is not an image"),
        ("https://host/offline.jpg", "no route to host"),
    ]:
        with pytest.raises(RegardError, match=message):
            predict(_FindsWhite(), url)


def test_drawing_leaves_the_image_alone() -> None:
    scene = _scene(96, 160, (60, 40, 120, 90))
    before = scene.copy()
    drawn = _one(predict(_FindsWhite(), scene)).draw(scene)
    np.testing.assert_array_equal(scene, before)
    assert drawn.shape == scene.shape
    assert (drawn[40:90, 60] != before[40:90, 60]).any(axis=1).all()  # the left edge
    np.testing.assert_array_equal(drawn[50:80, 70:110], before[50:80, 70:110])  # the inside


def test_saving_gives_every_source_its_own_files(tmp_path: Path) -> None:
    scene = _scene(64, 96, (10, 10, 50, 50))
    sources: list[str | Path | NDArray[np.uint8]] = [
        _write_image(tmp_path / "one" / "cat.png", scene),
        _write_image(tmp_path / "two" / "cat.png", scene),
        _write_image(tmp_path / "two" / "Cat.jpg", _scene(64, 96)),
        scene,
        _write_video(tmp_path / "cat.mp4"),
    ]
    out = tmp_path / "new" / "out"
    stream = predict_iter(_FindsWhite(), sources, imgsz=96)
    written = save_detections(stream, out, SaveSettings(save_txt=True))
    images = ["Cat_3.jpg", "cat.png", "cat_2.png", "cat_4.mp4", "image.png"]
    assert _names(out) == sorted([*images, "labels", "detections.csv", "detections.json"])
    labels = ["Cat_3", "cat", "cat_2", *(f"cat_4_{i}" for i in range(5)), "image"]
    assert sorted(p.stem for p in (out / "labels").iterdir()) == sorted(labels)
    assert sorted(written) == sorted(p for p in out.rglob("[!.]*") if p.is_file())
    assert (out / "labels" / "Cat_3.txt").read_text() == ""
    assert sum(1 for _ in frames(out / "cat_4.mp4")) == 5


def test_images_of_addresses_get_names_that_windows_accepts(tmp_path: Path) -> None:
    (image, found), *_ = predict_iter(_FindsWhite(), _write_image(tmp_path / "one.png", _scene(31, 37)), imgsz=64)
    names = {"a:b*c.jpg?x=1": "a_b_c.jpg", "con.png": "_con.png", "one.": "one.png", "": "image.png"}
    stream = [(replace(image, source=f"https://somewhere/{name}"), found) for name in names]
    written = save_detections(stream, tmp_path / "out", SaveSettings(save_json=False, save_csv=False))
    assert [p.name for p in written] == list(names.values())


def test_saved_numbers_are_those_found(tmp_path: Path) -> None:
    path = _write_image(tmp_path / "white.png", _scene(64, 96, (24, 16, 72, 48)))
    stream = list(predict_iter(_FindsWhite(), path, imgsz=96))
    save_detections(stream, tmp_path / "out", SaveSettings(save_conf=True))
    assert (tmp_path / "out/labels/white.txt").read_text() == "1 0.500000 0.500000 0.500000 0.500000 0.630000\n"
    (record,) = json.loads((tmp_path / "out/detections.json").read_text())
    (detection,) = record["detections"]
    assert (record["source"], record["width"], record["height"]) == (str(path), 96, 64)
    assert detection == {"class_id": 1, "name": "white", "score": 0.63, "box_xyxy": [24, 16, 72, 48]}
    (row,) = csv.DictReader((tmp_path / "out/detections.csv").read_text().splitlines())
    assert list(row.values()) == [str(path), "1", "white", "0.63", "24.0", "16.0", "72.0", "48.0"]
    save_detections(stream, tmp_path / "plain", SaveSettings(save_images=False, save_txt=True))
    assert (tmp_path / "plain/labels/white.txt").read_text() == "1 0.500000 0.500000 0.500000 0.500000\n"
    assert not (tmp_path / "plain/white.png").exists()


def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RegardError, match="is a file"):
        save_detections([], tmp_path / "taken", SaveSettings())


def test_a_broken_stream_leaves_what_was_written_as_a_part(tmp_path: Path) -> None:
    def sources() -> Iterator[Path]:
        yield _write_video(tmp_path / "walk.mp4")
        raise RegardError("the camera is gone")

    with pytest.raises(RegardError, match="the camera is gone"):
        save_detections(predict_iter(_FindsWhite(), sources(), imgsz=96), tmp_path / "out", SaveSettings())
    assert _names(tmp_path / "out") == ["detections.part.csv", "detections.part.jsonl", "walk.part.mp4"]
    rows = [json.loads(line) for line in (tmp_path / "out/detections.part.jsonl").read_text().splitlines()]
    assert [row["source"] for row in rows] == [f"{tmp_path / 'walk.mp4'}#{i}" for i in range(5)]
    assert len((tmp_path / "out/detections.part.csv").read_text().splitlines()) == 6


def test_yolov5n_box_for_box(shared: Path) -> None:
    """The 16 reference images: every box within 0.5 px, every score within 0.005, none more and none less."""
    reference = json.loads((shared / "reference" / "detections_640_rect.json").read_text())
    model = regard.load(shared / "weights" / "yolov5n.pt")
    paths = {path.name: path for path in (shared / "data" / "coco128" / "images").rglob("*.jpg")}
    for name, answer in reference.items():
        found = _one(predict(model, paths[name]))
        expected = np.array(answer["detections"], dtype=np.float32).reshape(-1, 6)
        assert found.class_ids.tolist() == expected[:, 5].tolist(), name
        np.testing.assert_allclose(found.boxes_xyxy, expected[:, :4], atol=0.5, rtol=0, err_msg=name)
        np.testing.assert_allclose(found.scores, expected[:, 4], atol=0.005, rtol=0, err_msg=name)
