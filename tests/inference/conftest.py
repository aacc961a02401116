"""yolov5n prepared once; each test gets the cache as its own copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from regard.inference import open_finder


@pytest.fixture(scope="session")
def weights(shared: Path) -> Path:
    return shared / "weights" / "yolov5n.pt"


@pytest.fixture(scope="session")
def filled(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with yolov5n in it."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGARD_CACHE", str(folder))
        open_finder(weights, device="cpu", backend="onnxruntime")
    return folder


@pytest.fixture
def cache(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in use."""
    folder = tmp_path / "cache"
    shutil.copytree(filled, folder)
    monkeypatch.setenv("REGARD_CACHE", str(folder))
    return folder
