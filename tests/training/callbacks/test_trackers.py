"""Trackers against the real libraries, without a network: what they keep is what results.csv has."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

import regard
from regard.config import TrainSettings
from regard.config.commands import TRACKERS as NAMED
from regard.data.formats import load_data
from regard.errors import RegardError
from regard.evaluation.metrics import HEADLINE
from regard.training.callbacks import Callbacks, EpochEnd, RunEnd, RunFailed, RunStart, trackers
from regard.training.callbacks.trackers import IDS, MLflow, SwanLab, WandB, trackers_named

DATA = "synthetic:context?train=7&val=3&test=0"
SETTINGS: dict[str, Any] = {"imgsz": 64, "workers": 0, "plots": False, "verbose": False}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


class Stop(regard.Callback):
    """Interrupts the run in its second epoch, as Ctrl-C does."""

    essential = True

    def on_epoch_end(self, event: Any) -> None:
        if event.epoch == 2:
            raise KeyboardInterrupt


def interrupted_and_resumed(tracker: type, folder: Path) -> Any:
    """Train for three epochs with an interruption in the second."""
    with pytest.raises(KeyboardInterrupt):
        regard.train("odd-one-out-se", DATA, folder=folder, callbacks=[Stop(), tracker()], epochs=3, **SETTINGS)
    return regard.resume(folder, callbacks=[tracker()], verbose=False)


def expected(run: Any) -> dict[str, float]:
    """The last row of results.csv, and the metrics of the best weights."""
    lines = (run.folder / "results.csv").read_text().splitlines()
    row = dict(zip(lines[0].split(","), map(float, lines[-1].split(",")), strict=True))
    found = {name: value for name, value in row.items() if name != "epoch" and math.isfinite(value)}
    return {**found, "best/ap": run.metrics.ap}


@pytest.mark.slow
@pytest.mark.parametrize("store", ["", "store", "file"])
def test_mlflow_has_one_run_with_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if store:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store if store == "store" else (tmp_path / "store").as_uri())
    run = interrupted_and_resumed(MLflow, tmp_path / "run")
    has_database = not store and find_spec("sqlalchemy") is not None
    client = mlflow.MlflowClient(None if has_database or store else (tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("regard")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.info.run_name == "run"
    assert kept.data.params["epochs"] == "3"
    assert kept.data.params["recipe.optim.lr"]
    for name, value in expected(run).items():
        assert kept.data.metrics[name] == pytest.approx(value, rel=1e-5)
    epochs = {point.step for point in client.get_metric_history(kept.info.run_id, "val/ap")}
    assert epochs == {1, 2, 3}


@pytest.mark.slow
def test_wandb_offline_keeps_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = interrupted_and_resumed(WandB, tmp_path / "run")
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2  # one per process, of one run, as `wandb sync` joins them
    assert {file.stem.removeprefix("run-") for file in files} == {
        json.loads((run.folder / IDS).read_text())["wandb"]["id"]
    }
    steps = [step for file in files for step in wandb_steps(file)]
    assert [step["_step"] for step in steps if "val/ap" in step] == [1, 2, 3]
    last = {name: value for step in steps for name, value in step.items()}
    for name, value in expected(run).items():
        assert last[name] == pytest.approx(value, rel=1e-5)


def wandb_steps(file: Path) -> list[dict[str, float]]:
    """What an offline run of W&B has logged, step by step."""
    steps = [record.history.item for record in wandb_records(file) if record.WhichOneof("record_type") == "history"]
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items} for items in steps]


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of an offline run of W&B: protocol buffers in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    part, data, place = b"", file.read_bytes(), 7  # a header of W&B's own
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        part += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind not in (1, 4):  # whole, or the last part
            continue
        record = wandb_internal_pb2.Record()
        record.ParseFromString(part)
        part = b""
        yield record


@pytest.mark.slow
def test_swanlab_offline_keeps_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("swanlab")
    monkeypatch.setenv("SWANLAB_MODE", "offline")
    monkeypatch.setenv("SWANLAB_SAVE_DIR", str(tmp_path / "home"))
    run = interrupted_and_resumed(SwanLab, tmp_path / "run")
    kept = b"".join(file.read_bytes() for file in (run.folder / "swanlog").rglob("*") if file.is_file())
    for name in ("val/ap", "train/box", "best/ap"):
        assert name.encode() in kept


PATHS = ("debug.log", "run-*.swanlab", "meta.yaml")
"""Files with the path of the folder that they are in; docs/callbacks.md lists them."""
KINDS = {"header", "run", "telemetry", "config", "history", "summary", "exit", "final", "footer"}
"""Records of W&B without the machine: not environment, stats, files, output and output_raw."""


class Talk(regard.Callback):
    """Prints, as a run does."""

    def on_epoch_end(self, event: Any) -> None:  # noqa: ARG002
        print("said-to-anna")
        print("said-to-anna", file=sys.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(("tracker", "kept"), [(WandB, "wandb"), (SwanLab, "swanlog"), (MLflow, "mlruns")])
def test_nothing_of_the_machine_is_stored(
    tracker: type[trackers.Tracker], kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(tracker.package)
    folder = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{tracker.package.upper()}_MODE", "offline")
    monkeypatch.setenv("SWANLAB_SAVE_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (folder / "mlruns").as_uri())
    monkeypatch.setattr("socket.gethostname", lambda: "host-of-anna")
    monkeypatch.setattr("getpass.getuser", lambda: "user-anna")
    monkeypatch.setattr(sys, "argv", ["train-of-anna.py", "--weights", "weights-of-anna.pt"])
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "remote", "add", "origin", "https://example.com/code-of-anna.git"], check=True)
    regard.train("odd-one-out", DATA, folder=folder, callbacks=[Talk(), tracker()], epochs=1, **SETTINGS)
    files = [file for file in (folder / kept).rglob("*") if file.is_file()]
    assert files
    for file in files:
        for secret in ("-anna", sys.executable, str(Path(__file__).parent), "torchvision", platform.release()):
            assert secret.encode() not in file.read_bytes(), file
        if not any(file.match(pattern) for pattern in PATHS):
            assert str(tmp_path).encode() not in file.read_bytes(), file
        if file.suffix == ".wandb":
            assert {record.WhichOneof("record_type") for record in wandb_records(file)} <= KINDS


@pytest.mark.parametrize(("tracker", "old"), [(WandB, "0.18.9"), (SwanLab, "0.7.16")])
def test_a_version_that_would_record_the_machine_is_rejected(
    tracker: type[trackers.Tracker], old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: True)
    monkeypatch.setattr(trackers, "version", lambda _: old)
    with pytest.raises(RegardError, match=r"cannot be kept from recording(.|\n)*--upgrade"):
        tracker()
    monkeypatch.setattr(trackers, "version", lambda _: "1.0.0rc1")
    tracker()


def test_a_tracker_that_fails_does_not_end_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(trackers.Tracker):
        package = "json"

        def begin(self, *_: Any) -> str:
            raise ConnectionError("the server is gone")

        def record(self, *_: Any) -> None:
            raise ConnectionError("the server is gone")

        def finish(self, *, failed: bool) -> None:
            assert not failed

    run = regard.train("odd-one-out", DATA, folder=tmp_path / "run", callbacks=[Broken()], epochs=2, **SETTINGS)
    assert run.metrics.images == 3
    assert "the server is gone" in caplog.text


class Kept(trackers.Tracker):
    """A tracker of this process, which fails when ``fails`` says so."""

    package = "json"

    def __init__(self, fails: Callable[[Mapping[str, float], int], bool]) -> None:
        super().__init__()
        self.fails, self.steps, self.ends = fails, list[tuple[int, bool]](), list[bool]()

    def begin(self, folder: Path, name: str, settings: Any, known: str | None) -> str:  # noqa: ARG002
        if self.fails({}, 0):
            raise ConnectionError("no login")
        return known or "first"

    def record(self, values: Mapping[str, float], epoch: int) -> None:
        if self.fails(values, epoch):
            raise ConnectionError("503")
        self.steps.append((epoch, "best/ap" in values))

    def finish(self, *, failed: bool) -> None:
        self.ends.append(failed)


def run_of(folder: Path, epochs: int, done: int = 0) -> tuple[RunStart, list[EpochEnd], RunEnd]:
    """The events of a run of which some epochs were done before."""
    rows = [{"epoch": float(k), "val/ap": 0.1 * k} for k in range(1, epochs + 1)]
    model, data = regard.load("odd-one-out"), load_data(DATA)
    start = RunStart(TrainSettings(), folder, model, data, done, rows[:done], torch.device("cpu"), 1)
    ends = [EpochEnd(k, epochs, {}, None, False, rows[:k], model, model) for k in range(done + 1, epochs + 1)]
    metrics = SimpleNamespace(**dict.fromkeys(HEADLINE, 0.5))
    return start, ends, RunEnd(folder, epochs, rows, model, folder, metrics, {}, "")  # type: ignore[arg-type]


def test_an_epoch_that_failed_is_sent_with_the_next(tmp_path: Path) -> None:
    failed = []
    tracker = Kept(lambda _, epoch: epoch == 2 and not failed and not failed.append(epoch))  # type: ignore[func-returns-value]
    start, epochs, end = run_of(tmp_path, 3)
    emit = Callbacks([tracker]).emit
    for event in (start, *epochs, end):
        emit(event)
    assert tracker.steps == [(1, False), (2, False), (3, False), (3, True)]
    assert tracker.ends == [False]


def test_an_epoch_that_failed_is_sent_when_the_run_is_resumed(tmp_path: Path) -> None:
    broken = Kept(lambda _, epoch: epoch >= 2)
    start, epochs, _ = run_of(tmp_path, 3)
    emit = Callbacks([broken]).emit
    for event in (start, *epochs, RunFailed(tmp_path, 3, KeyboardInterrupt())):
        emit(event)
    assert (broken.steps, broken.ends) == ([(1, False)], [True])
    assert json.loads((tmp_path / IDS).read_text()) == {"json": {"id": "first", "epoch": 1}}
    sound = Kept(lambda *_: False)
    start, epochs, end = run_of(tmp_path, 5, done=3)
    emit = Callbacks([sound]).emit
    for event in (start, *epochs, end):
        emit(event)
    assert sound.steps == [(2, False), (3, False), (4, False), (5, False), (5, True)]


def test_a_tracker_whose_last_record_fails_is_closed(tmp_path: Path) -> None:
    for fails in (lambda values, _: "best/ap" in values, lambda _, epoch: epoch == 2):
        tracker = Kept(fails)
        start, epochs, end = run_of(tmp_path, 2)
        emit = Callbacks([tracker]).emit
        for event in (start, *epochs, end):
            emit(event)
        assert tracker.ends == [False]


def test_a_tracker_that_did_not_begin_is_silent_afterwards(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kept, "__module__", "regard.kept")  # as those of the package
    tracker = Kept(lambda _, epoch: epoch == 0)
    start, epochs, end = run_of(tmp_path, 3)
    emit = Callbacks([tracker]).emit
    for event in (start, *epochs, end):
        emit(event)
    assert [record.getMessage() for record in caplog.records] == [
        "Kept.on_run_start failed: cannot begin, so this run is not logged there: ConnectionError: no login"
    ]
    assert not caplog.records[0].exc_info
    assert tracker.steps == []
    assert not (tmp_path / IDS).exists()


def asks(asked: list[Any], answers: list[Any], **arguments: Any) -> Any:
    """An ``init`` that wants to ask for a login unless it is offline."""
    asked.append(arguments["mode"])
    answers.append((sys.stdin.isatty(), sys.stdin.read(), os.environ["TERM"]))
    if arguments["mode"] is None:
        raise RuntimeError("no login\nand more")
    return SimpleNamespace(id="a")


@pytest.mark.parametrize("tracker", [WandB, SwanLab])
def test_without_a_login_a_run_is_logged_to_its_folder_and_nobody_is_asked(
    tracker: type[trackers.Hosted],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[Any] = []
    answers: list[Any] = []
    package = SimpleNamespace(Settings=Settings, init=partial(asks, asked, answers))
    terminal = SimpleNamespace(isatty=lambda: True, read=lambda: "2")
    monkeypatch.setattr(trackers, "find_spec", lambda _: True)
    monkeypatch.setattr(trackers, "version", lambda _: "1.0.0")
    monkeypatch.setattr(trackers, "import_module", lambda _: package)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert tracker().begin(tmp_path, "run", {}, None) == "a"
    assert asked == [None, "offline"]
    assert answers == [(False, "", "dumb")] * 2
    assert (sys.stdin, os.environ["TERM"]) == (terminal, "xterm")
    (line,) = (record.getMessage() for record in caplog.records)
    assert "(no login)" in line
    assert f"{tracker.mode}=offline" in line
    assert str(tmp_path / tracker.kept) in line


class Settings(SimpleNamespace):
    """Settings of a tracker's package, with a switch for questions."""

    model_fields: ClassVar[Mapping[str, Any]] = {"interactive": None}
    Probe: ClassVar[Any] = SimpleNamespace(model_fields={})

    def __init__(self, **switches: Any) -> None:
        super().__init__(**switches)
        assert switches.get("silent") or not switches["interactive"]


def test_a_run_is_told_from_another_by_its_model_and_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, _, _ = run_of(tmp_path, 1)
    kept: dict[str, Any] = {}
    tracker = Kept(lambda *_: False)
    monkeypatch.setattr(tracker, "begin", lambda _folder, _name, settings, _known: kept.update(settings) or "a")
    edited = regard.insert(start.model, "ECA", after="p4")
    edited.origin = "yolov5n.pt"
    data = replace(start.data, source=str(tmp_path / "cells" / "data.yaml"))
    tracker.on_run_start(replace(start, model=edited, data=data))
    assert kept["data"] == "cells"
    assert kept["model"] == "odd-one-out.yaml"
    assert kept["layers"] == "p4.eca: ECA (gated)"
    assert kept["start_weights"] == "yolov5n.pt"


def test_a_server_that_does_not_answer_costs_a_part_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, tried = [0.0], []

    def waits(_: Any, epoch: int) -> bool:
        tried.append(epoch)
        now[0] += 20 * (epoch > 0)
        return 0 < epoch < 30

    monkeypatch.setattr(trackers, "time", SimpleNamespace(monotonic=lambda: now[0]))
    tracker = Kept(waits)
    start, epochs, end = run_of(tmp_path, 30)
    emit = Callbacks([tracker]).emit
    for event in (start, *epochs, end):
        now[0] += 10
        emit(event)
    assert tried.count(1) == 3  # after epochs 1 and 21, and at the end


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    for name, tracker in trackers.TRACKERS.items():
        with pytest.raises(RegardError, match=rf"regard\[{name}\]"):
            tracker()


def test_every_tracker_is_in_the_help_an_extra_and_in_the_tables_of_extras() -> None:
    root = Path(__file__).parents[3]
    assert tuple(trackers.TRACKERS) == NAMED
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(NAMED) <= extras.keys()
    for page in ("README.md", "README.zh-TW.md"):
        rows = [
            line.split("|")[1] for line in (root / page).read_text(encoding="utf-8").splitlines() if line[:1] == "|"
        ]
        for name in NAMED:
            assert any(f"`{name}`" in cell for cell in rows), (page, name)
    for page in ("docs/callbacks.md", "docs/callbacks.zh-TW.md"):
        assert all(f"regard[{name}]" in (root / page).read_text(encoding="utf-8") for name in NAMED), page


def test_names_that_are_no_tracker_are_rejected_and_repeats_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: True)
    assert [type(one) for one in trackers_named(["mlflow", "wandb", "mlflow"])] == [MLflow, WandB]
    with pytest.raises(RegardError, match="swanlab"):
        trackers_named(["swanlb"])


@pytest.mark.parametrize(
    ("tracker", "variable"),
    [(WandB, "WANDB_PROJECT"), (MLflow, "MLFLOW_EXPERIMENT_NAME"), (SwanLab, "SWANLAB_PROJ_NAME")],
)
def test_the_variable_of_a_tracker_names_the_project(
    tracker: type[trackers.Tracker], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: True)
    monkeypatch.setattr(trackers, "_version_of", lambda _: None)
    monkeypatch.delenv(variable, raising=False)
    assert tracker().project == "regard"
    monkeypatch.setenv(variable, "cells")
    assert tracker().project == "cells"
    assert tracker(project="mine").project == "mine"
