"""What a run takes, reckoned from a short measurement."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_studies import tiny_plan

from regard.ablate.detector import DetectorExperiment, with_mosaic
from regard.ablate.hardware import Hardware
from regard.ablate.power_analysis import Probe, _start_seconds
from regard.ablate.trainable import Budget
from regard.config import TrainSettings
from regard.system.locks import LOCK

MEASURED = Probe(
    train_seconds={"base": 0.1, "slow": 0.5},
    val_seconds={"base": 0.02, "slow": 0.04},
    start_seconds=7.0,
    peak_mib=900.0,
    run_mib={"base": 3.0},
    open_mib=5.0,
    failures={"broken": "out of memory"},
)


def test_minutes_become_epochs_by_variant() -> None:
    assert MEASURED.epochs_in(2, images=100) == {"base": 12, "slow": 2}
    assert MEASURED.epochs_in(0.01, images=100) == {"base": 1, "slow": 1}


def test_the_time_of_a_run() -> None:
    assert MEASURED.run_seconds("base", 3, images=100, val_images=10, val_every=1) == pytest.approx(7 + 30 + 5 * 0.2)
    slow = MEASURED.run_seconds("slow", 3, images=100, val_images=10, val_every=1)
    assert MEASURED.run_seconds("broken", 3, images=100, val_images=10, val_every=1) == slow
    # Val is looked at after epochs 3, 6 and 7 of 7, and twice more in the end.
    seldom = MEASURED.run_seconds("base", 7, images=100, val_images=10, val_every=3)
    assert seldom == pytest.approx(7 + 70 + 5 * 0.2)


def test_mosaic_is_measured_where_the_runs_have_it() -> None:
    experiment = DetectorExperiment(tiny_plan(recipe="default", epochs=4, control="none"))
    base, hardware = experiment.variants()[0], Hardware("cpu", "32", 0)
    whole, short = (experiment.arguments(base, 0, Budget(2), hardware, limit=n)["settings"] for n in (0, 12))
    assert short["recipe"]["close_mosaic"] == 0
    settings = TrainSettings.model_validate(whole)
    assert settings.recipe.close_mosaic == 3  # of two epochs none would have it
    assert with_mosaic(settings, 4).recipe.close_mosaic == 0
    assert with_mosaic(settings, None).recipe.close_mosaic == 0
    assert with_mosaic(settings, 3) == settings


def test_every_run_starts_a_process(tmp_path: Path) -> None:
    """11 s to start the process, then three runs in 30 s, of which epochs took 12 s: 6 s more a run."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.csv").write_text("epoch,train_seconds,val_seconds\n1,1.5,0.5\n2,1.25,0.75\n")
    (tmp_path / "a" / LOCK).touch()
    os.utime(tmp_path / "a" / LOCK, (1011, 1011))
    folders = [tmp_path / name for name in ("a", "b", "c")]
    assert _start_seconds(folders, 1000, 1041) == pytest.approx(11 + (30 - 12) / 3)
    (tmp_path / "a" / LOCK).unlink(missing_ok=True)
    assert _start_seconds(folders, 1000, 1041) == pytest.approx(41)
