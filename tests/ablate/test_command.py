"""``regard ablate`` and ``regard ablate status``: what they print, and what they reject with exit code 2."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_study import fake_study, unfinished
from rich.console import Console
from tiny_studies import DATA, Here, tiny_plan

from regard.__main__ import main
from regard.ablate.executors import RunResources
from regard.ablate.folder import LOCK, StudyFolder, StudyRecord
from regard.ablate.study import run_study
from regard.errors import RegardError

ASKED = ("--base", "odd-one-out", "--data", DATA, "--imgsz", "64", "--batch", "4")


def regard(*arguments: str | Path) -> int:
    before, show = sys.argv, warnings.showwarning
    sys.argv = ["regard", *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv, warnings.showwarning = before, show
    return 0


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        ((), "the plan has no 'base'"),
        (("--base", "odd-one-out", "--data", DATA), "there is nothing to compare"),
        ((*ASKED, "--insert", "SE@p44"), "did you mean 'p4'?"),
        ((*ASKED, "--insert", "SE(reductoin=3)@p4"), "did you mean 'reduction'?"),
        ((*ASKED, "--insert", "SEp4"), "'SEp4' is not an edit"),
        ((*ASKED, "--insert", "SE@p4", "--seeds", "few"), "--seeds 'few'"),
        ((*ASKED, "--insert", "SE@p4", "--seeds", "3,3"), "a list of different ones"),
        ((*ASKED, "--insert", "SE@p4", "--epochs", "2", "--images", "9"), "several budgets"),
        ((*ASKED, "--insert", "SE@p4", "--train", "epochs=3"), "anything but epochs"),
        ((*ASKED, "--insert", "SE@p4", "--train", "epochs"), "--train 'epochs' is not an option"),
        ((*ASKED, "--noise", "--ray", "auto", "--resource", "a100"), "--resource 'a100' is not an option"),
        ((*ASKED, "--noise", "--ray", "auto", "--resource", "a100=half"), "--resource a100=half"),
        ((*ASKED, "--noise", "--ray", "auto", "--resource", "a100=-1"), "as in --resource a100=0.5"),
        ((*ASKED, "--insert", "SE@p4", "--metric", "map"), "one of ap, ap50"),
        ((*ASKED, "--insert", "SE@p4", "--weights", "yolov5x.pt"), "yolov5x.pt"),
        ((*ASKED, "--model", "odd-one-ou"), "did you mean 'odd-one-out"),
        (("--base", "odd-one-out", "--data", "nowhere", "--noise"), "nowhere"),
        (("--plan", "nowhere.yaml"), "there is no such plan"),
        (("status", "nowhere"), "no study in this folder"),
    ],
)
def test_mistakes_are_reported_in_a_message(
    arguments: tuple[str, ...],
    reported: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert regard("ablate", *arguments) == 2
    printed = capsys.readouterr().err
    assert reported in printed
    assert "Traceback" not in printed
    assert not list(tmp_path.iterdir())


def test_a_study_that_never_begins_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new/study"):
        folder = StudyFolder(tmp_path / name)
        with folder.locked():
            with pytest.raises(RegardError, match="another command works"), folder.locked():
                pass
            assert (folder.path / LOCK).is_file()  # not the one of the command that was turned away
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_dry_run_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    asked = ("--insert", "SE@p4", "--insert", "ECA@p4", "--seeds", "3", "--epochs", "40", "--processes", "2")
    assert regard("ablate", *ASKED, *asked, "--train", "device=cpu", "--dry-run", "--ray", "desk:7") == 0
    printed = capsys.readouterr().out
    for words in (
        "12 runs: 4 variants, seeds 0, 1, 2",
        "capacity control: 2,140 parameters for 2,048 (+4.5%)",
        "no control of ECA@p4: no convolutions are as small",
        "on this machine, 2 runs in parallel",
        "MiB when all has finished",
        "power to detect a difference of 0.01 AP with 3 seeds:",
        "if paired differences have an SD of 0.02;",
        "measured on this machine, not on the cluster at desk:7",
    ):
        assert words in printed, words
    assert "test split" not in printed
    assert not list(tmp_path.iterdir())


def test_the_status_of_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    run_study(tiny_plan(control="none", seeds=[7]), tmp_path / "study", executor=Here(), console=Console(quiet=True))
    capsys.readouterr()
    monkeypatch.setenv("COLUMNS", "160")
    assert regard("ablate", "status", tmp_path / "study") == 0
    printed = capsys.readouterr().out
    assert "SE(reduction=4)@p4" in printed
    assert "2 of 2 runs finished" in printed
    assert regard("ablate", "status", tmp_path / "study", "--format", "json") == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [(run["variant"], run["seed"], run["epoch"]) for run in runs] == [
        ("base", 7, 1),
        ("SE(reduction=4)@p4", 7, 1),
    ]


def test_the_status_is_json_while_runs_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = fake_study(tmp_path)
    curve = [{"epoch": 1.0, "val/ap": 0.25}, {"epoch": 2.0, "val/ap": 0.5}, {"epoch": 3.0, "val/ap": float("nan")}]
    first, second, third, fourth, *_ = study.runs
    runs = [
        replace(first, status="running", metrics={}, curve=curve),
        replace(second, metrics={"ap": float("nan")}),
        replace(third, metrics={"ap": 0.75}),
        replace(fourth, status="waiting", metrics={}, curve=[]),
    ]
    monkeypatch.setattr("regard.ablate.folder.read_study", lambda _: replace(study, runs=runs))
    monkeypatch.setattr("regard.ablate.format.epochs_of", lambda _: dict.fromkeys((v.name for v in study.variants), 3))
    assert regard("ablate", "status", tmp_path, "--format", "json") == 0
    printed = capsys.readouterr().out
    assert "NaN" not in printed
    assert [run["ap"] for run in json.loads(printed)["runs"]] == [0.5, None, 0.75, None]


@pytest.mark.parametrize(
    ("flags", "placement"),
    [
        ((), RunResources()),
        (
            ("--cpus", "3", "--gpus", "0.25", "--resource", "a100=0.5", "--resource", "desk=2", "--placement", "pack"),
            RunResources(cpus=3, gpus=0.25, resources={"a100": 0.5, "desk": 2.0}, strategy="pack"),
        ),
    ],
)
def test_what_a_run_takes_of_a_cluster_is_passed_on(
    flags: tuple[str, ...], placement: RunResources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, RunResources]] = []
    given: dict[str, Any] = {}

    class Cluster(Here):
        def __init__(self, address: str, take: RunResources) -> None:
            super().__init__()
            made.append((address, take))

    def run(_plan: object, _folder: Path, **settings: Any) -> StudyRecord:
        given.update(settings)
        return unfinished(fake_study(tmp_path))

    monkeypatch.setattr("regard.ablate.executors.RayExecutor", Cluster)
    monkeypatch.setattr("regard.ablate.study.run_study", run)
    epochs = dict.fromkeys((variant.name for variant in fake_study(tmp_path).variants), 15)
    monkeypatch.setattr("regard.ablate.format.epochs_of", lambda _: epochs)
    assert regard("ablate", *ASKED, "--noise", "--ray", "head:6379", *flags, "-o", tmp_path) == 0
    assert made == [("head:6379", placement)]
    assert isinstance(given["executor"], Cluster)
    assert given["threads"] == placement.cpus
    given.clear()
    assert regard("ablate", *ASKED, "--noise", "-o", tmp_path) == 0
    assert (given["executor"], given["threads"], len(made)) == (None, None, 1)
