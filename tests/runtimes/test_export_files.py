"""The files of an export: all of them or those of the one before, whatever happens."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.runtimes.export import _put_in_place, export_detector
from regard.runtimes.table import default_path
from regard.runtimes.torchscript import TorchScript


def stopped(original: Callable[..., object], left: Iterator[int]) -> Callable[..., object]:
    """A function that calls another as often as there is anything left."""

    def call(*arguments: object, **options: object) -> object:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    return call


def test_weights_never_stand_next_to_the_graph_of_an_earlier_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after any number of steps, there is the old pair, the new pair, or no graph."""
    for steps in range(5):
        folder, scratch = tmp_path / f"{steps}", tmp_path / f"{steps}-scratch"
        for place, content in ((folder, "old"), (scratch, "new")):
            place.mkdir()
            for suffix in ("xml", "bin"):
                (place / f"model.{suffix}").write_text(content)
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            left = iter(range(steps))
            for name in ("replace", "unlink"):
                patch.setattr(os, name, stopped(getattr(os, name), left))
            _put_in_place(scratch, folder / "model.xml", is_again=True)
        graph = folder / "model.xml"
        assert not graph.exists() or graph.read_text() == (folder / "model.bin").read_text(), steps
    assert graph.read_text() == "new"
    assert sorted(os.listdir(folder)) == ["model.bin", "model.xml"]


def test_weights_of_something_else_are_not_replaced(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for suffix in ("xml", "bin"):
        (scratch / f"model.{suffix}").write_text("new")
    other = tmp_path / "model.bin"
    other.write_text("somebody's")
    with pytest.raises(RegardError, match="not replaced"):
        _put_in_place(scratch, tmp_path / "model.xml", is_again=False)
    assert (other.read_text(), (tmp_path / "model.xml").exists()) == ("somebody's", False)


def test_an_export_without_a_path_replaces_only_one_of_its_own(small: Detector, tmp_path: Path) -> None:
    weights, made = tmp_path / "small.pt", tmp_path / "small.torchscript"
    weights.touch()
    export_detector(small, default_path(weights, "torchscript"), imgsz=64)
    assert default_path(weights, "torchscript") == made
    for content in (b"somebody's", b""):
        made.write_bytes(content)
        with pytest.raises(RegardError, match="not replaced"):
            default_path(weights, "torchscript")
    weights = tmp_path / "small.safetensors"
    weights.touch()
    with pytest.raises(RegardError, match="not replaced"):
        default_path(weights, "safetensors")


@pytest.mark.parametrize("cause", [OSError(errno.ENOSPC, "No space left on device"), MemoryError()])
def test_what_the_system_does_is_blamed_on_no_layer(
    small: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the converter failed in layer 3") from cause

    monkeypatch.setattr(TorchScript, "write", fail)
    target = tmp_path / "out" / "model.torchscript"
    with pytest.raises((RegardError, MemoryError)) as caught:
        export_detector(small, target, imgsz=32)
    if isinstance(caught.value, RegardError):
        assert str(caught.value) == f"{target}: cannot write the file: No space left on device"
    assert os.listdir(target.parent) == []
