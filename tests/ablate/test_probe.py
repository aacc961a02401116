"""What a run takes, reckoned from a short measurement."""

from __future__ import annotations

import pytest

from regard.ablate.probe import Probe

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
    assert MEASURED.run_seconds("base", 3, images=100, val_images=10) == pytest.approx(7 + 30 + 5 * 0.2)
    slow = MEASURED.run_seconds("slow", 3, images=100, val_images=10)
    assert MEASURED.run_seconds("broken", 3, images=100, val_images=10) == slow
