"""What a study will take: each variant is trained for two short epochs on a few images, in a process of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regard.ablate.execute import start_worker, stop_worker, thread_environment
from regard.ablate.folder import FAILURE, LOG, RESULT, read_json, read_run
from regard.ablate.hardware import Hardware
from regard.ablate.jobs import run_settings, write_job
from regard.ablate.variants import Entry, Lineup

BATCHES = 3
"""Batches of an epoch of the probe; the second epoch is the one that counts."""


@dataclass(frozen=True)
class Probe:
    """What was measured.

    Attributes:
        train_seconds: for one training image, by variant; those that failed are missing.
        val_seconds: for one image of val, likewise.
        start_seconds: that a process takes before it trains.
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

    def run_seconds(self, name: str, epochs: int, images: int, val_images: int) -> float:
        """Return how long one run takes; as the slowest variant where this one's probe failed."""
        train = self.train_seconds.get(name, max(self.train_seconds.values(), default=0.0))
        val = self.val_seconds.get(name, max(self.val_seconds.values(), default=0.0))
        # The last weights are measured twice more: once by the run itself, once for the study.
        return self.start_seconds + epochs * images * train + (epochs + 2) * val_images * val


def probe(lineup: Lineup, entries: Sequence[Entry], threads: int, hardware: Hardware) -> Probe:
    """Measure every variant; nothing of it is kept."""
    plan = lineup.plan
    with tempfile.TemporaryDirectory(prefix="regard-probe-") as temporary:
        folders = {entry.name: Path(temporary) / str(i) for i, entry in enumerate(entries)}
        for entry in entries:
            settings = run_settings(plan, entry, plan.seeds[0], 2, hardware)
            write_job(folders[entry.name], lineup, entry, plan.seeds[0], settings, limit=BATCHES * plan.batch)
        began = time.perf_counter()
        process = start_worker(list(folders.values()), thread_environment(threads))
        try:
            process.wait()
        finally:
            stop_worker(process)
        return _read(folders, time.perf_counter() - began, lineup)


def _read(folders: Mapping[str, Path], seconds: float, lineup: Lineup) -> Probe:
    limit = BATCHES * lineup.plan.batch
    counts = {split: min(len(lineup.data.splits[split]), limit) for split in ("train", "val")}
    finished = {name: folder for name, folder in folders.items() if (folder / RESULT).is_file()}
    runs = {name: read_run(name, 0, folder) for name, folder in finished.items()}
    last = {name: run.curve[-1] for name, run in runs.items()}
    inside = sum(row["train_seconds"] + row["val_seconds"] for run in runs.values() for row in run.curve)
    failures = {
        name: read_json(folder / FAILURE)["error"] if (folder / FAILURE).is_file() else _last_line(folders)
        for name, folder in folders.items()
        if name not in finished
    }
    return Probe(
        train_seconds={name: row["train_seconds"] / counts["train"] for name, row in last.items()},
        val_seconds={name: row["val_seconds"] / counts["val"] for name, row in last.items()},
        start_seconds=max(seconds - inside, 0.0) / max(len(finished), 1),
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
