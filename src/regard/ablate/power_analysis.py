"""What a study will take and could detect, before it starts: its runs, its time, its disk space, its power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from regard.ablate.console import duration, print_lines
from regard.ablate.detector import DetectorExperiment
from regard.ablate.folder import Variant
from regard.ablate.format import power_lines
from regard.ablate.hardware import free_gpus, hardware_here
from regard.ablate.local import local_slots
from regard.ablate.plan import Plan
from regard.ablate.probe import probe
from regard.ablate.setup import count_judged, planned_epochs, shared_threads


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
            *power_lines(plan.mde, plan.metric, seeds, plan.alpha, count_judged(variants)),
        ],
    )
    print_lines(console, description["data"]["overlap"], style="yellow")
    if not splits.get("test"):
        console.print("the data have no test split: there will be no confirmation of the verdict on val")


def _table(plan: Plan, variants: Sequence[Variant], epochs: Mapping[str, int], seconds: Mapping[str, float]) -> Table:
    """Tabulate what every variant is, and what a run of it takes."""
    runs = len(variants) * len(plan.seeds)
    table = Table(title=f"{runs} runs: {len(variants)} variants, seeds {', '.join(map(str, plan.seeds))}")
    for heading in ("variant", "role", "epochs", "time per run"):
        table.add_column(heading, justify="left" if heading in ("variant", "role") else "right")
    for variant in variants:
        role = f"{variant.role}: {variant.note}" if variant.note else variant.role
        table.add_row(variant.name, role, str(epochs[variant.name]), duration(seconds[variant.name]))
    return table
