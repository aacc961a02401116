"""A prepared detector finds what PyTorch finds, to 0.5 pixels and 0.005, on real images and at odd sizes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from few_images import few_of_coco128
from numpy.typing import NDArray

import regard
from regard.backend import BackendFinder
from regard.config import DetectSettings
from regard.geometry.nms import suppress
from regard.inference import open_finder
from regard.inference.cache import PreparedHeader
from regard.inference.prepared import PreparedFinder, first_alone, has_bfloat16, open_onnxruntime, open_openvino
from regard.prediction import predict
from regard.types import Detections


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
@pytest.mark.usefixtures("cache")
def test_the_reference_images(shared: Path, weights: Path, backend: str) -> None:
    reference = json.loads((shared / "reference" / "detections_640_rect.json").read_text())
    paths = {path.name: path for path in (shared / "data" / "coco128" / "images").rglob("*.jpg")}
    finder = open_finder(weights, device="cpu", backend=backend)
    assert isinstance(finder, PreparedFinder) == (backend != "torch")
    assert len(reference) == 16
    for name, answer in reference.items():
        found = predict(finder, paths[name])
        assert isinstance(found, Detections)
        expected = np.array(answer["detections"], dtype=np.float32).reshape(-1, 6)
        assert found.class_ids.tolist() == expected[:, 5].tolist(), name
        np.testing.assert_allclose(found.boxes_xyxy, expected[:, :4], atol=0.5, rtol=0, err_msg=name)
        np.testing.assert_allclose(found.scores, expected[:, 4], atol=0.005, rtol=0, err_msg=name)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("conf", [0.0, 0.001, 0.03, 1.0])
@pytest.mark.usefixtures("cache")
def test_rows_of_a_batch_are_those_of_the_plain_detector(weights: Path, backend: str, conf: float) -> None:
    images = np.random.default_rng(3).integers(0, 256, (3, 3, 96, 160), dtype=np.uint8)
    images[:, :, 20:70, 30:90] = np.arange(60, dtype=np.uint8) * 4
    finder = open_finder(weights, device="cpu", backend=backend)
    assert isinstance(finder, PreparedFinder)
    plain = BackendFinder(regard.load(weights)).rows(images, conf)
    assert (sum(map(len, plain)) > 5) == (conf < 1)
    for found, expected in zip(finder.rows(images, conf), plain, strict=True):
        assert found.shape == expected.shape
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.usefixtures("cache")
def test_pictures_looked_at_side_by_side_are_found_the_same_in(
    shared: Path, weights: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.inference.prepared.threads", lambda: 3)
    paths = sorted((shared / "data" / "coco128" / "images").rglob("*.jpg"))[:17]
    finder = open_finder(weights, device="cpu", backend=backend)
    assert isinstance(finder, PreparedFinder)
    beside, at_once = finder.side_by_side()
    assert (beside is finder, at_once) == (False, 3)
    assert finder.side_by_side()[0] is beside  # opened once
    one_by_one = [predict(finder, path, imgsz=320) for path in paths]
    for found, expected in zip(predict(finder, list(paths), imgsz=320), one_by_one, strict=True):
        assert isinstance(found, Detections)
        assert isinstance(expected, Detections)
        assert found.source == expected.source
        assert found.class_ids.tolist() == expected.class_ids.tolist()
        np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1e-3)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_nobody_joins_a_first_call() -> None:
    inside, most = 0, []
    lock = threading.Lock()

    def run(images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        nonlocal inside
        with lock:
            inside += 1
            most.append(inside)
        time.sleep(0.05)
        with lock:
            inside -= 1
        return [images.astype(np.float32)]

    guarded = first_alone(run)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda value: guarded(np.array([value], np.uint8))[0].item(), range(3)))
        assert found == [0, 1, 2]
        assert most == [1, 1, 1]
        list(pool.map(guarded, [np.zeros(1, np.uint8)] * 3))
    assert max(most[3:]) > 1  # and side by side afterwards


@pytest.mark.parametrize(("cores", "streams"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_no_more_pictures_side_by_side_than_there_are_threads(
    cache: Path, monkeypatch: pytest.MonkeyPatch, cores: int, streams: int
) -> None:
    monkeypatch.setattr("regard.inference.prepared.threads", lambda: cores)
    folder = next(path for path in cache.iterdir() if path.is_dir())
    header = PreparedHeader.model_validate_json((folder / "header.json").read_text())
    asked: list[int] = []

    def run(images: object) -> list[NDArray[np.float32]]:
        raise AssertionError(images)

    finder = PreparedFinder(header, run, lambda count: asked.append(count) or run)  # type: ignore[func-returns-value]
    found, at_once = finder.side_by_side()
    assert at_once == streams
    assert asked == ([streams] if streams > 1 else [])
    assert (found is finder) == (streams == 1)
    assert PreparedFinder(header, run).side_by_side()[1] == 1  # nothing to open it with


@pytest.mark.skipif(not has_bfloat16(), reason="needs OpenVINO and a processor with bfloat16")
def test_boxes_are_decoded_in_float32_though_the_network_ran_in_bfloat16(cache: Path) -> None:
    folder = next(path for path in cache.iterdir() if path.is_dir())
    header = PreparedHeader.model_validate_json((folder / "header.json").read_text())
    images = np.random.default_rng(3).integers(0, 256, (1, 3, 640, 640), dtype=np.uint8)
    runs = (open_onnxruntime(folder), open_openvino(folder, lower=True))
    full, lower = (PreparedFinder(header, run).rows(images, 0.0)[0] for run in runs)
    assert full.shape == lower.shape == (25200, 84)
    assert not np.array_equal(full[:, 4], lower[:, 4])
    # Rounded to bfloat16, numbers near 640 are 4 apart and their lower halves are zero.
    assert (lower[:, :2].copy().view(np.uint32) & 0xFFFF == 0).mean() < 0.05
    assert np.abs(full[:, :2] - lower[:, :2]).mean() < 0.5


def run_without(modules: set[str], arguments: list[str]) -> str:
    """Return what a command in a process of its own prints, having checked that it imports none of the modules."""
    code = f"import sys; sys.argv = {['regard', *arguments]!r}\nfrom regard.__main__ import main\n"
    code += f"try: main()\nfinally: assert not (found := {modules!r} & set(sys.modules)), found"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


SLOW = {"torch", "torchvision", "matplotlib", "tensorboard", "lightning_fabric", "scipy", "onnx"}
PREPARED = ["--device", "cpu", "--backend", "onnxruntime"]


@pytest.mark.usefixtures("cache")
def test_predicting_with_a_filled_cache_imports_no_torch_nor_anything_else_that_is_slow(
    weights: Path, shared: Path, tmp_path: Path
) -> None:
    image = next(iter(sorted((shared / "data" / "coco128" / "images").rglob("*.jpg"))))
    run_without(
        SLOW | {"faster_coco_eval", "PIL", "http.client", "urllib.request"},
        ["predict", str(weights), str(image), *PREPARED, "-o", str(tmp_path / "out")],
    )
    assert (tmp_path / "out" / "detections.json").is_file()


@pytest.mark.usefixtures("cache")
def test_validating_with_a_filled_cache_imports_no_torch_either(weights: Path, shared: Path, tmp_path: Path) -> None:
    data = few_of_coco128(shared, tmp_path, 5)
    saved = tmp_path / "found.json"
    options = ["--imgsz", "320", "--format", "json", "--save-json", str(saved), "--workers", "2"]
    printed = json.loads(run_without(SLOW, ["val", str(weights), "--data", str(data), *PREPARED, *options]))
    plain = regard.validate(weights, data, imgsz=320, backend="torch")
    assert printed["ap"] == pytest.approx(plain.ap, abs=1e-3)
    assert printed["images"] == 5
    assert len(json.loads(saved.read_text())) > 5


def test_folding_changes_no_answer_by_more_than_rounding(shared: Path, weights: Path) -> None:
    reference = np.load(shared / "reference" / "raw_320.npz")
    images = torch.from_numpy(reference["input_uint8"].copy())[None].float() / 255
    quick = open_finder(weights, device="cpu", backend="torch")
    assert isinstance(quick, torch.nn.Module)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in quick.modules())
    with torch.inference_mode():
        found, expected = (torch.cat(model(images), dim=2) for model in (quick, regard.load(weights)))
    worst = (found - expected).abs() / expected.abs().clamp(min=1)
    assert worst.max() < 1e-4
    assert worst.mean() < 1e-6
    kept = suppress(found[0].numpy(), DetectSettings())
    assert len(kept) > 0
