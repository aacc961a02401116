"""Trainings: started, refused, stopped, resumed, and reported; each is a process of the command line."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import regard
from regard.errors import RegardError
from regard.studio import jobs as jobs_module
from regard.studio.jobs import START, Jobs
from regard.studio.training import _changes
from regard.training.history import LOG

DATA = "synthetic:context?train=8&val=4&test=0"


class Process:
    """A process that runs until it is told to end."""

    started: list[list[str]]

    def __init__(self, words: list[str], **_: Any) -> None:
        type(self).started.append(words)
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, _: int) -> None:
        self.code = 130


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    Process.started = []
    monkeypatch.setattr(jobs_module.subprocess, "Popen", Process)
    return Process.started


def test_one_training_at_a_time_as_a_command(tmp_path: Path, started: list[list[str]]) -> None:
    jobs, model = Jobs(tmp_path.resolve(), ["a.py:A"]), regard.load("odd-one-out")
    assert jobs.start(model, "first", DATA, {"epochs": 2}) == "runs/first"
    folder = tmp_path.resolve() / "runs" / "first"
    rest = ["--data", DATA, "--output", str(folder), "--epochs", "2", "--module", "a.py:A"]
    assert started[0][1:] == ["-m", "regard", "train", str(folder / START), *rest]
    assert regard.load(folder / START).nc == model.nc
    with pytest.raises(RegardError, match="runs already"):
        jobs.start(model, "second", DATA, {})
    with pytest.raises(RegardError, match="no running training"):
        jobs.stop("runs/second")
    jobs.stop("runs/first")
    with pytest.raises(RegardError, match="no running training"):
        jobs.stop("runs/first")
    with pytest.raises(RegardError, match="no run"):
        jobs.resume("runs/first")
    (folder / "run.json").write_text("{}")
    jobs.resume("runs/first")
    assert started[1][3:6] == ["train", "--resume", str(folder)]
    jobs.stop("runs/first")
    with pytest.raises(RegardError, match="there is a run"):
        jobs.start(model, "first", DATA, {})


@pytest.mark.parametrize("name", ["../x", "", "a/b", "-o", ".hidden", "x" * 100])
def test_a_name_cannot_lead_elsewhere(name: str, tmp_path: Path, started: list[list[str]]) -> None:
    with pytest.raises(RegardError, match="no name"):
        Jobs(tmp_path.resolve()).start(regard.load("odd-one-out"), name, DATA, {})
    assert not started


def test_a_log_that_is_a_link_is_not_written(tmp_path: Path, started: list[list[str]]) -> None:
    folder, victim = tmp_path.resolve() / "run", tmp_path / "victim"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    victim.write_text("mine")
    (folder / LOG).symlink_to(victim)
    with pytest.raises(RegardError, match="a link"):
        Jobs(tmp_path.resolve()).resume("run")
    assert (victim.read_text(), started) == ("mine", [])


def test_data_lies_in_the_workspace(studio: Any, started: list[list[str]]) -> None:
    studio.post("open", source="odd-one-out")
    for data in ("", "/etc", "../data", "no-such"):
        studio.post("train", status=422, name="a", data=data)
    assert not started
    (studio.workspace / "cells").mkdir()
    assert studio.post("train", name="a", data="cells", epochs=3)["path"] == "runs/a"
    assert started[0][6] == str(studio.workspace.resolve() / "cells")


def test_changes_of_runs_are_events(tmp_path: Path) -> None:
    async def first() -> list[Any]:
        async for event in _changes(Jobs(tmp_path)):
            return json.loads(event.removeprefix("data: "))
        return []

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text("{}")
    assert asyncio.run(first())[0]["name"] == "a"


@pytest.mark.slow
def test_a_training_runs_to_its_end(studio: Any) -> None:
    studio.post("open", source="odd-one-out-se")
    studio.post("train", name="real", data=DATA, epochs=1, imgsz=64, batch=4)
    until = time.monotonic() + 200
    while (run := (studio.get("runs") or [None])[0]) is None or run["state"] != "finished":
        assert time.monotonic() < until, run
        time.sleep(0.5)
    assert run["name"] == "runs/real"
    assert len(run["results"]["val/ap"]) == 1
    assert "AP50" in run["log"]
    assert regard.load(studio.workspace / "runs" / "real").nc == 2
