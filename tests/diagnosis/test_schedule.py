"""Numbers and advice about the schedule are those of the package that trained."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from run_folders import PACKAGES, Run, curve

from regard.diagnosis.case import Case
from regard.diagnosis.causes.schedule import (
    _updates,
    diverged,
    early_stop,
    few_updates,
    learning_rate,
    no_ap,
    still_rising,
    warm_up,
)
from regard.diagnosis.packages import read_run
from regard.diagnosis.record import TrainingRecord


@pytest.fixture
def record(tmp_path: Path) -> TrainingRecord:
    return read_run(Run(tmp_path, "yolov5").write_texts())


def test_gradients_are_gathered_over_more_and_more_batches_in_a_warm_up(record: TrainingRecord) -> None:
    short = replace(record, epochs=20, batch=16, images=48, rows=record.rows[:20])  # of 60 steps, in a warm-up of 100
    # 17 of one batch each, up to step 50 of two, then of three
    assert _updates(Case(short)) == (37, 3)
    found = few_updates(Case(short))
    assert found is not None
    assert "up to 3 batches" in found.evidence
    assert "37 times" in found.evidence


def test_the_last_batch_of_an_epoch_updates_in_this_package(record: TrainingRecord) -> None:
    schedule = replace(record.schedule, nominal_batch=64, warmup_epochs=0, warmup_min_steps=0)
    run = replace(record, epochs=10, batch=16, images=96, schedule=schedule)
    assert _updates(Case(run)) == (15, 4)
    assert _updates(Case(replace(run, package="regard"))) == (20, 4)
    assert _updates(Case(replace(run, epochs=200_000)))[0] == 300_000  # estimated


@pytest.mark.parametrize(("epochs", "is_few"), [(99, True), (100, False)])
def test_a_short_training_has_few_updates_without_gathering(epochs: int, is_few: bool, record: TrainingRecord) -> None:
    found = few_updates(Case(replace(record, epochs=epochs, rows=record.rows[:epochs])))
    assert (found is not None) == is_few
    if found:
        assert "only 99 times in 99 epochs (steps per epoch: 1)" in found.evidence


def test_advice_for_the_smallest_warm_up_can_be_followed(record: TrainingRecord) -> None:
    case = Case(replace(record, epochs=90))
    found = warm_up(case)
    assert found is not None
    assert "its smallest length is 100 steps" in found.evidence
    assert "warmup_epochs" not in found.advice
    own = warm_up(Case(replace(case.run, package="regard")))
    assert own is not None
    assert "(warmup_min_steps)" in own.advice
    longer = warm_up(Case(replace(case.run, schedule=replace(record.schedule, warmup_epochs=101))))
    assert longer is not None
    assert "smallest" not in longer.evidence
    assert "(warmup_epochs)" in longer.advice


@pytest.mark.parametrize("package", PACKAGES)
def test_an_early_stop_states_the_learning_rate_of_the_table(package: str, tmp_path: Path) -> None:
    run = Run(tmp_path, package, patience=30, ap=curve(81, 0.5)[:51] + [0.3] * 30)
    found = early_stop(Case(read_run(run.write_texts())))
    assert found is not None
    assert "the learning rate was at 80% of its value" in found.evidence
    assert "plan fewer epochs" in found.advice
    column = {"yolov5": "x/lr0", "ultralytics": "lr/pg0", "regard": "lr"}[package]
    run.columns[column] = [0.1, *(0.0005 for _ in range(80))]  # biases start at 0.1
    found = early_stop(Case(read_run(run.write_texts())))
    assert found is not None
    assert "at 5% of its value" in found.evidence
    assert "plan fewer epochs" not in found.advice
    run.columns[column] = [math.nan] * 81
    found = early_stop(Case(read_run(run.write_texts())))
    assert found is not None
    assert "learning rate was" not in found.evidence


def test_a_table_of_many_epochs_is_read_in_linear_time(record: TrainingRecord) -> None:
    losses = [2.0] * 50_000 + [1.0, 3.0] + [5.0] * 50_000
    rows = [{"epoch": float(i + 1), "train/box": loss} for i, loss in enumerate(losses)]
    found = diverged(Case(replace(record, rows=rows)))
    assert found is not None
    assert "1 in epoch 50001 to 3 or more from epoch 50002 on" in found.evidence


@pytest.mark.parametrize(
    ("ap", "is_few"),
    [
        (curve(120), False),
        ([0.55] * 100, False),
        (curve(99), True),  # fewer epochs than is usual
        (curve(120, 0.2), True),  # low: perhaps as the weights could not change enough
        ([0.5 * min(1, 0.3 + epoch / 120) for epoch in range(1, 121)], True),  # flat only when the rate was low
        ([math.nan] * 120, True),
    ],
)
def test_few_updates_are_no_fault_where_half_of_them_were_enough(ap: list[float], is_few: bool, tmp_path: Path) -> None:
    run = Run(tmp_path, "ultralytics", epochs=120, batch=4, nominal=64, ap=ap)  # of 16 images in 4 steps
    updates = few_updates(Case(read_run(run.write_texts())))
    assert (updates is not None) == is_few
    if updates:
        assert "up to 16 batches" in updates.evidence


def test_a_real_training_has_no_fault() -> None:
    """The folder is that of a training of regard on 215 photographs of playing cards, without its weights."""
    record = read_run(Path(__file__).parent / "healthy")
    assert (record.finished, record.images, record.best) == (40, 215, (38, pytest.approx(0.693, abs=1e-3)))
    for cause in (diverged, no_ap, warm_up, learning_rate, few_updates, early_stop, still_rising):
        assert cause(Case(record)) is None


@pytest.mark.parametrize(("epochs", "has_stopped"), [(80, False), (81, True), (82, True), (83, False), (110, False)])
def test_a_run_that_went_on_was_not_stopped_by_its_patience(epochs: int, has_stopped: bool, tmp_path: Path) -> None:
    run = Run(tmp_path, "ultralytics", patience=30, ap=curve(81, 0.5)[:51] + [0.3] * (epochs - 51))
    found = early_stop(Case(read_run(run.write_texts())))
    assert found is not None
    assert ("(patience)" in found.evidence) == has_stopped


@pytest.mark.parametrize(("scale", "is_fall"), [(1.0, True), (0.05, True), (0.03, False), (0.01, False)])
def test_an_ap_of_almost_nothing_cannot_fall(scale: float, is_fall: bool, tmp_path: Path) -> None:
    run = Run(tmp_path, "ultralytics", epochs=6, ap=[scale * ap for ap in (0.3, 0.5, 0.4, 0.2, 0.1, 0.1)])
    assert (diverged(Case(read_run(run.write_texts()))) is not None) == is_fall
