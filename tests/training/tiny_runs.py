"""Settings of a run that takes about half a second, and how to read what it leaves."""

from __future__ import annotations

import csv
from typing import Any, Protocol

import pytest

from regard.config import AugmentSettings, OptimSettings, Recipe
from regard.graph.detector import Detector
from regard.training.run import Run
from regard.weights.store import load_state

TINY = "synthetic:context?train=13&val=3&test=0"

PLAIN = Recipe(
    name="plain",
    augment=AugmentSettings(mosaic=0),
    optim=OptimSettings(lr=0.01, warmup_epochs=0, warmup_min_steps=0, nominal_batch=0, ema_decay=0.5, ema_tau=1.0),
)
"""Every batch an update, at the full rate."""

FAMILIES = ("yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n")


def over_families(*fast: str) -> pytest.MarkDecorator:
    """Run a test on the tiny ``model`` and on one of every later family; of these all but ``fast`` are slow tests."""
    quick = ("odd-one-out", *fast)
    names = [pytest.param(n, marks=() if n in quick else pytest.mark.slow) for n in ("odd-one-out", *FAMILIES)]
    return pytest.mark.parametrize("model", names, indirect=True)


class Train(Protocol):
    def __call__(self, model: Detector, name: str = "run", **settings: object) -> Run:
        """Train for one epoch of four batches in the folder ``name``."""


def table(run: Run) -> list[dict[str, str]]:
    """Return the rows of ``results.csv``."""
    with (run.folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def state_of(run: Run) -> dict[str, Any]:
    """Return what the run would be continued from."""
    return load_state(run.folder / "state.pt")
