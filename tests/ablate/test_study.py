"""A whole study in small: its order, what it keeps, what it repeats, what it rejects."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny_studies import DATA, Here, outcome, tiny_plan

from regard.ablate import study as study_module
from regard.ablate.data import file_sums
from regard.ablate.detector import DetectorExperiment, DetectorTrainable
from regard.ablate.folder import StudyFolder, folder_names, is_running, locked_run, read_study
from regard.ablate.format import duration, epochs_of, study_table
from regard.ablate.plan import make_plan
from regard.ablate.power_analysis import Probe, planned_epochs
from regard.ablate.study import check_effect, run_study
from regard.errors import RegardError, RegardWarning

BROKEN = """\
import torch
from torch import nn


class NoNumber(nn.Module):
    def __init__(self, in_channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * (self.weight / 0 if self.training else 1)


class TooLarge(nn.Module):
    def __init__(self, in_channels):
        super().__init__()

    def forward(self, x):
        if self.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 TiB")
        return x
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_study_is_decided_then_tested_and_never_repeats_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    for name in ("_decide", "_measure_test"):
        original = getattr(study_module, name)
        monkeypatch.setattr(study_module, name, lambda *a, n=name, f=original: (order.append(n), f(*a)))
    plan, executor = tiny_plan(), Here()
    printed = io.StringIO()
    study = run_study(plan, tmp_path / "study", executor=executor, console=Console(file=printed, width=120))
    reported = printed.getvalue()
    assert reported.startswith("power to detect a difference of 0.01 AP with 2 seeds:\n   18% if paired differences")
    assert reported.count("\nSE-reduction-4-p4 seed-") == 2
    names = ["base", "SE(reduction=4)@p4", "control of SE(reduction=4)@p4"]
    assert [variant.name for variant in study.variants] == names
    assert [(run.seed, run.variant) for run in study.runs] == [(seed, name) for seed in (0, 1) for name in names]
    assert all((study.folder / variant.model).is_file() for variant in study.variants)
    for run in study.runs:
        assert run.status == "finished"
        assert run.metrics["ap"] == pytest.approx(run.curve[-1]["val/ap"], rel=1e-4)
        assert set(run.per_class) == {"ordinary", "odd"}
        assert len(run.curve) == 1
        assert run.seconds > 0
        assert run.peak_mib > 100
        rows = json.loads((run.folder / "val.json").read_text())
        assert {row["image_id"] for row in rows} <= set(range(1, 6))
        assert not (run.folder / "state.pt").exists()
        assert not (run.folder / "start.safetensors").exists()
    assert study.runs[1].gates.keys() == {"p4.se"}
    assert {name: sorted(by_seed) for name, by_seed in study.test.items()} == {name: [0, 1] for name in names}
    assert study.costs.keys() == set(names)
    assert study.costs["base"].parameters < study.costs["SE(reduction=4)@p4"].parameters
    assert study.provenance["decision"]["verdicts"].keys() == {"SE(reduction=4)@p4"}
    assert (tmp_path / "study" / "report.html").is_file()
    assert order == ["_decide", "_measure_test"]

    before = outcome(study)
    again = Here()
    assert outcome(run_study(plan, tmp_path / "study", executor=again, console=Console(quiet=True))) == before
    assert again.given == []
    assert len(read_study(tmp_path / "study").provenance["commands"]) == 2
    check_rejections(tmp_path / "study")


def check_rejections(folder: Path) -> None:
    with pytest.raises(RegardError, match="another study is in this folder: mde was"):
        run_study(tiny_plan(mde=0.02), folder, executor=Here())
    with StudyFolder(folder).locked(), pytest.raises(RegardError, match="another command works"):
        run_study(tiny_plan(), folder, executor=Here())
    document = StudyFolder(folder).read()
    run = folder / "runs" / "base" / "seed-1"
    result = (run / "result.json").read_text()
    (run / "result.json").unlink()
    (run / "failure.json").write_text('{"error": "lost"}')
    with pytest.raises(RegardError, match="test has been measured"):
        run_study(tiny_plan(), folder, executor=Here(), retry_failed=True)
    (run / "failure.json").unlink()
    other = json.loads(result)
    first = json.loads((folder / "runs" / "base" / "seed-0" / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**other, "weights": first["weights"]}))
    with pytest.raises(RegardError, match="seeds 0 and 1 of the base ended with the same weights"):
        check_effect(read_study(folder))
    document["provenance"]["data"]["sha256"] = "another"
    StudyFolder(folder).write(document)
    with pytest.raises(RegardError, match="the data have changed"):
        run_study(tiny_plan(), folder, executor=Here())


def test_what_fails_is_reported_in_its_row_and_the_others_continue(tmp_path: Path) -> None:
    modules = tmp_path / "broken.py"
    modules.write_text(BROKEN)
    plan = tiny_plan(
        insert=["SE(reduction=4)@p4", "NoNumber@p4", "TooLarge@p4"],
        gate=False,
        control="none",
        seeds=[3],
        data=DATA.replace("test=3", "test=0"),
        module=[str(modules)],
    )
    study = run_study(plan, tmp_path / "study", executor=Here(), console=Console(quiet=True))
    errors = {run.variant: (run.status, run.error) for run in study.runs}
    assert errors["base"] == errors["SE(reduction=4)@p4"] == ("finished", "")
    assert errors["NoNumber@p4"][0] == errors["TooLarge@p4"][0] == "failed"
    assert "the loss is not finite in epoch 1" in errors["NoNumber@p4"][1]
    assert errors["TooLarge@p4"][1].startswith("out of memory: CUDA out of memory")
    assert study.test == {}
    assert study.costs.keys() == {"base", "SE(reduction=4)@p4"}
    again = Here()
    run_study(plan, tmp_path / "study", executor=again, console=Console(quiet=True))
    assert again.given == []
    run_study(plan, tmp_path / "study", executor=again, console=Console(quiet=True), retry_failed=True)
    assert again.given == ["NoNumber-p4/seed-3", "TooLarge-p4/seed-3"]
    table = study_table(read_study(tmp_path / "study"), epochs_of(tmp_path / "study"))
    assert list(map(str, table.columns[1].cells))[2:] == ["failed", "failed"]
    assert table.caption == "2 of 4 runs finished, 2 failed"


@pytest.mark.parametrize(
    ("budget", "epochs"), [({"images": 27}, 3), ({"images": 26}, 2), ({"images": 1}, 1), ({"epochs": 4}, 4)]
)
def test_a_budget_becomes_epochs(budget: dict[str, int], epochs: int) -> None:
    plan = make_plan({"base": "odd-one-out", "data": DATA, "noise": True, **budget})
    assert planned_epochs(plan, DetectorExperiment(plan), None) == {"base": epochs, "noise": epochs}


def test_what_a_plan_names_has_to_stay_as_it_was(tmp_path: Path) -> None:
    class Stopped(Here):
        def run(self, _):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    modules, folder = tmp_path / "own.py", tmp_path / "study"
    modules.write_text(BROKEN)
    plan = tiny_plan(insert=["TooLarge@p4"], gate=False, control="none", seeds=[3], module=[f"{modules}:TooLarge"])
    for _ in range(2):  # it begins, and goes on
        with pytest.raises(KeyboardInterrupt):
            run_study(plan, folder, executor=Stopped(), console=Console(quiet=True))
    modules.write_text(BROKEN + "\n# another\n")
    with pytest.raises(RegardError, match=r"own\.py has changed since this study began"):
        run_study(plan, folder, executor=Stopped(), console=Console(quiet=True))
    modules.write_text(BROKEN)
    document = StudyFolder(folder).read()
    document["provenance"]["environment"]["packages"]["regard"] = "0.0.7"
    StudyFolder(folder).write(document)
    with pytest.warns(RegardWarning, match=r"began with regard 0\.0\.7, now"), pytest.raises(KeyboardInterrupt):
        run_study(plan, folder, executor=Stopped(), console=Console(quiet=True))


def test_the_files_that_a_plan_names(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("1")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.safetensors").write_text("2")
    named = {"weights": str(tmp_path / "run"), "module": [str(tmp_path / "own.py")], "recipe": "default"}
    before = file_sums(make_plan({"base": "odd-one-out", "data": DATA, "noise": True, **named}))
    assert before.keys() == {str(tmp_path / "run"), str(tmp_path / "own.py")}
    (tmp_path / "run" / "last.safetensors").write_text("3")
    after = file_sums(make_plan({"base": "odd-one-out", "data": DATA, "noise": True, **named}))
    assert [name for name in before if before[name] != after[name]] == [str(tmp_path / "run")]


def test_ended_while_it_measures_and_while_it_concludes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on disk then is all that goes on: nothing of a short measurement, and every run measured on test."""
    plan, folder = tiny_plan(control="none", seeds=[0], epochs=None, minutes=0.01), tmp_path / "study"
    measured = Probe({"base": 2.0, "SE(reduction=4)@p4": 2.0}, {}, 1.0, 0.0, {}, 0.0, {})
    wanted = [KeyboardInterrupt, measured]

    def probe(*_: object) -> Probe:
        if wanted.pop(0) is KeyboardInterrupt:
            raise KeyboardInterrupt
        return measured

    monkeypatch.setattr("regard.ablate.setup.probe", probe)
    with pytest.raises(KeyboardInterrupt):
        run_study(plan, folder, executor=Here(), console=Console(quiet=True))
    assert not StudyFolder(folder).exists
    evaluate, calls = DetectorTrainable.evaluate, []

    def ends_in_the_second(run, split):  # type: ignore[no-untyped-def]
        calls.extend([split] * (split == "test"))
        if len(calls) == 2 and split == "test":
            raise KeyboardInterrupt
        return evaluate(run, split)

    monkeypatch.setattr(DetectorTrainable, "evaluate", ends_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        run_study(plan, folder, executor=Here(), console=Console(quiet=True))
    half = read_study(folder)
    assert half.test.keys() == {"base"}
    assert not (folder / "report.html").exists()
    executor = Here()
    study = run_study(plan, folder, executor=executor, console=Console(quiet=True))
    assert (executor.given, len(calls)) == ([], 3)  # no run again, and the base not again on test
    assert study.test["base"] == half.test["base"]
    assert study.provenance["decision"]["verdicts"] == half.provenance["decision"]["verdicts"]
    assert (folder / "report.html").is_file()


def test_minutes_need_a_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Probe({}, {}, 1.0, 0.0, {}, 0.0, {"base": "ImportError: no such library"})
    monkeypatch.setattr("regard.ablate.setup.probe", lambda *_: nothing)
    plan = tiny_plan(control="none", epochs=None, minutes=3)
    with pytest.raises(RegardError, match=r"as no variant could be measured: base failed .* ImportError"):
        run_study(plan, tmp_path / "study", executor=Here(), console=Console(quiet=True))
    assert not StudyFolder(tmp_path / "study").exists
    one = replace(nothing, train_seconds={"base": 2.0}, failures={"SE(reduction=4)@p4": "out of memory"})
    monkeypatch.setattr("regard.ablate.setup.probe", lambda *_: one)

    class Stopped(Here):
        def run(self, _):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    printed = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        run_study(plan, tmp_path / "study", executor=Stopped(), console=Console(file=printed, width=200))
    assert "SE(reduction=4)@p4 failed in the short measurement: out of memory" in printed.getvalue()
    assert epochs_of(tmp_path / "study") == {"base": 6, "SE(reduction=4)@p4": 6}  # 180 s / (13 images of 2 s)


def test_a_study_is_reported_while_it_runs(tmp_path: Path) -> None:
    plan = tiny_plan(control="none", epochs=3, seeds=[0])

    class Stopped(Here):
        def run(self, folders):  # type: ignore[no-untyped-def]
            yield from super().run(folders[:1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan, tmp_path / "study", executor=Stopped(), console=Console(quiet=True))
    waiting = StudyFolder(tmp_path / "study").run("SE-reduction-4-p4", 0)
    rows = (tmp_path / "study" / "runs" / "base" / "seed-0" / "results.csv").read_text().splitlines()
    (waiting / "results.csv").write_text("\n".join(rows[:3]))
    study = read_study(tmp_path / "study")
    assert [run.status for run in study.runs] == ["finished", "waiting"]
    assert not is_running(waiting)
    with locked_run(waiting):
        assert is_running(waiting)
        study = read_study(tmp_path / "study")
        table = study_table(study, epochs_of(tmp_path / "study"))
    assert study.runs[1].status == "running"
    cells = list(map(str, table.columns[1].cells))
    assert cells[0] == f"{study.runs[0].metrics['ap']:.3f}"
    assert cells[1].startswith("2/3 0.0")
    assert cells[1].endswith(" s")
    assert str(table.caption).startswith("1 of 2 runs finished, 1 running; about ")


def test_words_for_folders_and_times() -> None:
    assert folder_names(["SE@p4", "SE p4", "SE(reduction=8)@p4"]) == {
        "SE@p4": "SE-p4",
        "SE p4": "SE-p4_2",
        "SE(reduction=8)@p4": "SE-reduction-8-p4",
    }
    assert [duration(s) for s in (3, 89, 100, 3599, 3700, 90_000)] == [
        "3 s", "89 s", "2 min", "1 h 00 min", "1 h 02 min", "25 h 00 min"
    ]  # fmt: skip


def test_a_folder_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="no study in this folder"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(RegardError, match="not valid JSON"):
        read_study(tmp_path)
