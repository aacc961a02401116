"""Estimates before a study starts: its number of runs, time, disk space and statistical power.

Each variant is trained for two short epochs on a few images, in a separate process.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from regard.ablate.detector import DetectorExperiment
from regard.ablate.executors import local_slots, thread_environment
from regard.ablate.folder import FAILURE, LOG, RESULT, Variant, read_json, read_run
from regard.ablate.format import duration, print_lines
from regard.ablate.hardware import Hardware, free_gpus, hardware_here
from regard.ablate.plan import Plan, StudySettings
from regard.ablate.power_text import power_lines
from regard.ablate.processes import SpawnedProcess
from regard.ablate.schema import metric_name
from regard.ablate.trainable import Budget, Experiment, write_run
from regard.errors import RegardError
from regard.system.locks import LOCK
from regard.system.plain_table import PlainTable
from regard.system.resources import available_cores
from regard.system.scratch import scratch_folder
from regard.system.translation import translate

EPOCHS = 2
"""Epochs of the measurement; the last one counts."""


@dataclass(frozen=True)
class Probe:
    """What was measured.

    Attributes:
        train_seconds: per training image, by variant; those that failed are missing.
        val_seconds: time per image of val, measured in the same way.
        start_seconds: additional time of a run, to start its process, to load and to write.
        peak_mib: largest memory of a run.
        run_mib: disk space of a finished run, by variant.
        open_mib: disk space of a run while it trains.
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
        """All of it, JSON-ready."""
        return asdict(self)

    def epochs_in(self, minutes: float, images: int) -> dict[str, int]:
        """Number of epochs that each variant trains in a time, 1 or more, given the images per epoch."""
        return {name: max(int(60 * minutes / (seconds * images)), 1) for name, seconds in self.train_seconds.items()}

    def failure_lines(self) -> list[str]:
        """A sentence for each variant that failed."""
        return [f"{name} failed in the short measurement: {error}" for name, error in self.failures.items()]

    def run_seconds(self, name: str, epochs: int, images: int, val_images: int, val_every: int) -> float:
        """Estimate the seconds of one run; as for the slowest variant if this one's measurement failed.

        Args:
            name: of the variant.
            epochs: of the run.
            images: per epoch.
            val_images: number of images of val.
            val_every: epochs between evaluations on val; the last epoch always has one.
        """
        train = self.train_seconds.get(name, max(self.train_seconds.values(), default=0.0))
        val = self.val_seconds.get(name, max(self.val_seconds.values(), default=0.0))
        # The last weights are evaluated twice more: once by the run itself, once for the study.
        evaluations = math.ceil(epochs / val_every) + 2
        return self.start_seconds + epochs * images * train + evaluations * val_images * val


def probe(experiment: Experiment, seed: int, threads: int, hardware: Hardware) -> Probe:
    """Measure every variant; the runs are not kept."""
    variants = experiment.variants()
    with scratch_folder(Path(tempfile.gettempdir())) as temporary:
        folders = {variant.name: temporary / str(i) for i, variant in enumerate(variants)}
        budget, limit = Budget(EPOCHS), experiment.probe_limit
        jobs = [write_run(folders[v.name], experiment, v, seed, budget, hardware, limit=limit) for v in variants]
        began = time.time()  # as files are dated
        process = SpawnedProcess(jobs, thread_environment(threads))
        try:
            process.wait()
        finally:
            process.stop()
        return _read(folders, began, time.time(), experiment)


def _start_seconds(folders: Sequence[Path], began: float, ended: float) -> float:
    """Time of one run besides its epochs: to start a process, and its share of the additional time of all.

    Args:
        folders: of the runs, all of one process.
        began: when the process was started.
        ended: when it had ended.
    """
    lock = folders[0] / LOCK  # created when the process has imported everything and comes to its first run
    started = max(lock.stat().st_mtime, began) if lock.is_file() else ended
    curves = [read_run("", 0, folder).curve for folder in folders]
    inside = sum(row["train_seconds"] + row["val_seconds"] for curve in curves for row in curve)
    return started - began + max(ended - started - inside, 0.0) / len(folders)


def _read(folders: Mapping[str, Path], began: float, ended: float, experiment: Experiment) -> Probe:
    counts = {split: min(experiment.images[split], experiment.probe_limit) for split in ("train", "val")}
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
        # Training keeps the weights, their moving average, two moments, and the last and best weights.
        open_mib=max((_mib(folder, "*.safetensors") * 3 for folder in finished.values()), default=0.0),
        failures=failures,
    )


def _mib(folder: Path, pattern: str = "*") -> float:
    return sum(file.stat().st_size for file in folder.rglob(pattern) if file.is_file()) / 2**20


def _last_line(folders: Mapping[str, Path]) -> str:
    """Last line of the output, of a process that ended before it came to a variant."""
    lines = (next(iter(folders.values())) / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "the process ended without output"


def count_judged(variants: Sequence[Variant]) -> int:
    """Number of variants that are judged, at least 1."""
    return max(sum(variant.role == "variant" for variant in variants), 1)


def shared_threads(variants: int, seeds: int, processes: int | None) -> int:
    """Number of threads of each run, if as many run in parallel as there are cores, or ``processes``."""
    cores = available_cores()
    return max(cores // min(processes or cores, variants * seeds, cores), 1)


def planned_epochs(plan: StudySettings, experiment: Experiment, measured: Probe | None) -> dict[str, int]:
    """Convert the plan's budget to epochs of every variant.

    Raises:
        RegardError: minutes are the budget, and no variant could be measured.
    """
    images, names = experiment.images.get("train", 0), [variant.name for variant in experiment.variants()]
    if isinstance(plan, Plan) and plan.minutes:
        assert measured is not None
        known = measured.epochs_in(plan.minutes, images)
        if not known:
            why = next(iter(measured.failure_lines()), "none was tried")
            raise RegardError(
                f"minutes cannot be converted to epochs, as no variant could be measured: {why}",
                hint="correct that, or give the budget in --epochs (in Python: epochs=)",
            )
        return {name: known.get(name, min(known.values())) for name in names}
    epochs = math.ceil(plan.images / images) if isinstance(plan, Plan) and plan.images else plan.planned_epochs
    assert epochs is not None
    return dict.fromkeys(names, epochs)


def dry_run(plan: Plan, console: Console, *, processes: int | None = None) -> None:
    """Print what a study would take and could detect, after a short measurement of every variant; nothing is kept.

    Args:
        plan: of the study.
        console: where to print.
        processes: number of parallel runs; as many as memory and cores allow if None.

    Raises:
        RegardError: the plan, the data or a variant is wrong.
    """
    experiment = DetectorExperiment(plan)
    variants, seeds, splits = experiment.variants(), len(plan.seeds), experiment.images
    experiment.check_seeds()
    threads, hardware = shared_threads(len(variants), seeds, processes), hardware_here(plan.train)
    measured = probe(experiment, plan.seeds[0], threads, hardware)
    epochs, val_every = planned_epochs(plan, experiment, measured), plan.settings(0, 1).val_every
    slots = local_slots(measured.peak_mib, threads, processes, free_gpus(hardware.device))
    parallel, description = min(len(slots), len(variants) * seeds), experiment.description()
    seconds = {
        v.name: measured.run_seconds(v.name, epochs[v.name], splits["train"], splits["val"], val_every)
        for v in variants
    }
    console.print(_table(plan, variants, epochs, seconds), highlight=False)
    finished = sum(measured.run_mib.values()) * seeds
    most = 1.5 * finished + parallel * measured.open_mib  # each start is one copy of the last and the best weights
    controlled = {v.controls for v in variants}
    notes = description["controls"].items()
    print_lines(console, [f"no control of {name}: {note}" for name, note in notes if name not in controlled])
    print_lines(console, measured.failure_lines(), style="red")
    whole = duration(sum(seconds.values()) * seeds / parallel)
    print_lines(
        console,
        [
            f"time: about {whole} on this machine, {parallel} runs in parallel",
            f"disk: {most:,.0f} MiB at most, {finished:,.0f} MiB when all has finished",
            f"memory: {measured.peak_mib:,.0f} MiB per run",
            *power_lines(plan.mde, metric_name(plan.metric), seeds, plan.alpha, count_judged(variants)),
        ],
    )
    print_lines(console, description["data"]["overlap"], style="yellow")
    if not splits.get("test"):
        print_lines(console, ["the data have no test split: there will be no confirmation of the verdict on val"])


def _table(
    plan: Plan, variants: Sequence[Variant], epochs: Mapping[str, int], seconds: Mapping[str, float]
) -> PlainTable:
    """Tabulate what every variant is, and what a run of it takes."""
    runs = len(variants) * len(plan.seeds)
    title = f"{runs} runs: {len(variants)} variants, seeds {', '.join(map(str, plan.seeds))}"
    table = PlainTable(title=translate(title))
    for heading in ("variant", "role", "epochs", "time per run"):
        table.add_column(translate(heading), justify="left" if heading in ("variant", "role") else "right")
    for variant in variants:
        role = ": ".join(filter(None, (variant.role, variant.note)))
        table.add_row(
            variant.name, translate(role), str(epochs[variant.name]), translate(duration(seconds[variant.name]))
        )
    return table
