"""Processes forked for runs: they do what new processes do, end with what they belong to, and outlive each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch
from tiny_studies import prepared

from regard.ablate.folder import is_running, locked_run, read_json
from regard.ablate.processes import ForkedProcess, ForkServer, kill_tree, run_job

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture
def server() -> Iterator[ForkServer]:
    made = ForkServer(ONE_THREAD)
    yield made
    made.close()


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def ended(fork: ForkedProcess) -> int:
    until(lambda: fork.poll() is not None)
    assert fork.code is not None
    return fork.code


def test_one_process_after_another_does_what_this_one_does(tmp_path: Path, server: ForkServer) -> None:
    torch.set_num_threads(1)
    for seed in (0, 1):
        run_job(prepared(tmp_path / f"here-{seed}", seed))
        assert ended(server.start(prepared(tmp_path / f"there-{seed}", seed))) == 0
        here, there = (read_json(tmp_path / f"{where}-{seed}" / "result.json") for where in ("here", "there"))
        assert there["weights"] == here["weights"]
        assert there["metrics"] == here["metrics"]
        assert (tmp_path / f"there-{seed}" / "log.txt").is_file()
    assert read_json(tmp_path / "there-0" / "result.json")["weights"] != there["weights"]


def test_a_fork_that_is_killed_reports_how_and_another_follows(tmp_path: Path, server: ForkServer) -> None:
    run = prepared(tmp_path / "run")
    assert ended(server.start(prepared(tmp_path / "first"))) == 0  # imports, which may start processes, are over
    with locked_run(run.folder):  # it waits for its folder
        fork = server.start(run)
        assert server.process is not None
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        until(lambda: children.read_text().split())
        assert fork.poll() is None
        os.kill(int(children.read_text()), signal.SIGKILL)
        assert ended(fork) == -signal.SIGKILL
    assert ended(server.start(run)) == 0
    assert (run.folder / "result.json").is_file()


@pytest.mark.parametrize("how", ["stopped", "server killed", "starter gone"])
def test_a_fork_ends_with_what_it_belongs_to(tmp_path: Path, server: ForkServer, how: str) -> None:
    run = prepared(tmp_path / "run", epochs=1000)
    fork = server.start(run)
    until(lambda: is_running(run.folder))
    process = server.process
    assert process is not None
    assert process.stdin is not None
    if how == "stopped":
        fork.stop()
    elif how == "server killed":
        process.kill()
    else:
        process.stdin.close()  # as the system does when the process at the other end is gone
    until(lambda: not is_running(run.folder))
    if how == "server killed":
        assert ended(fork) == -signal.SIGKILL
        server.start(run)  # from a new one
        until(lambda: is_running(run.folder))
    assert not (run.folder / "result.json").exists()


def test_what_goes_wrong_before_there_is_a_fork_is_in_the_log(tmp_path: Path) -> None:
    run = prepared(tmp_path / "run")
    server = ForkServer({"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)})
    assert ended(server.start(run)) != 0
    assert "Python" in (run.folder / "log.txt").read_text()
    server.close()
    server.close()


def test_the_children_of_a_process_end_with_it() -> None:
    sleep = "import time; time.sleep(60)"
    code = (
        f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {sleep!r}]).pid, flush=True); {sleep}"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        kill_tree(process.pid)
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
        assert process.poll() is None
        process.kill()
