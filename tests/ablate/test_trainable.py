"""Whole studies of something that is no detector, with forked and with spawned processes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console
from tiny_studies import Here
from toy_trainable import IMAGES, NoisyNumbers, toy_experiment, toy_plan

from regard.ablate.folder import Variant, read_json
from regard.ablate.plan import StudySettings
from regard.ablate.processes import SpawnedProcesses, process_source
from regard.ablate.study import run_study
from regard.ablate.trainable import Experiment, describe_trainable, load_trainable
from regard.ablate.verdict import Verdict, analyse
from regard.errors import RegardError

NO_FORK = "import os\nfor name in ('fork', 'forkpty'):\n    vars(os).pop(name, None)\n"


@pytest.fixture
def no_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take ``os.fork`` from this process and from all that it starts."""
    (tmp_path / "no_fork").mkdir()
    (tmp_path / "no_fork" / "sitecustomize.py").write_text(NO_FORK)
    paths = [str(tmp_path / "no_fork"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.delattr(os, "fork")


def test_noisy_numbers_are_planned_paired_judged_and_reported(tmp_path: Path) -> None:
    plan, printed = toy_plan(), io.StringIO()
    study = run_study(plan, tmp_path, experiment=toy_experiment(), executor=Here(), console=Console(file=printed))
    results = analyse(study)
    verdicts = {name: judgement.verdict for name, judgement in results.judgements.items()}
    assert verdicts == {"better": Verdict.HELPS, "same": Verdict.NO_DIFFERENCE, "worse": Verdict.HURTS}
    assert results.beyond["better"].verdict is Verdict.HELPS
    assert results.judgements["better"].seeds == (0, 1, 2, 3)
    assert results.power.sd < 0.005  # each seed's luck, 0.02, cancels in pairs
    assert all(len(run.curve) == 6 and run.seconds == 3 for run in study.runs)
    assert study.test["better"].keys() == {0, 1, 2, 3}
    assert len(read_json(study.runs[0].folder / "result.json")["weights"]) > 2
    assert printed.getvalue().startswith("power to detect a difference of 0.02 score with 4 seeds:")
    text = (tmp_path / "report.md").read_text()
    for part in ("better helps; worse hurts", "same makes no difference larger than 0.02 score", "over images"):
        assert part in text, part
    low, high = ((0.04 - 0.01), (0.04 + 0.01))  # all images share the effect, so that drawing them changes little
    row = next(line for line in text.splitlines() if line.startswith("| better | ▲"))
    ends = [float(end.replace("−", "-")) for end in row.split("|")[-2].split(" to ")]
    assert low < ends[0] <= ends[1] < high
    again = Here()
    assert run_study(plan, tmp_path, experiment=toy_experiment(), executor=again, console=Console(quiet=True)).runs
    assert again.given == []


def test_runs_in_processes_of_their_own(tmp_path: Path) -> None:
    check_processes(tmp_path)


def test_a_study_without_fork(tmp_path: Path, no_fork: None) -> None:  # noqa: ARG001
    assert isinstance(process_source({}), SpawnedProcesses)
    check_processes(tmp_path)


def check_processes(folder: Path) -> None:
    """Check that a failure, a process that ends early and the other runs come to what they come to in one process."""
    plan, quiet = toy_plan(seeds=[7], epochs=3), Console(quiet=True)
    experiment = toy_experiment(broken="worse", stop_at=2)
    study = run_study(plan, folder / "study", experiment=experiment, processes=2, threads=1, console=quiet)
    errors = {run.variant: run.error for run in study.runs if run.status == "failed"}
    assert errors == {"worse": "ArithmeticError: numbers run out"}
    whole = run_study(plan, folder / "whole", experiment=toy_experiment(), executor=Here(), console=quiet)
    for run, other in zip(study.runs, whole.runs, strict=True):
        assert run.variant == "worse" or dict(run.metrics) == dict(other.metrics)
        assert run.variant == "worse" or len(run.curve) == 3
    assert "ArithmeticError" in (study.runs[3].folder / "log.txt").read_text()


def test_what_cannot_be_a_study() -> None:
    for variants in ([], [Variant("a", "variant")], [Variant("a", "base"), Variant("a", "variant")]):
        with pytest.raises(RegardError, match="the base first"):
            Experiment(NoisyNumbers, variants, IMAGES)
    with pytest.raises(RegardError, match="does not describe detectors"):
        run_study(StudySettings(), "nowhere")


def test_a_class_is_found_by_its_module_or_its_file(tmp_path: Path) -> None:
    assert load_trainable(describe_trainable(NoisyNumbers)) is NoisyNumbers
    (tmp_path / "mine.py").write_text("class Mine:\n    pass\n")
    reference = {"module": "not_on_any_path", "name": "Mine", "file": str(tmp_path / "mine.py")}
    assert load_trainable(reference).__name__ == "Mine"
    with pytest.raises(RegardError, match="cannot be imported"):
        load_trainable({**reference, "module": "nor_this", "file": str(tmp_path / "gone.py")})
