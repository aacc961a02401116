"""What a study will take and could detect, before it starts: its runs, its time, its disk space, its power."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from regard.ablate.console import duration
from regard.ablate.detector import DetectorExperiment
from regard.ablate.folder import Variant
from regard.ablate.format import power_lines
from regard.ablate.hardware import free_gpus, hardware_here
from regard.ablate.local import local_slots
from regard.ablate.plan import Plan
from regard.ablate.probe import Probe, probe
from regard.ablate.setup import count_judged, planned_epochs, shared_threads


@dataclass(frozen=True)
class DryRun:
    """What can be known without running the study.

    Attributes:
        plan: the plan.
        variants: the base first.
        epochs: of each variant.
        notes: on the capacity controls, by variant.
        measured: what a run takes.
        seconds: of the whole study, with ``processes`` runs in parallel.
        processes: number of parallel runs on this machine.
        disk_mib: when all has finished, and the peak before that.
        splits: number of images of each split.
        overlap: sentences on images that are both trained on and measured on.
    """

    plan: Plan
    variants: tuple[Variant, ...]
    epochs: Mapping[str, int]
    notes: Mapping[str, str]
    measured: Probe
    seconds: float
    processes: int
    disk_mib: tuple[float, float]
    splits: Mapping[str, int]
    overlap: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print runs, time, disk and power."""
        plan, runs = self.plan, len(self.variants) * len(self.plan.seeds)
        table = Table(title=f"{runs} runs: {len(self.variants)} variants, seeds {', '.join(map(str, plan.seeds))}")
        for heading in ("variant", "role", "epochs", "time per run"):
            table.add_column(heading, justify="left" if heading in ("variant", "role") else "right")
        for variant in self.variants:
            role = f"{variant.role}: {variant.note}" if variant.note else variant.role
            table.add_row(variant.name, role, str(self.epochs[variant.name]), duration(self._run_seconds(variant.name)))
        yield table
        for name, note in self.notes.items():
            if f"control of {name}" not in {variant.name for variant in self.variants}:
                yield Text(f"no control of {name}: {note}")
        yield from (Text(line, "red") for line in self.measured.failure_lines())
        finished, most = self.disk_mib
        yield Text(f"time: about {duration(self.seconds)} on this machine, {self.processes} runs in parallel")
        yield Text(f"disk: {most:,.0f} MiB at most, {finished:,.0f} MiB when all has finished")
        yield Text(f"memory: {self.measured.peak_mib:,.0f} MiB per run")
        yield from map(
            Text, power_lines(plan.mde, plan.metric, len(plan.seeds), plan.alpha, count_judged(self.variants))
        )
        yield from (Text(line, "yellow") for line in self.overlap)
        if not self.splits.get("test"):
            yield Text("the data have no test split: there will be no confirmation of the verdict on val")

    def _run_seconds(self, name: str) -> float:
        val_every = self.plan.settings(0, 1).val_every
        return self.measured.run_seconds(name, self.epochs[name], self.splits["train"], self.splits["val"], val_every)

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=120, color_system=None)
        console.print(self)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue().rstrip("\n")


def dry_run(plan: Plan, *, processes: int | None = None) -> DryRun:
    """Find out what a study would take and could detect, by a short measurement of every variant; nothing is kept.

    Raises:
        RegardError: the plan, the data or a variant is wrong.
    """
    experiment = DetectorExperiment(plan)
    variants, seeds, splits = experiment.variants(), len(plan.seeds), experiment.images
    experiment.check_seeds()
    threads, hardware = shared_threads(len(variants), seeds, processes), hardware_here(plan.train)
    measured = probe(experiment, plan.seeds[0], threads, hardware)
    epochs = planned_epochs(plan, experiment, measured)
    slots = local_slots(measured.peak_mib, threads, processes, free_gpus(hardware.device))
    parallel = min(len(slots), len(variants) * seeds)
    val_every = plan.settings(0, 1).val_every
    seconds = sum(
        measured.run_seconds(v.name, epochs[v.name], splits["train"], splits["val"], val_every) for v in variants
    )
    kept = sum(measured.run_mib.values()) * seeds
    starts = sum(0.5 * size for size in measured.run_mib.values()) * seeds  # one copy of last and best
    description = experiment.description()
    return DryRun(
        plan=plan,
        variants=tuple(variants),
        epochs=epochs,
        notes=description["controls"],
        measured=measured,
        seconds=seconds * seeds / parallel,
        processes=parallel,
        disk_mib=(kept, kept + starts + parallel * measured.open_mib),
        splits=splits,
        overlap=description["data"]["overlap"],
    )
