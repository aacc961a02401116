"""Fixtures that every room's tests share."""

from __future__ import annotations

import gettext
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hub_stand_in import StandIn, hub_of_tests

# Tests that import these packages by themselves contact nobody either.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["REGARD_LANG"] = "en"  # whatever the language of who tests

Paint = Callable[[Path, int, int], Path]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images, weights and reference numbers next to the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "README.md").is_file():
        pytest.skip("needs the folder shared/ (real images, weights, reference numbers) next to the checkout")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """A stand-in of the Hugging Face Hub, which the package uses until the end of the test."""
    with hub_of_tests(monkeypatch, tmp_path / "hf") as server:
        yield server


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process speaks 繁體中文 until the end of the test."""
    from rich import _wrap
    from rich.text import Text

    from regard.system import translation

    monkeypatch.setattr(_wrap, "re_word", _wrap.re_word)  # which it replaces
    monkeypatch.setattr(Text, "rstrip_end", Text.rstrip_end)
    monkeypatch.setenv("LANGUAGE", "")
    domain = gettext.textdomain()
    translation.use_language("zh-TW")
    yield
    gettext.textdomain(domain)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare nothing that a test does not ask for, and keep nothing in the user's cache."""
    monkeypatch.setenv("REGARD_BACKEND", "torch")
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path_factory.getbasetemp() / "regard-cache"))


@pytest.fixture(autouse=True)
def _own_messages() -> Iterator[None]:
    """Remove the handler of messages that a test of the command line leaves."""
    logger = logging.getLogger("regard")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def _own_interrupts() -> Iterator[None]:
    """Answer Ctrl-C as before a test of the command line, which sets how its process ends."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def paint() -> Paint:
    """A function that writes an image of (height, width) pixels, different for each path."""

    def write(path: Path, height: int, width: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(path.name.encode()))
        assert cv2.imwrite(str(path), rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        return path

    return write


@pytest.fixture
def yolo_set(tmp_path: Path, paint: Paint) -> Path:
    """A YOLO set of two classes: two training images, the second without boxes, and one validation image."""
    for split, stem, text in (
        ("train", "a", "1 0.5 0.25 0.125 0.5\n0 0.1 0.2 0.05 0.07\n"),
        ("train", "b", ""),
        ("val", "c", "0 0.3 0.7 0.11 0.13\n"),
    ):
        paint(tmp_path / "images" / split / f"{stem}.png", 13, 17)
        label = tmp_path / "labels" / split / f"{stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text)
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")
    return tmp_path
