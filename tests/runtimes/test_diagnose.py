"""Attention of which it is known that it cannot be exported is rejected before any work."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from regard.__main__ import main
from regard.api import insert, save
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.nn.attention.se import SE
from regard.runtimes import export as export_module
from regard.runtimes.base import Runtime
from regard.runtimes.export import export_detector


class Sorting(SE):
    """An SE that nobody can export."""

    card = dataclasses.replace(SE.card, obstacle="it sorts by value", instead="SE")


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("name", ["a.onnx", "a.torchscript", "a_openvino"])
def test_rejected_before_any_work(
    small: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, gate: bool
) -> None:
    edited = insert(small, Sorting, after="attention", gate=gate, name="mine")
    monkeypatch.setattr(export_module, "write", lambda *_: pytest.fail("has begun"))
    monkeypatch.setattr(Runtime, "require_packages", lambda *_, **__: pytest.fail("has begun"))
    with pytest.raises(RegardError, match=r"layer 'mine' \(Sorting\) cannot be exported: it sorts by value") as caught:
        export_detector(edited, tmp_path / "new" / name)
    assert caught.value.hint == "the nearest module that can is SE"
    assert not list(tmp_path.iterdir())


def test_no_nearest_is_no_hint(small: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sorting, "card", dataclasses.replace(Sorting.card, instead=""))
    with pytest.raises(RegardError, match="it sorts by value") as caught:
        export_detector(insert(small, Sorting, after="attention"), tmp_path / "a.onnx")
    assert caught.value.hint is None


def test_the_command_says_so_and_exits_2(
    small: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(small, tmp_path / "small.safetensors")  # it contains an SE
    monkeypatch.setattr(SE, "card", Sorting.card)
    monkeypatch.setattr(sys, "argv", ["regard", "export", str(tmp_path / "small.safetensors")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    reported = capsys.readouterr().err
    assert "error: layer 'attention' (SE) cannot be exported: it sorts by value" in reported
    assert [file.name for file in tmp_path.iterdir()] == ["small.safetensors"]
