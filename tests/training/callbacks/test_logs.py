"""The table of results and the TensorBoard log."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

from sample_events import EMPTY, END, EPOCH
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from regard.training.callbacks import ResultsCsv, RunFailed, RunStart, TensorBoard
from regard.training.callbacks.results_csv import write_csv


def start(folder: Path) -> RunStart:
    return RunStart(EMPTY, folder, EMPTY, EMPTY, epoch=0, rows=(), device=EMPTY, processes=1)


def test_results_have_a_column_for_every_value_of_any_epoch(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "train/box": 0.125}, {"epoch": 2, "train/box": 1 / 3, "gate/p4.se": math.nan}]
    write_csv(tmp_path / "results.csv", rows)
    with (tmp_path / "results.csv").open() as file:
        assert list(csv.DictReader(file)) == [
            {"epoch": "1", "train/box": "0.125", "gate/p4.se": ""},
            {"epoch": "2", "train/box": "0.333333", "gate/p4.se": "nan"},
        ]
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_the_table_is_whole_after_every_epoch_and_from_the_start(tmp_path: Path) -> None:
    log = ResultsCsv()
    log.on_run_start(replace(start(tmp_path), rows=[{"epoch": 1}]))
    assert (tmp_path / "results.csv").read_text() == "epoch\n1\n"  # what a killed process knew and had not written
    log.on_epoch_end(replace(EPOCH, rows=[{"epoch": 1}, {"epoch": 2}]))
    assert (tmp_path / "results.csv").read_text() == "epoch\n1\n2\n"


def test_tensorboard_holds_each_epoch_once_even_after_a_kill(tmp_path: Path) -> None:
    first = TensorBoard()
    first.on_run_start(start(tmp_path))
    for epoch in (1, 2, 3):
        first.on_epoch_end(replace(EPOCH, epoch=epoch, rows=[{"epoch": epoch, "val/ap": epoch / 8, "lr": math.nan}]))
    first.on_run_failed(RunFailed(tmp_path, 2, KeyboardInterrupt()))  # the third is not kept: it is trained again
    second = TensorBoard()
    second.on_run_start(start(tmp_path))
    for epoch in (3, 4):
        second.on_epoch_end(replace(EPOCH, epoch=epoch, rows=[{"epoch": epoch, "val/ap": epoch / 4}]))
    second.on_run_end(END)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Tags()["scalars"] == ["val/ap"]  # what was not measured is not there
    assert [(e.step, e.value) for e in events.Scalars("val/ap")] == [(1, 0.125), (2, 0.25), (3, 0.75), (4, 1.0)]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2  # one file per process, not one per epoch
