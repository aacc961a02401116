"""A compiled detector finds what PyTorch finds, to 0.5 pixels and 0.005, on real images and at odd sizes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from few_images import few_of_coco128
from numpy.typing import NDArray

import regard
from regard.prediction import predict
from regard.runtimes import choose, open_predictor
from regard.runtimes.base import Session, SessionOptions, first_call_alone
from regard.runtimes.openvino import OpenVINO
from regard.runtimes.table import RUNTIMES
from regard.types import Detections


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
@pytest.mark.usefixtures("cache")
def test_the_reference_images(shared: Path, weights: Path, backend: str) -> None:
    reference = json.loads((shared / "reference" / "detections_640_rect.json").read_text())
    paths = {path.name: path for path in (shared / "data" / "coco128" / "images").rglob("*.jpg")}
    predictor = open_predictor(weights, device="cpu", backend=backend)
    assert isinstance(predictor, Session) == (backend != "torch")
    assert len(reference) == 16
    for name, answer in reference.items():
        found = predict(predictor, paths[name])
        assert isinstance(found, Detections)
        expected = np.array(answer["detections"], dtype=np.float32).reshape(-1, 6)
        assert found.class_ids.tolist() == expected[:, 5].tolist(), name
        np.testing.assert_allclose(found.boxes_xyxy, expected[:, :4], atol=0.5, rtol=0, err_msg=name)
        np.testing.assert_allclose(found.scores, expected[:, 4], atol=0.005, rtol=0, err_msg=name)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("conf", [0.0, 0.001, 0.05, 1.0])
@pytest.mark.usefixtures("cache")
def test_predictions_for_a_batch_are_those_of_the_plain_detector(weights: Path, backend: str, conf: float) -> None:
    images = np.random.default_rng(3).integers(0, 256, (3, 3, 96, 160), dtype=np.uint8)
    images[:, :, 20:70, 30:90] = np.arange(60, dtype=np.uint8) * 4
    predictor = open_predictor(weights, device="cpu", backend=backend)
    assert isinstance(predictor, Session)
    plain = regard.load(weights).predict(images, conf)
    assert (sum(map(len, plain)) > 5) == (conf < 1)
    for found, expected in zip(predictor.predict(images, conf), plain, strict=True):
        assert found.shape == expected.shape
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.usefixtures("cache")
def test_images_processed_in_parallel_have_the_same_detections(
    shared: Path, weights: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "available_threads", lambda: 3)
    paths = sorted((shared / "data" / "coco128" / "images").rglob("*.jpg"))[:17]
    single, parallel = (
        open_predictor(weights, device="cpu", backend=backend, parallel=parallel) for parallel in (False, True)
    )
    assert [model.streams for model in (single, parallel) if isinstance(model, Session)] == [1, 3]
    one_by_one = [predict(single, path, imgsz=320) for path in paths]
    for found, expected in zip(predict(parallel, list(paths), imgsz=320), one_by_one, strict=True):
        assert isinstance(found, Detections)
        assert isinstance(expected, Detections)
        assert found.source == expected.source
        assert found.class_ids.tolist() == expected.class_ids.tolist()
        np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1e-3)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_nobody_joins_a_first_call() -> None:
    inside, most = 0, []
    lock = threading.Lock()

    def run(images: NDArray[np.uint8], _outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        nonlocal inside
        with lock:
            inside += 1
            most.append(inside)
        time.sleep(0.05)
        with lock:
            inside -= 1
        return [images.astype(np.float32)]

    guarded = partial(first_call_alone(run), outputs=())
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda value: guarded(np.array([value], np.uint8))[0].item(), range(3)))
        assert found == [0, 1, 2]
        assert most == [1, 1, 1]
        list(pool.map(guarded, [np.zeros(1, np.uint8)] * 3))
    assert max(most[3:]) > 1  # and side by side afterwards


@pytest.mark.parametrize(("cores", "streams"), [(1, 1), (2, 2), (4, 4), (64, 4)])
@pytest.mark.usefixtures("cache")
def test_no_more_streams_than_threads(weights: Path, monkeypatch: pytest.MonkeyPatch, cores: int, streams: int) -> None:
    opened: list[SessionOptions] = []
    monkeypatch.setattr(choose, "available_threads", lambda: cores)
    monkeypatch.setattr(RUNTIMES["onnxruntime"], "open", lambda _, options: opened.append(options))
    for parallel in (False, True):
        open_predictor(weights, device="cpu", backend="onnxruntime", parallel=parallel)
    assert [(options.threads, options.streams) for options in opened] == [(cores, 1), (cores, streams)]


@pytest.mark.skipif(not OpenVINO().has_bfloat16(), reason="needs a processor with bfloat16, and OpenVINO")
@pytest.mark.usefixtures("cache")
def test_boxes_are_decoded_in_float32_though_the_network_ran_in_bfloat16(weights: Path, cache: Path) -> None:
    images = np.random.default_rng(3).integers(0, 256, (1, 3, 640, 640), dtype=np.uint8)
    open_predictor(weights, device="cpu", backend="openvino")
    (file,) = cache.rglob("model.xml")
    full, lower = (
        OpenVINO().open(file, SessionOptions(bfloat16=bfloat16)).predict(images, -1)[0] for bfloat16 in (False, True)
    )
    assert full.shape == lower.shape == (25200, 84)
    assert not np.array_equal(full[:, 4], lower[:, 4])
    # Rounded to bfloat16, numbers near 640 are 4 apart and their lower halves are zero.
    assert (lower[:, :2].copy().view(np.uint32) & 0xFFFF == 0).mean() < 0.05
    assert np.abs(full[:, :2] - lower[:, :2]).mean() < 0.5


def run_without(modules: set[str], arguments: list[str]) -> str:
    """Return what a command in a separate process prints, having checked that it imports none of the modules."""
    code = f"import sys; sys.argv = {['regard', *arguments]!r}\nfrom regard.__main__ import main\n"
    code += f"try: main()\nfinally: assert not (found := {modules!r} & set(sys.modules)), found"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


SLOW = {"torch", "torchvision", "matplotlib", "tensorboard", "lightning_fabric", "scipy", "onnx"}
COMPILED = ["--device", "cpu", "--backend", "onnxruntime"]


@pytest.mark.usefixtures("cache")
def test_predicting_with_a_filled_cache_imports_no_torch_nor_anything_else_that_is_slow(
    weights: Path, shared: Path, tmp_path: Path
) -> None:
    image = next(iter(sorted((shared / "data" / "coco128" / "images").rglob("*.jpg"))))
    run_without(
        SLOW | {"faster_coco_eval", "PIL", "http.client", "urllib.request"},
        ["predict", str(weights), str(image), *COMPILED, "-o", str(tmp_path / "out")],
    )
    assert (tmp_path / "out" / "detections.json").is_file()


@pytest.mark.usefixtures("cache")
def test_validating_with_a_filled_cache_imports_no_torch_either(weights: Path, shared: Path, tmp_path: Path) -> None:
    data = few_of_coco128(shared, tmp_path, 5)
    saved = tmp_path / "found.json"
    options = ["--imgsz", "320", "--format", "json", "--save-json", str(saved), "--workers", "2"]
    printed = json.loads(run_without(SLOW, ["val", str(weights), "--data", str(data), *COMPILED, *options]))
    plain = regard.validate(weights, data, imgsz=320, backend="torch")
    assert printed["ap"] == pytest.approx(plain.ap, abs=1e-3)
    assert printed["images"] == 5
    assert len(json.loads(saved.read_text())) > 5


def test_folding_changes_no_answer_by_more_than_rounding(shared: Path, weights: Path) -> None:
    reference = np.load(shared / "reference" / "raw_320.npz")
    images = torch.from_numpy(reference["input_uint8"].copy())[None].float() / 255
    quick = open_predictor(weights, device="cpu", backend="torch")
    assert isinstance(quick, torch.nn.Module)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in quick.modules())
    with torch.inference_mode():
        found, expected = quick(images), regard.load(weights)(images)
    worst = (found.boxes - expected.boxes).abs() / expected.boxes.abs().clamp(min=1)
    assert worst.max() < 1e-4
    assert worst.mean() < 1e-6
    assert (found.scores - expected.scores).abs().max() < 1e-4
