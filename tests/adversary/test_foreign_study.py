"""A plan and a study's folder that somebody else has made run none of their code."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from regard.__main__ import main
from regard.ablate.folder import StudyRecord, Variant, read_json
from regard.ablate.hardware import Hardware, hardware_here
from regard.ablate.plan import StudySettings
from regard.ablate.processes import run_job
from regard.ablate.study import run_study
from regard.ablate.trainable import Budget, Evaluation, Experiment, Job
from regard.errors import RegardError

PLAN = StudySettings(seeds=(0, 1), epochs=1, metric="score", mde=0.02)
SCENES = "synthetic:context?train=4&val=2&test=1"


class Counts:
    """A run that takes no time."""

    def __init__(self, folder: Path, step: float) -> None:
        self.folder, self.step = folder, step

    def start(self, variant: str, seed: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "state.json").write_text(json.dumps([variant, seed]))

    def train(self, budget: Budget) -> None:
        pass

    def evaluate(self, split: str) -> Evaluation:  # noqa: ARG002
        state = (self.folder / "state.json").read_text()
        return Evaluation({"score": len(state) * self.step}, [1, 2, 3], fingerprint=state)


def experiment() -> Experiment:
    return Experiment(Counts, [Variant("base", "base"), Variant("b", "variant")], {"val": 3, "test": 3}, {"step": 0.01})


class Watched:
    """Runs in this process, after something has happened to the folders."""

    def __init__(self, happens: Any = lambda _: None) -> None:
        self.happens = happens

    def run(self, jobs: Sequence[Job]) -> Generator[Path, None, None]:
        for job in jobs:
            self.happens(job.folder)
        for job in jobs:
            run_job(job)
            yield job.folder

    def hardware(self, train: Mapping[str, Any]) -> Hardware:
        return hardware_here(train)


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A module that leaves the file ``ran`` when it is imported."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n\nclass Counts:\n    def __init__(self, *a, **b): pass\n"
    for name in ("evil.py", "torch.py", "yaml.py", "psutil.py", "filelock.py"):
        (folder / name).write_text(code)
    return folder / "evil.py"


def ran(evil: Path) -> bool:
    return (evil.parents[1] / "ran").exists()


def plant(folder: Path, evil: Path) -> None:
    """Let the job of a run name the evil module."""
    job = read_json(folder / "job.json")
    job["trainable"] = {"module": "evil", "name": "Counts", "file": str(evil)}
    (folder / "job.json").write_text(json.dumps(job))


def study(folder: Path, **ways: Any) -> StudyRecord:
    return run_study(PLAN, folder, experiment=experiment(), threads=1, console=Console(quiet=True), **ways)


def begun(folder: Path) -> list[Path]:
    """Begin a study of four runs, none of which is finished."""

    class Stopped(Watched):
        def run(self, _: Sequence[Job]) -> Generator[Path, None, None]:
            raise KeyboardInterrupt
            yield

    with pytest.raises(KeyboardInterrupt):
        study(folder, executor=Stopped())
    return sorted(path.parent for path in folder.rglob("job.json"))


def test_neither_the_jobs_in_a_folder_nor_modules_in_the_working_folder_run(
    tmp_path: Path, evil: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = begun(tmp_path / "study")
    assert len(runs) == 4
    for run in runs:
        plant(run, evil)
    monkeypatch.chdir(evil.parent)
    found = study(tmp_path / "study", processes=1)
    assert [run.status for run in found.runs] == ["finished"] * 4, [run.error for run in found.runs]
    assert not ran(evil)


def test_nor_when_they_are_exchanged_later(tmp_path: Path, evil: Path) -> None:
    found = study(tmp_path / "study", executor=Watched(lambda folder: plant(folder, evil)))
    assert {run.error for run in found.runs if run.status == "failed"} == {
        f"{run.folder / 'job.json'}: this is not the job that the study wrote" for run in found.runs
    }
    assert not ran(evil)


def test_nor_the_arguments_of_a_finished_run(tmp_path: Path) -> None:
    finished = study(tmp_path / "study", executor=Watched())
    document = read_json(tmp_path / "study" / "study.json")
    del document["test"]
    (tmp_path / "study" / "study.json").write_text(json.dumps(document))
    for run in finished.runs:
        job = read_json(run.folder / "job.json")
        (run.folder / "job.json").write_text(json.dumps({**job, "arguments": {"step": 1e6}}))
    assert study(tmp_path / "study", executor=Watched()).test == finished.test


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize("name", ["log.txt", "results.csv", ""])
def test_a_study_writes_to_no_file_that_a_link_in_its_folder_names(name: str, tmp_path: Path) -> None:
    run = begun(tmp_path / "study")[0]
    (tmp_path / "elsewhere").mkdir()
    victim = tmp_path / "elsewhere" / "profile"
    victim.write_text("precious")
    if name:
        (run / name).symlink_to(victim)
    else:
        run.rename(tmp_path / "moved")
        run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RegardError, match="there is a link"):
        study(tmp_path / "study", processes=1)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["profile"]
    assert victim.read_text() == "precious"


def test_the_modules_of_a_plan_run_only_if_it_is_trusted(
    tmp_path: Path, evil: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = evil.with_name("plan.yaml")
    plan.write_text(f"base: odd-one-out\ndata: {SCENES}\nnoise: true\nmodule: evil.py\n")

    def ablate(*more: str) -> object:
        monkeypatch.setattr(sys, "argv", ["regard", "ablate", "--plan", str(plan), "-o", "study", *more])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code

    assert ablate() == 2
    assert "--trust-plan" in capsys.readouterr().err
    assert not ran(evil)
    assert ablate("--trust-plan") == 2
    assert "the file defines no layer" in capsys.readouterr().err  # after it has been imported
    assert ran(evil)
