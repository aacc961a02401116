"""Trainings and studies: queued, rejected, stopped, resumed, and reported; each is a process of the command line."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import regard
from regard.ablate.plan import read_plan
from regard.errors import RegardError
from regard.studio import jobs as jobs_module
from regard.studio.jobs import START, Jobs
from regard.studio.training import _changes
from regard.training.history import LOG

DATA = "synthetic:context?train=8&val=4&test=0"


class Process:
    """A process that runs until it is told to end."""

    started: list[list[str]]
    pid = 2**22 + 1  # of no process

    def __init__(self, words: list[str], **_: Any) -> None:
        type(self).started.append(words)
        self.ended, self.code = threading.Event(), None

    def poll(self) -> int | None:
        return self.code

    def wait(self) -> None:
        self.ended.wait()

    def send_signal(self, _: int) -> None:
        self.code = 130
        self.ended.set()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    Process.started = []
    monkeypatch.setattr(jobs_module.subprocess, "Popen", Process)
    return Process.started


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_one_at_a_time_as_a_command(tmp_path: Path, started: list[list[str]]) -> None:
    jobs, model = Jobs(tmp_path.resolve(), ["a.py:A"]), regard.load("odd-one-out")
    assert jobs.train(model, "first", DATA, {"epochs": 2, "plots": False}) == "runs/first"
    folder = tmp_path.resolve() / "runs" / "first"
    rest = [f"--data={DATA}", f"--output={folder}", "--epochs=2", "--no-plots", "--module=a.py:A"]
    assert started[0][1:] == ["-m", "regard", "train", str(folder / START), *rest]
    assert regard.load(folder / START).nc == model.nc
    jobs.train(model, "second", DATA, {})
    jobs.train(model, "third", DATA, {})
    assert jobs.queue() == ["runs/second", "runs/third"]
    assert len(started) == 1
    jobs.stop("runs/second")
    assert jobs.queue() == ["runs/third"]
    jobs.stop("runs/first")
    wait_for(lambda: len(started) == 2)
    assert started[1][4] == str(tmp_path.resolve() / "runs" / "third" / START)
    with pytest.raises(RegardError, match="goes on already"):
        jobs.resume("runs/third")
    for name in ("runs/first", "runs/second"):
        with pytest.raises(RegardError, match="not started by a studio, or has ended"):
            jobs.stop(name)
    with pytest.raises(RegardError, match="no run"):
        jobs.resume("runs")
    (folder / "run.json").write_text("{}")
    jobs.resume("runs/first")
    jobs.stop("runs/third")
    wait_for(lambda: len(started) == 3)
    assert started[2][3:5] == ["train", f"--resume={folder}"]
    jobs.stop("runs/first")
    with pytest.raises(RegardError, match="there is a run"):
        jobs.train(model, "first", DATA, {})


def test_the_queue_is_bounded(tmp_path: Path, started: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "MOST_WAITING", 1)
    jobs, model = Jobs(tmp_path.resolve()), regard.load("odd-one-out")
    for name in "ab":
        jobs.train(model, name, DATA, {})
    with pytest.raises(RegardError, match="1 trainings and studies wait already"):
        jobs.train(model, "c", DATA, {})
    assert not (tmp_path / "runs" / "c").exists()
    jobs.stop("runs/b")
    jobs.stop("runs/a")
    assert len(started) == 1


@pytest.mark.parametrize("name", ["../x", "", "a/b", "-o", ".hidden", "x" * 100, "CON", "aux.1", "a."])
def test_a_name_cannot_lead_elsewhere(name: str, tmp_path: Path, started: list[list[str]]) -> None:
    with pytest.raises(RegardError, match="no name"):
        Jobs(tmp_path.resolve()).train(regard.load("odd-one-out"), name, DATA, {})
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


def test_what_has_not_begun_is_listed_begins_later_or_is_discarded(studio: Any, started: list[list[str]]) -> None:
    studio.post("open", source="odd-one-out")
    for name in ("a", "b"):
        studio.post("train", name=name, data=DATA, settings={"epochs": 3, "freeze": "p2 p3"})
    assert [(one["name"], one["state"]) for one in studio.get("jobs")["pending"]] == [
        ("runs/a", "starting"),
        ("runs/b", "waiting"),
    ]
    assert "works" in studio.post("runs/discard", status=422, run="runs/b")["what"]
    studio.post("runs/stop", run="runs/b")
    later = type(studio)(studio.workspace)  # the server was killed, and the queue with it
    assert [one["state"] for one in later.get("jobs")["pending"]] == ["stopped", "stopped"]
    later.post("runs/resume", run="runs/b")
    assert [words for words in started[1] if "epochs" in words or "freeze" in words] == ["--epochs=3", "--freeze=p2,p3"]
    assert started[1][2:4] == ["regard", "train"]
    (studio.workspace / "runs" / "a" / LOG).write_text("no such data")
    assert later.get("jobs")["pending"][0]["log"] == "no such data"
    later.post("runs/discard", run="runs/a")
    assert not (studio.workspace / "runs" / "a").exists()
    (studio.workspace / "runs" / "b" / "run.json").write_text("{}")
    assert later.get("jobs")["pending"] == []
    for content in (
        "[]",
        "{}",
        '{"data": "synthetic:context", "settings": {"epoch": 3}}',
        '{"data": "/etc", "settings": {}}',
    ):
        folder = studio.workspace / "runs" / "c"
        folder.mkdir(exist_ok=True)
        (folder / "start.json").write_text(content)
        (folder / START).write_bytes(b"")
        assert later.post("runs/resume", status=422, run="runs/c")["what"]
    assert len(started) == 2


def test_files_lie_in_the_workspace(studio: Any, started: list[list[str]]) -> None:
    studio.post("open", source="odd-one-out")
    for data in ("", "/etc", "../data", "no-such"):
        studio.post("train", status=422, name="a", data=data)
    for settings in ({"recipe": "/etc/hyp.yaml"}, {"epochs": 0}, {"epochs": "x"}, {"epoch": 3}):
        assert studio.post("train", status=422, name="a", data=DATA, settings=settings)["what"]
    for settings in ({"weights": "../w.pt"}, {"model": "/etc/a.yaml"}, {"recipe": "../hyp.yaml"}, {"insert": "SE"}):
        assert studio.post("study", status=422, name="a", data=DATA, settings=settings)["what"]
    studio.post("study", status=422, name="a", data=DATA, base="../a.yaml", settings={"noise": True})
    assert not started
    assert not (studio.workspace / "runs").exists()
    (studio.workspace / "cells").mkdir()
    assert studio.post("train", name="a", data="cells", settings={"epochs": 3, "freeze": "p2 p3"})["path"] == "runs/a"
    assert started[0][5] == f"--data={studio.workspace.resolve() / 'cells'}"
    assert started[0][-2:] == ["--epochs=3", "--freeze=p2,p3"]


def test_a_study_starts_from_the_base_of_the_edits(studio: Any, started: list[list[str]]) -> None:
    base = studio.post("open", source="odd-one-out")
    edited = studio.post("edit", kind="insert", layer="p4", module="SE", options={"reduction": 8})
    assert (edited["recipe"]["insert"], edited["recipe"]["replace"]) == ("SE(reduction=8)@p4", "")
    settings = {"insert": edited["recipe"]["insert"] + "\nECA@p3", "seeds": "2", "epochs": 1, "train": "cache=ram"}
    assert studio.post("study", name="b", data=DATA, settings=settings)["path"] == "runs/b"
    folder = studio.workspace.resolve() / "runs" / "b"
    assert started[0][3:] == ["ablate", f"--plan={folder / 'plan.yaml'}", f"--output={folder}"]
    plan = read_plan(folder / "plan.yaml")
    assert (plan.insert, plan.seeds, plan.train) == (("SE(reduction=8)@p4", "ECA@p3"), (0, 1), {"cache": "ram"})
    assert "odd-one-out" in plan.question
    known = [row.name for row in regard.load(plan.base).spec.layers]
    assert known == [node["name"] for node in base["diagram"]["nodes"]]
    work = studio.get("jobs")
    assert [(one["name"], one["state"], one["runs"]) for one in work["studies"]] == [("runs/b", "starting", [])]
    assert work["running"] == ["runs/b"]  # it is being set up


def test_changes_of_runs_are_events(tmp_path: Path) -> None:
    async def first() -> dict[str, Any]:
        async for event in _changes(Jobs(tmp_path), str):
            return json.loads(event.removeprefix("data: "))
        return {}

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text("{}")
    assert asyncio.run(first())["runs"][0]["name"] == "a"


@pytest.mark.slow
def test_a_training_runs_to_its_end(studio: Any) -> None:
    studio.post("open", source="odd-one-out-se")
    studio.post("train", name="real", data=DATA, settings={"epochs": 1, "imgsz": 64, "batch": 4})
    until = time.monotonic() + 200
    while (run := (studio.get("runs") or [None])[0]) is None or run["state"] != "finished":
        assert time.monotonic() < until, run
        time.sleep(0.5)
    assert run["name"] == "runs/real"
    assert len(run["results"]["val/ap"]) == 1
    assert "AP50" in run["log"]
    assert regard.load(studio.workspace / "runs" / "real").nc == 2


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("plan.yaml", "base: {0}\ndata: synthetic:context\n"),
        ("plan.yaml", "base: yolov5n\nmodel: [{0}]\ndata: synthetic:context\n"),
        ("study.json", '{{"plan": {{"base": "yolov5n", "weights": "{0}"}}}}'),
        ("run.json", '{{"data": {{"source": "{0}"}}}}'),
    ],
)
def test_a_run_from_elsewhere_that_reads_files_outside_is_not_resumed(
    file: str, content: str, studio: Any, started: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("other") / "secret.yaml"
    outside.write_text("nc: 1\n")
    (studio.workspace / "run").mkdir()
    (studio.workspace / "run" / file).write_text(content.format(outside))
    assert "outside the workspace" in studio.post("runs/resume", status=422, run="run")["what"]
    assert not started


@pytest.mark.parametrize("content", ["[1]", '{"plan": [1, 2]}', "{}"])
def test_a_damaged_study_is_not_resumed(content: str, studio: Any, started: list[list[str]]) -> None:
    (studio.workspace / "run").mkdir()
    (studio.workspace / "run" / "study.json").write_text(content)
    assert "damaged" in studio.post("runs/resume", status=422, run="run")["what"]
    assert not started
