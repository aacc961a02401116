"""What the command line prints in addition to its results: log messages by level, warnings, and a user's callback."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from regard.cli.messages import _Handler, show_messages
from regard.cli.options import callbacks_of
from regard.errors import RegardError

TRAIN = ["train", "odd-one-out", "--data", "synthetic:context?train=8&val=4&test=0", "-o", "run"]
TRAIN += ["--imgsz", "64", "--batch", "4", "--epochs", "1", "--workers", "0", "--device", "cpu", "--no-plots"]

CALLBACKS = """
import regard

class Note(regard.Callback):
    def on_epoch_end(self, event):
        print("epoch", event.epoch, "of", event.epochs)

class Broken(regard.Callback):
    def on_run_start(self, event):
        1 / 0

class Needy(regard.Callback):
    def __init__(self, what):
        pass
"""


def regard(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "regard", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables, check=False)


def test_a_callback_is_one_file(tmp_path: Path) -> None:
    """All that a newcomer writes is a file with a class; a run without progress prints what it prints."""
    (tmp_path / "mine.py").write_text(CALLBACKS)
    options = ("--callback", "mine.py:Note", "--callback", "mine.py:Broken", "--no-verbose")
    done = regard(*TRAIN, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "epoch 1 of 1" in done.stdout.splitlines()
    assert "img/s" not in done.stdout
    assert "anchors: best possible recall" in done.stderr
    assert "error: Broken.on_run_start failed: ZeroDivisionError: division by zero" in done.stderr
    assert (tmp_path / "run" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nowhere.py:Note", "nowhere.py: no such file"),
        ("mine.py:Not", "did you mean 'Note'?"),
        ("mine.py:Needy", "a callback whose constructor needs no arguments"),
    ],
)
def test_a_callback_that_cannot_be_made_is_explained(
    reference: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CALLBACKS)
    with pytest.raises(RegardError) as caught:
        callbacks_of([reference])
    assert words in str(caught.value)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Return the project's logger without handlers, and leave it as it was."""
    logger, show = logging.getLogger("regard"), warnings.showwarning
    level, handlers = logger.level, logger.handlers[:]
    logger.handlers.clear()
    yield logger
    logger.setLevel(level)
    logger.handlers[:] = handlers
    warnings.showwarning = show


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (None, ["[b] fitted", "warning: odd"]),
        ("WARNING", ["warning: odd"]),
        ("debug", ["debug: step", "[b] fitted", "warning: odd"]),
    ],
)
def test_messages_are_shown_from_the_level_that_is_asked_for(
    level: str | None,
    shown: list[str],
    logger: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("REGARD_LOG", raising=False)
    if level:
        monkeypatch.setenv("REGARD_LOG", level)
    show_messages()
    show_messages()  # as when the command line is called twice in one process
    child = logger.getChild("training")
    child.debug("step")
    child.info("[b] fitted")
    child.warning("odd")
    assert capsys.readouterr() == ("", "".join(f"{line}\n" for line in shown))


def test_an_unknown_level_is_an_error(tmp_path: Path) -> None:
    wrong = regard("--help", cwd=tmp_path, REGARD_LOG="warn")
    assert wrong.returncode == 2
    assert "did you mean 'warning'?" in wrong.stderr


def test_former_options_and_names_are_still_understood(tmp_path: Path) -> None:
    done = regard("predict", "odd-one-out", "nowhere.jpg", "--no-pictures", "--no-tables", cwd=tmp_path)
    assert "warning: --pictures is now called --save-images" in done.stderr
    assert "warning: --tables is now called --save-json, --save-csv" in done.stderr
    now, former = (regard(name, "--help", cwd=tmp_path).stdout.splitlines()[3:] for name in ("val", "validate"))
    assert now == former


def test_from_python_nothing_is_printed(tmp_path: Path) -> None:
    code = (
        "import regard; regard.train(regard.load('odd-one-out'), 'synthetic:context?train=8&val=4&test=0', imgsz=64, "
        "batch=4, epochs=1, workers=0, device='cpu', verbose=False, single_cls=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_handler_goes_with_a_run_into_its_processes() -> None:
    assert isinstance(pickle.loads(pickle.dumps(_Handler())), logging.Handler)
