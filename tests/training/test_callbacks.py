"""A user's callback is one class: it sees every event in order, and what it raises does not cost the run."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import Train, over_families, state_of, table

import regard
from regard.graph.detector import Detector
from regard.training.callbacks import (
    BatchEnd,
    Callbacks,
    CheckpointSaved,
    EpochEnd,
    EpochStart,
    Event,
    RunEnd,
    RunFailed,
    RunStart,
)
from regard.training.callbacks.base import HOOKS


class Record(regard.Callback):
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_run_start(self, event: RunStart) -> None:
        self.events.append(event)

    def on_epoch_start(self, event: EpochStart) -> None:
        self.events.append(event)

    def on_batch_end(self, event: BatchEnd) -> None:
        self.events.append(event)

    def on_epoch_end(self, event: EpochEnd) -> None:
        self.events.append(event)

    def on_checkpoint(self, event: CheckpointSaved) -> None:
        assert all(path.is_file() for path in event.paths)
        self.events.append(event)

    def on_run_end(self, event: RunEnd) -> None:
        assert (event.folder / "metrics.json").is_file()
        self.events.append(event)

    def on_run_failed(self, event: RunFailed) -> None:
        self.events.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Raise(regard.Callback):
    """Raises at one event, every time."""

    def __init__(self, hook: str) -> None:
        def fail(event: Event) -> None:
            raise ZeroDivisionError(f"in {type(event).__name__}")

        setattr(self, hook, fail)


class Stop(regard.Callback):
    """Stops a run as Ctrl-C does."""

    def on_batch_end(self, event: BatchEnd) -> None:
        if event.epoch == 2:
            raise KeyboardInterrupt


class Essential(Raise):
    essential = True


@over_families()
def test_events_come_in_order_and_say_what_happened(gated: Detector, train: Train) -> None:
    record = Record()
    run = train(gated, epochs=2, callbacks=[record], imgsz=64, val_every=2)
    batches = ["BatchEnd"] * 4  # 13 images, 4 per batch
    epoch = ["EpochStart", *batches, "EpochEnd", "CheckpointSaved"]
    assert [type(event).__name__ for event in record.events] == ["RunStart", *epoch, *epoch, "RunEnd"]
    (start,), (end,) = record.of(RunStart), record.of(RunEnd)
    assert (start.settings.epochs, start.folder, start.epoch, start.rows, start.processes) == (2, run.folder, 0, (), 1)
    assert start.device == torch.device("cpu")
    assert list(start.data.names) == ["ordinary", "odd"]
    assert [(event.epoch, event.epochs, event.steps) for event in record.of(EpochStart)] == [(1, 2, 4), (2, 2, 4)]
    steps = record.of(BatchEnd)
    assert [(event.epoch, event.step) for event in steps] == [(e, i) for e in (1, 2) for i in (1, 2, 3, 4)]
    assert [len(event.batch.images) for event in steps[:4]] == [4, 4, 4, 1]
    assert all(list(event.losses) == list(gated.head.losses) for event in steps)
    assert steps[0].lr != steps[-1].lr
    first, second = record.of(EpochEnd)
    assert first.losses == pytest.approx(steps[3].losses)  # the mean over the epoch
    assert (first.metrics, first.is_best, len(first.rows)) == (None, False, 1)
    assert (second.is_best, len(second.rows), second.row["epoch"]) == (True, 2, 2)
    assert second.metrics.ap == second.row["val/ap"]
    assert [row["train/box"] for row in table(run)] == [f"{event.losses['box']:.6g}" for event in (first, second)]
    saved = [[path.name for path in event.paths] for event in record.of(CheckpointSaved)]
    assert saved == [
        ["last.safetensors", "state.pt"],
        ["last.safetensors", "best.safetensors", "state.pt"],
    ]
    assert (end.folder, end.epoch, end.metrics, end.gates, end.reason) == (run.folder, 2, run.metrics, run.gates, "")
    assert end.weights == run.folder / "best.safetensors"
    assert all(torch.equal(a, b) for a, b in zip(end.model.parameters(), run.model.parameters(), strict=True))


@over_families()
def test_the_model_in_an_event_is_the_one_that_is_trained(model: Detector, train: Train) -> None:
    record = Record()
    run = train(model, callbacks=[record])
    trained = state_of(run)["model"]
    assert all(torch.equal(value, trained[key]) for key, value in record.of(EpochEnd)[0].model.state_dict().items())
    averaged = state_of(run)["ema"]["model"]
    assert all(torch.equal(value, averaged[key]) for key, value in record.of(EpochEnd)[0].averaged.state_dict().items())


def test_callbacks_change_nothing(model: Detector, train: Train) -> None:
    plain, watched = train(model, name="plain"), train(model, name="watched", callbacks=[Record()], verbose=False)
    for key, value in state_of(plain)["model"].items():
        assert torch.equal(state_of(watched)["model"][key], value)


@pytest.mark.parametrize("hook", [hook for hook in HOOKS.values() if hook != "on_run_failed"])
def test_a_callback_that_raises_is_reported_and_costs_nothing(
    model: Detector, train: Train, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = Record()
    run = train(model, callbacks=[Raise(hook), record])
    assert (run.folder / "metrics.json").is_file()
    assert record.of(RunEnd)  # those behind it are called
    reports = [entry for entry in caplog.records if entry.name.startswith("regard.") and entry.levelno == logging.ERROR]
    assert [entry.exc_info is not None for entry in reports] == [True, False][: 1 + (hook == "on_batch_end")]
    assert all("4 times" in entry.getMessage() for entry in reports[1:])  # four batches, one traceback
    assert reports[0].getMessage().startswith(f"Raise.{hook} failed: ZeroDivisionError: in ")


class Misspelt(regard.Callback):
    def on_epoch_finish(self, event: EpochEnd) -> None:
        """Never called."""


class CamelCase(regard.Callback):
    def onEpochEnd(self, event: EpochEnd) -> None:  # noqa: N802
        """Never called."""


class WithoutEvent(regard.Callback):
    def on_epoch_end(self) -> None:  # type: ignore[override]
        """Cannot be called."""


class Unrelated:
    def on_epoch_end(self, event: EpochEnd) -> None:
        """Derives from nothing."""


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        ([3], ["callbacks[0] is 3", "regard.Callback"]),
        (3, ["callbacks is 3", "a list"]),
        ("Record", ["callbacks is 'Record'", "a list"]),
        (Record(), ["callbacks is a Record", "[Record()]"]),
        ([Record(), Record], ["callbacks[1] is <class", "Record()"]),
        (Record, ["callbacks is <class", "a list"]),
        ([Unrelated()], ["callbacks[0] is <", "regard.Callback"]),
        ([Misspelt()], ["Misspelt.on_epoch_finish", "did you mean 'on_epoch_end'"]),
        ([CamelCase()], ["CamelCase.onEpochEnd", "did you mean 'on_epoch_end'"]),
        ([WithoutEvent()], ["WithoutEvent.on_epoch_end", "def on_epoch_end(self, event)"]),
    ],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_what_is_no_list_of_callbacks_is_rejected_before_anything_is_done(
    model: Detector, tmp_path: Path, callbacks: Any, words: list[str], resumed: bool
) -> None:
    folder = tmp_path / "run"
    run = partial(regard.resume, folder) if resumed else partial(regard.train, model, "no-such-data", folder=folder)
    with pytest.raises(regard.RegardError) as error:
        run(callbacks=callbacks)
    assert all(word in str(error.value) for word in words), error.value
    assert not (tmp_path / "run").exists()


def test_each_kind_of_failure_is_reported_once() -> None:
    class Varied(regard.Callback):
        def on_batch_end(self, event: BatchEnd) -> None:
            raise (ZeroDivisionError if event.step % 3 else KeyError)

    empty: Any = None
    events = [BatchEnd(1, step, 7, empty, {}, 0.1, empty) for step in range(1, 8)]
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("regard.training.callbacks.base.log.error", lambda *a, **_: lines.append(a[0] % a[1:]))
        passing = Callbacks([Varied(), Varied()])
        for event in events:
            passing.emit(event)
        assert len(lines) == 4  # two callbacks, two kinds
        passing.emit(RunFailed(Path(), 1, KeyboardInterrupt()))
    assert [line.split(" failed ")[1].split(";")[0] for line in lines[4:]] == [
        *["5 times with ZeroDivisionError"] * 2,
        *["2 times with KeyError"] * 2,
    ]


def test_an_essential_callback_that_raises_ends_the_run(model: Detector, train: Train) -> None:
    record = Record()
    with pytest.raises(ZeroDivisionError):
        train(model, callbacks=[Essential("on_epoch_end"), record])
    (failed,) = record.of(RunFailed)
    assert isinstance(failed.error, ZeroDivisionError)
    assert not record.of(RunEnd)


def test_a_checkpoint_that_cannot_be_written_ends_the_run(
    model: Detector, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regard.training import folder

    def full(file: Path, _: object) -> None:
        raise regard.RegardError("No space left on device", file=file)

    monkeypatch.setattr(folder, "save_state", full)
    record = Record()
    with pytest.raises(regard.RegardError, match="No space left") as caught:
        train(model, callbacks=[record])
    assert caught.value.hint is None  # nothing was trained
    assert len(record.of(RunFailed)) == 1


@pytest.mark.parametrize("gone", [False, True])
def test_a_run_that_a_full_disk_or_a_missing_folder_ends_says_how_it_continues(
    model: Detector, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    from regard.training import folder

    save, calls = folder.save_state, []

    def full(file: Path, state: dict[str, Any]) -> None:
        calls.append(file)
        if len(calls) < 3:
            return save(file, state)
        if gone:
            file.parent.rename(tmp_path / "moved")
        raise regard.RegardError("No space left on device", file=file)

    monkeypatch.setattr(folder, "save_state", full)
    with pytest.raises(regard.RegardError, match="No space left") as caught:
        train(model, epochs=3)
    assert f"`regard train --resume {calls[0].parent}` continues the run" in str(caught.value)


def test_other_files_that_cannot_be_written_are_reported(
    model: Detector, train: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from regard.training.callbacks import results_csv

    def full(file: Path, _: object) -> None:
        raise regard.RegardError("No space left on device", file=file)

    monkeypatch.setattr(results_csv, "write_csv", full)
    run = train(model)
    assert (run.folder / "best.safetensors").is_file()
    assert [entry.getMessage().split(":")[0] for entry in caplog.records if entry.levelno == logging.ERROR] == [
        "ResultsCsv.on_run_start failed",
        "ResultsCsv.on_epoch_end failed",
    ]
    assert not any(entry.exc_info for entry in caplog.records)  # the message says it all


def test_a_stopped_run_is_reported_and_resumes_where_it_was(model: Detector, train: Train) -> None:
    record = Record()
    with pytest.raises(KeyboardInterrupt):
        train(model, epochs=3, callbacks=[Stop(), record])
    (failed,) = record.of(RunFailed)
    assert (failed.epoch, type(failed.error)) == (1, KeyboardInterrupt)
    again = Record()
    regard.resume(failed.folder, callbacks=[again], verbose=False)
    (start,) = again.of(RunStart)
    assert (start.epoch, len(start.rows)) == (1, 1)
    assert [event.epoch for event in again.of(EpochEnd)] == [2, 3]


def test_training_prints_nothing_but_its_progress(
    model: Detector, train: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    train(model, name="quiet", verbose=False, plots=True)
    assert capfd.readouterr() == ("", "")
    train(model, name="loud")
    printed = capfd.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()] == ["epoch", "1/1"]
    assert printed.err == ""


def test_messages_are_logged(model: Detector, train: Train, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "regard"):
        train(model, freeze=["stem", "detect"], single_cls=True)
    text = "\n".join(entry.getMessage() for entry in caplog.records if entry.name == "regard.training")
    for part in (
        "classes, 1 from the data: item",
        "anchors: best possible recall",
        "frozen: stem",
        "detect are frozen",
    ):
        assert part in text


class Previews(regard.Callback):
    """Predicts with the detector that is being trained, as a preview of images would."""

    def on_batch_end(self, event: BatchEnd) -> None:
        event.model.eval()
        event.model(event.batch.images.float() / 255)


def test_a_callback_may_predict_with_the_detector(tmp_path: Path) -> None:
    run = regard.train(
        "odd-one-out", "synthetic:context?train=6&val=2&test=0", folder=tmp_path / "run", epochs=2, imgsz=64, batch=2,
        workers=0, plots=False, verbose=False, callbacks=[Previews()],
    )  # fmt: skip
    assert len((run.folder / "results.csv").read_text().splitlines()) == 3
    assert len(repr(run)) < 300


def test_events_print_in_a_line(model: Detector, train: Train) -> None:
    lines: list[str] = []

    class Lines(regard.Callback):
        def on_run_start(self, event: Any) -> None:
            lines.append(repr(event))

        on_epoch_start = on_batch_end = on_epoch_end = on_checkpoint = on_run_end = on_run_start

    train(model, callbacks=[Lines()])
    assert {line.partition("(")[0] for line in lines} >= {"RunStart", "BatchEnd", "EpochEnd", "RunEnd"}
    assert max(map(len, lines)) < 500
