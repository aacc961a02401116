"""What the user can correct is reported before a model is opened, which may compile it for seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import regard
import regard.api.runs
import regard.runtimes
from regard.__main__ import main

DATA = "synthetic:context?train=0&val=3&test=0"


@pytest.fixture(autouse=True)
def _nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("the model is opened first")

    for module in (regard.api.runs, regard.runtimes):
        monkeypatch.setattr(module, "open_predictor", opened)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["val", "odd-one-out", "--data", DATA, "--split", "tset"], "no split 'tset'"),
        (["val", "odd-one-out", "--data", "nothing"], "nothing"),
        (["val", "odd-one-out", "--data", DATA, "--save-json", "folder"], "this is a folder"),
        (["val", "odd-one-out", "--data", DATA, "--save-errors", "file/errors.json"], "is a file"),
        (["val", "none.pt", "--data", "nothing"], "none.pt"),
        (["val", "none.safetensors", "--data", "nothing"], "none.safetensors"),
        (["val", "odd-one-uot", "--data", "nothing"], "did you mean 'odd-one-out'"),
        (["predict", "odd-one-out", "none.jpg"], "none.jpg"),
        (["predict", "odd-one-out", "none.jpg", "*.png"], "none.jpg"),
        (["predict", "odd-one-out", "folder"], "no images or videos"),
        (["predict", "none.pt", "none.jpg"], "none.pt"),
    ],
)
def test_a_command_opens_no_model_for_what_is_not_there(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["regard", *words])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    "call",
    [
        lambda: regard.val("odd-one-out", DATA, split="tset"),
        lambda: regard.val("none.pt", "nothing"),
        lambda: regard.predict("odd-one-out", Path("none.jpg")),
        lambda: regard.predict("odd-one-out", ["none.jpg", "none.png"]),
    ],
)
def test_in_python_too(call: Callable[[], object]) -> None:
    with pytest.raises(regard.RegardError):
        call()


def test_one_source_of_several_is_enough() -> None:
    with pytest.raises(AssertionError, match="opened first"):
        regard.predict("odd-one-out", ["none.jpg", "file"])
