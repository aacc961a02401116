"""The local executor: processes that die, and a study killed at any moment, which ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny_studies import Here, outcome, prepared

from regard.ablate import executors
from regard.ablate.executors import Attempts, LocalExecutor, describe_death, local_slots
from regard.ablate.folder import StudyFolder, is_running, locked_run, read_json, read_study
from regard.ablate.processes import SpawnedProcess
from regard.ablate.study import run_study
from regard.ablate.trainable import Job
from regard.errors import RegardError

PLAN = """\
base: odd-one-out
data: synthetic:context?train=13&val=5&test=3
insert: [SE(reduction=4)@p4]
control: none
imgsz: 64
batch: 4
train: {device: cpu, val_every: 2}
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # as the commands below: sums of another order would differ in the last bit


def command(folder: Path, **budget: Any) -> subprocess.Popen[bytes]:
    """Start ``regard ablate`` on the plan."""
    (folder / "plan.yaml").write_text(PLAN + "".join(f"{key}: {value}\n" for key, value in budget.items()))
    words = ["ablate", "--plan", "plan.yaml", "-o", "study", "--processes", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "regard", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def undisturbed(folder: Path, monkeypatch: pytest.MonkeyPatch, **budget: Any) -> dict[str, Any]:
    from regard.ablate.plan import read_plan

    (folder / "plan.yaml").write_text(PLAN + "".join(f"{key}: {value}\n" for key, value in budget.items()))
    monkeypatch.chdir(folder)
    return outcome(run_study(read_plan("plan.yaml"), "whole", executor=Here(), threads=1, console=Console(quiet=True)))


def wait_for(condition: Any, process: subprocess.Popen[bytes], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        assert process.poll() is None, (process.communicate()[1] or b"").decode()
        time.sleep(0.01)


def killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def rows_of(folder: Path) -> dict[Path, list[str]]:
    """Return the epochs of every run, as its table has them: the clock is in each, so none is twice the same."""
    return {file: file.read_text().splitlines()[1:] for file in (folder / "study").rglob("results.csv")}


def check_kept(folder: Path, before: dict[Path, list[str]]) -> None:
    """Check that no finished epoch was trained again; of the last row the weights may not have been there yet."""
    now = rows_of(folder)
    for file, rows in before.items():
        assert now[file][: max(len(rows) - 1, 0)] == rows[:-1], file


def epochs_done(folder: Path) -> int:
    return sum(len(file.read_text().splitlines()) - 1 for file in (folder / "study").rglob("results.csv"))


@pytest.mark.slow
def test_killed_in_mid_study_it_ends_as_if_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = {"seeds": [4], "epochs": 12}
    expected = undisturbed(tmp_path, monkeypatch, **budget)
    process = command(tmp_path, **budget)
    wait_for(lambda: epochs_done(tmp_path) >= 3, process)
    killed(process)
    runs = [tmp_path / "study" / "runs" / name / "seed-4" for name in ("base", "SE-reduction-4-p4")]
    end = time.monotonic() + 20
    while any(map(is_running, runs)):  # the processes of the runs end with the command
        assert time.monotonic() < end
        time.sleep(0.01)
    assert epochs_done(tmp_path) < 24
    before = rows_of(tmp_path)
    process = command(tmp_path, **budget)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    check_kept(tmp_path, before)
    assert outcome(read_study(tmp_path / "study")) == expected


@pytest.mark.slow
def test_killed_twenty_times_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = {"seeds": [0, 3], "epochs": 60}
    expected = undisturbed(tmp_path, monkeypatch, **budget)
    rng = random.Random(1)
    began = set[str]()
    rows: dict[Path, list[str]] = {}
    for _ in range(20):
        process = command(tmp_path, **budget)
        before = epochs_done(tmp_path)
        if rng.random() < 0.8:  # else while it starts: it reads, writes its study, prepares runs
            wait_for(lambda before=before: epochs_done(tmp_path) > before, process)
        time.sleep(rng.uniform(0, 1.5))
        assert process.poll() is None, "ended before twenty kills"
        killed(process)
        check_kept(tmp_path, rows)
        rows = rows_of(tmp_path)
        if StudyFolder(tmp_path / "study").exists:
            began |= {f"{run.variant}/{run.seed}" for run in read_study(tmp_path / "study").runs if run.curve}
    assert len(began) >= 2
    process = command(tmp_path, **budget)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()
    assert outcome(read_study(tmp_path / "study")) == expected


class Mortal(subprocess.Popen[bytes]):
    """A process that does what a piece of code says."""

    def __init__(self, code: str, folder: Path) -> None:
        super().__init__([sys.executable, "-S", "-c", code], cwd=folder)

    def stop(self) -> None:
        self.kill()
        self.wait()


class Dying:
    """Stands in for the source of processes: each does what the next piece of code says."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.closed = False

    def start(self, job: Job) -> Mortal:
        return Mortal(self.codes.pop(0), job.folder)

    def close(self) -> None:
        self.closed = True


DIE = "import os; os.kill(os.getpid(), 9)"
LEARN = "open('results.csv', 'a').write('1,1\\n'); " + DIE


def test_a_run_whose_process_keeps_dying_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Dying(DIE, DIE, DIE)
    monkeypatch.setattr(executors, "process_source", lambda _: source)
    assert list(LocalExecutor([{}, {}]).run([Job(tmp_path, "")])) == [tmp_path]
    assert source.closed
    assert "killed 3 times in one epoch; probably out of memory" in read_json(tmp_path / "failure.json")["error"]
    assert "code 7" in describe_death(7)
    assert "SIGSEGV" in describe_death(-signal.SIGSEGV)


def test_a_run_that_gets_on_between_deaths_is_not_given_up(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("epoch,train_seconds\n")
    finish = "open('result.json', 'w').write('{}')"
    Attempts(Job(tmp_path, ""), Dying(LEARN, DIE, LEARN, DIE, LEARN, finish)).wait()
    assert not (tmp_path / "failure.json").exists()


def test_a_worker_ends_with_who_started_it_and_waits_for_another(tmp_path: Path) -> None:
    job = prepared(tmp_path / "run")
    with locked_run(tmp_path / "run"):
        process = SpawnedProcess([job], {"OMP_NUM_THREADS": "1"})
        time.sleep(0.5)
        assert process.stdin is not None
        process.stdin.close()  # as the system does when the process at the other end is gone
        assert process.wait(60) == 1
    assert not (tmp_path / "run" / "run.json").exists()
    process.stop()


def test_processes_by_memory_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "available_cores", lambda: 8)
    monkeypatch.setattr(executors, "available_memory", lambda: 10_000 * 2**20)
    assert len(local_slots(1000, 1, None)) == 8
    assert len(local_slots(1000, 4, None)) == 2
    assert len(local_slots(3001, 1, None)) == 2
    assert len(local_slots(3001, 1, 5)) == 5  # who says a number is believed
    assert local_slots(1000, 3, None)[0] == {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}
    with pytest.raises(RegardError, match="a run needs 9,500 MiB and 10,000 MiB are free"):
        local_slots(9500, 1, None)
    gpus = [slot["CUDA_VISIBLE_DEVICES"] for slot in local_slots(3000, 1, None, [7000, 10_000])]
    assert gpus == ["0", "1", "0", "1", "1"]
