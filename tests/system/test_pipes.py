"""A pipe with the name of a file is an error at once and is never waited for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import regard
from regard.data.formats import load_data
from regard.data.images import ImageFile, image_size
from regard.errors import RegardError, RegardWarning
from regard.graph.read import read_spec
from regard.prediction.sources import frames
from regard.runtimes import open_predictor
from regard.system.loaders import read_json, read_start, read_text, read_yaml
from regard.system.xml import read_xml

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")

READERS: dict[str, Callable[[Path], object]] = {
    "a.txt": read_text,
    "a.json": read_json,
    "b.json": load_data,
    "a.xml": read_xml,
    "b.xml": open_predictor,
    "a.yaml": read_yaml,
    "b.yaml": read_spec,
    "c.yaml": load_data,
    "a.pt": open_predictor,
    "a.safetensors": open_predictor,
    "a.onnx": open_predictor,
    "a.torchscript": open_predictor,
    "a.png": lambda path: ImageFile(path).read(),
    "b.png": lambda path: image_size(ImageFile(path)),
    "c.png": lambda path: list(frames(path)),
    "a.mp4": lambda path: list(frames(path)),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_an_error(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(RegardError):
        READERS[name](tmp_path / name)
    assert read_start(tmp_path / name, 10) == b""


@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_a_pipe_among_images_is_skipped(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((5, 7, 3), np.uint8))
    with pytest.warns(RegardWarning, match="skipped"):
        assert [Path(frame.source).name for frame in frames(tmp_path)] == ["b.png"]


@pytest.mark.parametrize("name", ["Annotations/a.xml", "data.yaml", "a.json", "a.csv", "labels/a.txt"])
def test_a_pipe_in_a_data_set_is_an_error(name: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((5, 7, 3), np.uint8))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(RegardError):
        load_data(tmp_path)


def test_data_are_opened_by_the_loaders_alone() -> None:
    """A file that is opened elsewhere may be a pipe, or have any size."""
    folder = Path(regard.__file__).parent / "data"
    opening = re.compile(r"(?<!Image)\.open\(|(?<![\w.])open\(|\.read_text\(")
    assert [file.name for file in folder.rglob("*.py") if opening.search(file.read_text(encoding="utf-8"))] == []
