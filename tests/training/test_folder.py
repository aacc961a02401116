"""The folder of a run: what is in it, and that nothing is half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import regard
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.graph.read import read_spec
from regard.system.locks import LOCK
from regard.training.folder import (
    BEGUN,
    FILES,
    RunFolder,
    begin_run,
    discard_begun,
    environment,
    git_state,
    read_config,
    reject_taken,
)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_configuration_says_what_ran_on_what(model: Detector, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "run")
    model.head.anchors.mul_(1.5)
    folder.write_config(model, {"data": {"source": "細胞"}, "settings": {"seed": 7}})
    assert names_in(folder.path) == ["model.yaml", "run.json"]
    config = read_config(folder.path)
    assert (config["data"], config["settings"]) == ({"source": "細胞"}, {"seed": 7})
    known = config["environment"]
    assert known["python"].startswith("3.")
    assert {"regard", "torch", "numpy"} <= known["packages"].keys()
    assert {"started", "platform", "cpus", "threads", "gpu", "git", "regard_git", "command"} <= known.keys()
    spec = read_spec(folder.path / "model.yaml")
    assert spec.layers == model.spec.layers
    assert spec.anchors == ((22.5, 22.5, 28.5, 28.5, 36.0, 36.0),)  # as the head has them, not as its file says


def test_command_is_the_one_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/regard/__main__.py", "train", "yolov5n"])
    assert environment()["command"] == ["regard", "train", "yolov5n"]


def test_git_state_names_commit_and_changes(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "kept.py").write_text("1")
    subprocess.run([*git, "add", "kept.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    state = git_state(tmp_path)
    assert state is not None
    assert (len(state["commit"]), state["changed"]) == (40, False)
    (tmp_path / "new.py").write_text("2")
    assert git_state(tmp_path) == state | {"changed": True}
    assert git_state(tmp_path, "kept.py") is not None
    assert git_state(tmp_path, "new.py") is None  # in the tree, but none of its files


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    folder.write("notes.txt", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RegardError, match="No space left"):
        folder.write("notes.txt", "new")
    assert names_in(tmp_path) == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "old"


@pytest.mark.parametrize(
    ("text", "words"), [(None, "no run in this folder"), ("{", "not valid JSON"), ("[]", "not a mapping")]
)
def test_a_folder_that_is_no_run(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(RegardError, match=words):
        read_config(tmp_path)


def test_json_is_written_for_people(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_json("a.json", {"名": [1]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "名" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"名": [1]}


def test_git_state_runs_nothing_that_the_working_tree_names(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    evil = f"touch '{tmp_path / '.git' / 'ran'}'"
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "kept.py").write_text("1")
    subprocess.run([*git, "add", "kept.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    hook = tmp_path / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{evil}\n")
    hook.chmod(0o755)
    subprocess.run([*git, "config", "core.fsmonitor", f"{evil}; false"], check=True)
    os.utime(tmp_path / "kept.py", (1, 1))  # so that git looks into the file
    assert (git_state(tmp_path) or {})["changed"] is False
    assert not (tmp_path / ".git" / "ran").exists()
    (tmp_path / ".gitattributes").write_text("* filter=evil\n")
    subprocess.run([*git, "config", "filter.evil.clean", f"{evil}; cat"], check=True)
    os.utime(tmp_path / "kept.py", (2, 2))
    state = git_state(tmp_path) or {}
    assert (len(state["commit"]), state["changed"]) == (40, None)
    assert not (tmp_path / ".git" / "ran").exists()


def test_a_new_run_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    reject_taken(tmp_path)
    (tmp_path / "model.yaml").write_text("somebody's")
    with pytest.raises(RegardError, match="not replaced"):
        reject_taken(tmp_path)
    (tmp_path / LOCK).touch()  # as any killed command leaves it, also one that wrote none of these files
    with pytest.raises(RegardError, match="not replaced"):
        begin_run(tmp_path)
    discard_begun(tmp_path)
    assert (tmp_path / "model.yaml").read_text() == "somebody's"
    (tmp_path / "model.yaml").unlink()
    begin_run(tmp_path)
    (tmp_path / "model.yaml").write_text("the run's")
    reject_taken(tmp_path)  # it was killed there
    discard_begun(tmp_path)
    assert names_in(tmp_path) == [LOCK, "notes.txt"]


def test_a_run_that_is_stopped_before_it_can_be_resumed_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    model, data = regard.load("odd-one-out"), "synthetic:context?train=4&val=2&test=0"
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr("regard.training.folder.environment", stop)
    with pytest.raises(KeyboardInterrupt):
        regard.train(model, data, folder=tmp_path, epochs=1, imgsz=64, workers=0, plots=False, verbose=False)
    assert not (tmp_path / "state.pt").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(RegardError, match="no run in this folder"):
        regard.resume(tmp_path)
    monkeypatch.undo()
    run = regard.train(model, data, folder=tmp_path, epochs=1, imgsz=64, workers=0, plots=False, verbose=False)
    assert run.metrics.images == 2
    assert not (tmp_path / BEGUN).exists()


@pytest.mark.parametrize("name", FILES)
def test_a_run_that_fails_early_deletes_no_file_that_was_there_before(tmp_path: Path, name: str) -> None:
    """Whatever a killed command has left, and wherever the run fails."""
    (tmp_path / LOCK).touch()
    (tmp_path / name).write_text("mine")
    settings = {"epochs": 1, "imgsz": 65, "workers": 0, "plots": False, "verbose": False}
    with pytest.raises(RegardError, match="not replaced"):
        regard.train("odd-one-out", "synthetic:context?train=4&val=2&test=0", folder=tmp_path, **settings)
    assert (tmp_path / name).read_text() == "mine"
