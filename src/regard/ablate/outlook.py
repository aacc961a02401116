"""What a study will be, before it starts: its runs, its time, its room on disk, and what it could see."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from regard.ablate.begin import planned_epochs, shared_threads
from regard.ablate.execute import local_slots
from regard.ablate.hardware import hardware_here
from regard.ablate.jobs import check_seeds
from regard.ablate.overlap import overlap_lines
from regard.ablate.plan import Plan
from regard.ablate.probe import Probe, probe
from regard.ablate.study import free_gpus
from regard.ablate.table import duration
from regard.ablate.variants import Entry, Lineup, count_variants
from regard.ablate.words import power_lines


@dataclass(frozen=True)
class DryRun:
    """What was found out without running the study.

    Attributes:
        plan: the plan.
        entries: the variants, the base first.
        epochs: of each variant.
        notes: on the capacity controls, by variant.
        measured: what a run takes.
        seconds: of the whole study, with ``processes`` runs at a time.
        processes: runs at a time on this machine.
        disk_mib: when all has finished, and most before that.
        splits: images of each split.
        overlap: sentences on images that are both trained on and measured on.
    """

    plan: Plan
    entries: tuple[Entry, ...]
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
        plan, runs = self.plan, len(self.entries) * len(self.plan.seeds)
        table = Table(title=f"{runs} runs: {len(self.entries)} variants, seeds {', '.join(map(str, plan.seeds))}")
        for heading in ("variant", "what it is", "epochs", "a run"):
            table.add_column(heading, justify="left" if heading in ("variant", "what it is") else "right")
        for entry in self.entries:
            role = f"{entry.role}: {entry.note}" if entry.note else entry.role
            table.add_row(entry.name, role, str(self.epochs[entry.name]), duration(self._run_seconds(entry.name)))
        yield table
        for name, note in self.notes.items():
            if f"control of {name}" not in {entry.name for entry in self.entries}:
                yield Text(f"no control of {name}: {note}")
        yield from (Text(line, "red") for line in self.measured.failure_lines())
        finished, most = self.disk_mib
        yield Text(f"time: about {duration(self.seconds)} on this machine, {self.processes} runs at a time")
        yield Text(f"disk: {most:,.0f} MiB at most, {finished:,.0f} MiB when all has finished")
        yield Text(f"memory: {self.measured.peak_mib:,.0f} MiB a run")
        yield from map(
            Text, power_lines(plan.mde, plan.metric, len(plan.seeds), plan.alpha, count_variants(self.entries))
        )
        yield from (Text(line, "yellow") for line in self.overlap)
        if not self.splits.get("test"):
            yield Text("the data have no test split: the verdict on val will be all there is")

    def _run_seconds(self, name: str) -> float:
        val_every = self.plan.settings(0, 1).val_every
        return self.measured.run_seconds(name, self.epochs[name], self.splits["train"], self.splits["val"], val_every)

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=120, color_system=None)
        console.print(self)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue().rstrip("\n")


def dry_run(plan: Plan, *, processes: int | None = None) -> DryRun:
    """Return what a study would be, after a short measurement of every variant; nothing is kept.

    Raises:
        RegardError: the plan, the data or a variant is wrong.
    """
    lineup = Lineup(plan)
    entries = lineup.entries()
    check_seeds(lineup)
    runs = len(entries) * len(plan.seeds)
    threads = shared_threads(plan, processes)
    hardware = hardware_here(plan.train)
    measured = probe(lineup, entries, threads, hardware)
    epochs = planned_epochs(lineup, entries, measured)
    splits = {name: len(records) for name, records in lineup.data.splits.items()}
    at_a_time = min(len(local_slots(measured.peak_mib, threads, processes, free_gpus(hardware.device))), runs)
    seconds = sum(
        measured.run_seconds(
            entry.name, epochs[entry.name], splits["train"], splits["val"], plan.settings(0, 1).val_every
        )
        for entry in entries
    )
    kept = sum(measured.run_mib.values()) * len(plan.seeds)
    starts = sum(0.5 * size for size in measured.run_mib.values()) * len(plan.seeds)  # one copy of last and best
    return DryRun(
        plan=plan,
        entries=tuple(entries),
        epochs=epochs,
        notes=lineup.notes(entries),
        measured=measured,
        seconds=seconds * len(plan.seeds) / at_a_time,
        processes=at_a_time,
        disk_mib=(kept, kept + starts + at_a_time * measured.open_mib),
        splits=splits,
        overlap=overlap_lines(lineup.data),
    )
