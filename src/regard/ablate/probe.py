"""What a study will take: each variant is trained for two short epochs on a few images, in a process of its own."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regard.ablate.execute import Worker, thread_environment
from regard.ablate.folder import FAILURE, LOCK, LOG, RESULT, read_json, read_run
from regard.ablate.hardware import Hardware
from regard.ablate.jobs import run_settings, write_job
from regard.ablate.variants import Entry, Lineup
from regard.config import TrainSettings

BATCHES = 3
"""Batches of an epoch of the probe; the second epoch is the one that counts."""


@dataclass(frozen=True)
class Probe:
    """What was measured.

    Attributes:
        train_seconds: for one training image, by variant; those that failed are missing.
        val_seconds: for one image of val, likewise.
        start_seconds: that a run takes besides: to start its process, to load, to write.
        peak_mib: most memory that a run needs.
        run_mib: on disk when a run has finished, by variant.
        open_mib: on disk while it trains.
        failures: why variants failed, by name.
    """

    train_seconds: Mapping[str, float]
    val_seconds: Mapping[str, float]
    start_seconds: float
    peak_mib: float
    run_mib: Mapping[str, float]
    open_mib: float
    failures: Mapping[str, str]

    def describe(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        return asdict(self)

    def epochs_in(self, minutes: float, images: int) -> dict[str, int]:
        """Return for each variant how many epochs of so many images it trains in so many minutes, 1 or more."""
        return {name: max(int(60 * minutes / (seconds * images)), 1) for name, seconds in self.train_seconds.items()}

    def failure_lines(self) -> list[str]:
        """Return a sentence for each variant that failed."""
        return [f"{name} failed in the short measurement: {error}" for name, error in self.failures.items()]

    def run_seconds(self, name: str, epochs: int, images: int, val_images: int, val_every: int) -> float:
        """Return how long one run takes; as the slowest variant where this one's probe failed.

        Args:
            name: of the variant.
            epochs: of the run.
            images: of an epoch.
            val_images: of val.
            val_every: epochs from one look at val to the next; the last epoch always looks.
        """
        train = self.train_seconds.get(name, max(self.train_seconds.values(), default=0.0))
        val = self.val_seconds.get(name, max(self.val_seconds.values(), default=0.0))
        # The last weights are measured twice more: once by the run itself, once for the study.
        looks = math.ceil(epochs / val_every) + 2
        return self.start_seconds + epochs * images * train + looks * val_images * val


def probe(lineup: Lineup, entries: Sequence[Entry], threads: int, hardware: Hardware) -> Probe:
    """Measure every variant; nothing of it is kept."""
    plan = lineup.plan
    with tempfile.TemporaryDirectory(prefix="regard-probe-") as temporary:
        folders = {entry.name: Path(temporary) / str(i) for i, entry in enumerate(entries)}
        for entry in entries:
            settings = _with_mosaic(run_settings(plan, entry, plan.seeds[0], 2, hardware), plan.planned_epochs)
            write_job(folders[entry.name], lineup, entry, plan.seeds[0], settings, limit=BATCHES * plan.batch)
        began = time.time()  # as files are dated
        process = Worker(list(folders.values()), thread_environment(threads))
        try:
            process.wait()
        finally:
            process.stop()
        return _read(folders, began, time.time(), lineup)


def _with_mosaic(settings: TrainSettings, epochs: int | None) -> TrainSettings:
    """Return the settings with mosaic to the end, unless the run is so short that it never has any."""
    if epochs is not None and epochs <= settings.recipe.close_mosaic:
        return settings
    return settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"close_mosaic": 0})})


def _start_seconds(folders: Sequence[Path], began: float, ended: float) -> float:
    """Return what one run takes besides its epochs: a process of its own, and its share of what all took.

    Args:
        folders: of the runs, all of one process.
        began: when the process was started.
        ended: when it had ended.
    """
    lock = folders[0] / LOCK  # made when the process has imported all and comes to its first run
    started = max(lock.stat().st_mtime, began) if lock.is_file() else ended
    curves = [read_run("", 0, folder).curve for folder in folders]
    inside = sum(row["train_seconds"] + row["val_seconds"] for curve in curves for row in curve)
    return started - began + max(ended - started - inside, 0.0) / len(folders)


def _read(folders: Mapping[str, Path], began: float, ended: float, lineup: Lineup) -> Probe:
    limit = BATCHES * lineup.plan.batch
    counts = {split: min(len(lineup.data.splits[split]), limit) for split in ("train", "val")}
    finished = {name: folder for name, folder in folders.items() if (folder / RESULT).is_file()}
    runs = {name: read_run(name, 0, folder) for name, folder in finished.items()}
    last = {name: run.curve[-1] for name, run in runs.items()}
    failures = {
        name: read_json(folder / FAILURE)["error"] if (folder / FAILURE).is_file() else _last_line(folders)
        for name, folder in folders.items()
        if name not in finished
    }
    return Probe(
        train_seconds={name: row["train_seconds"] / counts["train"] for name, row in last.items()},
        val_seconds={name: row["val_seconds"] / counts["val"] for name, row in last.items()},
        start_seconds=_start_seconds(list(folders.values()), began, ended),
        peak_mib=max((run.peak_mib for run in runs.values()), default=0.0),
        run_mib={name: _mib(folder) for name, folder in finished.items()},
        # Training keeps the weights, a second copy of them, two moments and the last and best weights.
        open_mib=max((_mib(folder, "*.safetensors") * 3 for folder in finished.values()), default=0.0),
        failures=failures,
    )


def _mib(folder: Path, pattern: str = "*") -> float:
    return sum(file.stat().st_size for file in folder.rglob(pattern) if file.is_file()) / 2**20


def _last_line(folders: Mapping[str, Path]) -> str:
    """Return the last that the process said, if it ended before it came to a variant."""
    log = next(iter(folders.values())) / LOG
    return (log.read_text(errors="replace").strip().splitlines() or ["the process ended without a word"])[-1]
