"""TorchScript as the runtime of weights, and classes inside an exported file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import regard
from regard.errors import RegardError
from regard.graph.detector import Detector


def test_weights_are_compiled_and_predict_what_pytorch_does(
    small: Detector, noise: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    regard.save(small, tmp_path / "small.safetensors")
    found = []
    for backend in ("torch", "torchscript"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning says that PyTorch is used instead
            found.append(regard.predict(tmp_path / "small.safetensors", noise, imgsz=64, conf=0.001, backend=backend))
    assert np.allclose(found[0].boxes_xyxy, found[1].boxes_xyxy, atol=1e-3)
    assert np.allclose(found[0].scores, found[1].scores, atol=1e-5)


def test_exported_classes_are_named_or_numbered(small: Detector, tmp_path: Path) -> None:
    by_name = regard.export(small, tmp_path / "a.torchscript", imgsz=64, nms=True, classes=[small.names[1]])
    by_index = regard.export(small, tmp_path / "b.torchscript", imgsz=64, nms=True, classes=[1])
    assert by_name.format == by_index.format == "torchscript"
    for wrong in ("no-such-class", 99, -5):
        with pytest.raises(RegardError, match="unknown class"):
            regard.export(small, tmp_path / "c.torchscript", imgsz=64, nms=True, classes=[wrong])
