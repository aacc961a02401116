"""Studies that take seconds, and an executor that needs no separate process."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.ablate.detector import DetectorExperiment
from regard.ablate.folder import StudyRecord, read_json
from regard.ablate.hardware import Hardware, hardware_here
from regard.ablate.plan import Plan, make_plan
from regard.ablate.processes import run_job
from regard.ablate.trainable import Budget, Job, write_run
from regard.config import AugmentSettings, OptimSettings, Recipe

DATA = "synthetic:context?train=13&val=5&test=3"
PLAIN = Recipe(
    name="plain",
    augment=AugmentSettings(mosaic=0.5),
    optim=OptimSettings(lr=0.01, warmup_epochs=0, warmup_min_steps=0, nominal_batch=0, ema_decay=0.5, ema_tau=1.0),
)
FAST: dict[str, Any] = {
    "base": "odd-one-out",
    "data": DATA,
    "imgsz": 64,
    "batch": 4,
    "epochs": 1,
    "seeds": 2,
    "recipe": PLAIN,
    "train": {"device": "cpu"},
}


def tiny_plan(**changes: Any) -> Plan:
    return make_plan({**FAST, "insert": ["SE(reduction=4)@p4"], **changes})


def prepared(folder: Path, seed: int = 0, epochs: int = 1) -> Job:
    """Write a run of the base that has not begun."""
    experiment = DetectorExperiment(tiny_plan(control="none"))
    return write_run(folder, experiment, experiment.variants()[0], seed, Budget(epochs), Hardware("cpu", "32", 0))


class Here:
    """Executes runs one after the other in this process.

    Attributes:
        given: names of the runs that were asked for.
    """

    def __init__(self) -> None:
        self.given: list[str] = []

    def run(self, jobs: Sequence[Job]) -> Generator[Path, None, None]:
        for job in jobs:
            self.given.append(f"{job.folder.parent.name}/{job.folder.name}")
            run_job(job)
            yield job.folder

    def hardware(self, train: Mapping[str, Any]) -> Hardware:
        return hardware_here(train)


def outcome(study: StudyRecord) -> dict[str, Any]:
    """Return all that a study measured, without what depends on the clock, with a hash of every run's weights."""
    return {
        f"{run.variant}/{run.seed}": {
            "status": run.status,
            "metrics": {k: repr(v) for k, v in run.metrics.items()},
            "per_class": {k: repr(v) for k, v in run.per_class.items()},
            "gates": dict(run.gates),
            "curve": [{k: repr(v) for k, v in row.items() if "second" not in k} for row in run.curve],
            "weights": read_json(run.folder / "result.json")["weights"] if run.status == "finished" else "",
            "test": {k: repr(v) for k, v in study.test.get(run.variant, {}).get(run.seed, {}).items()},
        }
        for run in study.runs
    }
