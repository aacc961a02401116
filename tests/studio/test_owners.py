"""Several studios on one workspace, one after another or at once: what works is known to all, and each can stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import regard
from regard.errors import RegardError
from regard.studio.jobs import Jobs
from regard.studio.owners import OWNER, interrupt, living_owner, owned_by, write_owner
from regard.studio.training import work_of
from regard.training.history import LOG

DATA = "synthetic:context?train=8&val=4&test=0"

COMMAND = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the tests run in the background
folder = Path(next(word.partition("=")[2] for word in sys.argv if word.startswith(("--output=", "--resume="))))
if (folder / "fails").exists() or "--device=cuda" in sys.argv:
    print("error: device: no CUDA\\n  expected: cpu", flush=True)
    sys.exit(2)
try:
    (folder / "begun").touch()
    time.sleep(60)
except KeyboardInterrupt:
    print("stopped", flush=True)
    sys.exit(130)
"""


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace whose trainings are processes that only wait for Ctrl-C."""
    (tmp_path / "commands" / "regard").mkdir(parents=True)
    (tmp_path / "commands" / "regard" / "__init__.py").touch()
    (tmp_path / "commands" / "regard" / "__main__.py").write_text(COMMAND)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "commands"))
    workspace = (tmp_path / "work").resolve()
    (workspace / "runs" / "old").mkdir(parents=True)
    (workspace / "runs" / "old" / "run.json").write_text("{}")
    yield workspace
    for folder in (workspace / "runs").iterdir():
        if (owner := living_owner(folder)) and not owner.waiting:
            os.kill(owner.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


@pytest.fixture(scope="module")
def model() -> Any:
    return regard.load("odd-one-out")


def states(jobs: Jobs) -> dict[str, str]:
    work = work_of(jobs, str)
    return {one.name: one.state for one in (*work.runs, *work.pending)}


def begun(workspace: Path, name: str) -> Path:
    """The folder of a training whose process waits for Ctrl-C."""
    wait_for((workspace / "runs" / name / "begun").exists)
    return workspace / "runs" / name


def test_another_studio_stops_what_the_first_started(workspace: Path, model: Any) -> None:
    first, second = Jobs(workspace), Jobs(workspace)
    first.train(model, "a", DATA, {})
    folder = begun(workspace, "a")
    assert (second.running(), states(second)) == (["runs/a"], {"runs/old": "stopped", "runs/a": "starting"})
    for jobs in (first, second):
        with pytest.raises(RegardError, match="goes on already"):
            jobs.resume("runs/a")
    with pytest.raises(RegardError, match="works"):
        second.discard("runs/a")
    second.stop("runs/a")
    wait_for(lambda: not second.running())
    assert (folder / LOG).read_text().splitlines()[-1] == "stopped"
    wait_for(lambda: states(first)["runs/a"] == "stopped")
    with pytest.raises(RegardError, match="has ended"):
        second.stop("runs/a")
    (folder / "begun").unlink()
    first.discard("runs/a")
    assert not folder.exists()


def test_one_works_at_a_time_for_all_studios(workspace: Path, model: Any) -> None:
    first, second = Jobs(workspace), Jobs(workspace)
    first.train(model, "a", DATA, {})
    begun(workspace, "a")
    first.train(model, "b", DATA, {})
    second.resume("runs/old")
    assert states(second) == {"runs/a": "starting", "runs/b": "waiting", "runs/old": "waiting"}
    assert first.queue() == second.queue() == ["runs/b", "runs/old"]
    for name in ("runs/b", "runs/old"):
        for jobs in (first, second):
            with pytest.raises(RegardError, match="goes on already"):
                jobs.resume(name)
    second.stop("runs/b")  # which waits in the other studio
    assert states(first)["runs/b"] == "stopped"
    first.stop("runs/a")
    begun(workspace, "old")
    wait_for(lambda: first.running() == second.running() == ["runs/old"])
    assert states(first)["runs/old"] == "starting"
    assert not (workspace / "runs" / "b" / "begun").exists()
    first.stop("runs/old")
    wait_for(lambda: states(second)["runs/old"] == "stopped")


def test_why_a_training_failed_is_shown(workspace: Path, model: Any) -> None:
    jobs = Jobs(workspace)
    jobs.train(model, "a", DATA, {"device": "cuda"})
    (workspace / "runs" / "old" / "fails").touch()
    jobs.resume("runs/old")
    wait_for(lambda: states(jobs) == {"runs/a": "failed", "runs/old": "failed"})
    chinese = {"no CUDA": "沒有 CUDA", "expected: cpu": "應為：cpu"}
    work = work_of(Jobs(workspace), lambda text: chinese.get(text, text))
    assert {one.fault for one in (*work.runs, *work.pending)} == {"device: 沒有 CUDA\n應為：cpu"}
    jobs.discard("runs/a")
    (workspace / "runs" / "old" / "fails").unlink()
    jobs.resume("runs/old")
    assert [(run.state, run.fault) for run in work_of(jobs, str).runs] == [("starting", "")]
    folder = begun(workspace, "old")
    process = living_owner(folder)
    assert process is not None
    os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    wait_for(lambda: not jobs.running() and states(jobs)["runs/old"] == "failed")
    assert "killed" in jobs.runs()[0].fault


def test_no_foreign_process_gets_a_signal(workspace: Path) -> None:
    folder, other = workspace / "runs" / "old", workspace / "runs" / "other"
    words = [sys.executable, "-m", "regard", "train", f"--resume={other}"]
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as foreign:
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as training:
            for process in (foreign, training):
                owner = owned_by(process.pid, waiting=False)
                write_owner(folder, owner)
                assert living_owner(folder) is None
                with pytest.raises(RegardError, match="has ended"):
                    Jobs(workspace).stop("runs/old")
                with pytest.raises(RegardError, match="nothing works"):
                    interrupt(owner, folder)
                assert process.poll() is None
            training.kill()
        foreign.kill()


def test_a_damaged_record_is_none(workspace: Path) -> None:
    folder = workspace / "runs" / "old"
    mine = json.loads(json.dumps(vars(owned_by(os.getpid(), waiting=True))))
    for change in ({"pid": "x"}, {"pid": -1}, {"pid": 2**70}, {"began": 0}, {"machine": "other"}, {"since": None}):
        (folder / OWNER).write_text(json.dumps({**mine, **change}))
        assert living_owner(folder) is None, change
    for text in ("", "[]", "{}", "{"):
        (folder / OWNER).write_text(text)
        assert living_owner(folder) is None
    (folder / OWNER).write_text(json.dumps(mine))
    assert living_owner(folder) == owned_by(os.getpid(), waiting=True).__class__(**mine)
