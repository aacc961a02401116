"""How a study begins, or begins again: what is settled once, and what each run is told."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

from rich.console import Console

from regard.ablate.folder import FAILURE, FORMAT, JOB, Document, StudyFolder, is_over, places
from regard.ablate.hardware import Hardware
from regard.ablate.jobs import check_seeds, checksum, file_sums, run_settings, write_job
from regard.ablate.machine import usable_cores
from regard.ablate.overlap import overlap_lines
from regard.ablate.plan import Plan
from regard.ablate.probe import Probe, probe
from regard.ablate.variants import Entry, Lineup, count_variants
from regard.ablate.words import power_lines
from regard.config import describe
from regard.errors import RegardError, RegardWarning
from regard.training.folder import RunFolder, environment
from regard.training.run import describe_data

VERSIONS = ("regard", "torch")
"""Packages whose version decides what a run computes."""

NO_PROBE = "mend that, or give the budget in --epochs"


def begin_study(
    study: StudyFolder, lineup: Lineup, threads: int, hardware: Hardware, console: Console, *, measure: bool
) -> Document:
    """Settle all that shall not change while a study goes on, and write it.

    Args:
        study: where to.
        lineup: of the plan.
        threads: of each run.
        hardware: of all runs.
        console: where it is told.
        measure: whether to find out what a run takes; done in any case where minutes are the budget.

    Raises:
        RegardError: a variant cannot be built, or seeds do not differ.
    """
    plan, entries = lineup.plan, lineup.entries()
    seeds = check_seeds(lineup)
    for line in power_lines(plan.mde, plan.metric, len(plan.seeds), plan.alpha, count_variants(entries)):
        console.print(line, markup=False, highlight=False)
    overlap = overlap_lines(lineup.data)
    for line in overlap:
        console.print(line, markup=False, highlight=False)
    measured = None
    if measure or plan.minutes:
        console.print("measuring what a run takes ...", highlight=False)
        measured = probe(lineup, entries, threads, hardware)
        for line in measured.failure_lines():
            console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    epochs = planned_epochs(lineup, entries, measured)
    names = places([entry.name for entry in entries])
    for entry in entries:
        graph = lineup.start(entry, plan.seeds[0]).spec.to_yaml()
        RunFolder(study.path / "models").write(f"{names[entry.name]}.yaml", graph)
    document = {
        "format": FORMAT,
        "question": plan.question or f"Does it pay to change {plan.base} on {plan.data}?",
        "plan": describe(plan),
        "variants": [_described(entry, names[entry.name], epochs[entry.name]) for entry in entries],
        "threads": threads,
        "probe": measured.describe() if measured else None,
        "provenance": {
            "environment": environment(),
            "commands": [],
            "data": {**describe_data(lineup.data), "sha256": checksum(lineup.data), "overlap": overlap},
            "seeds": seeds,
            "controls": lineup.notes(entries),
            "threads": threads,
            "hardware": vars(hardware),
            "files": file_sums(plan),
        },
    }
    study.write(_commanded(document))
    return document


def _described(entry: Entry, place: str, epochs: int) -> Document:
    return {
        "name": entry.name,
        "role": entry.role,
        "controls": entry.controls,
        "note": entry.note,
        "place": place,
        "model": f"models/{place}.yaml",
        "epochs": epochs,
    }


def shared_threads(plan: Plan, processes: int | None) -> int:
    """Return the threads of each run where as many run at a time as there are cores, or as ``processes`` says."""
    cores, least = usable_cores(), len(plan.names) + 1
    return max(cores // min(processes or cores, least * len(plan.seeds), cores), 1)


def planned_epochs(lineup: Lineup, entries: Sequence[Entry], measured: Probe | None) -> dict[str, int]:
    """Return the epochs of every variant by the plan's budget.

    Raises:
        RegardError: minutes are the budget, and no variant could be measured.
    """
    plan, images = lineup.plan, len(lineup.data.splits["train"])
    if plan.minutes:
        assert measured is not None
        known = measured.epochs_in(plan.minutes, images)
        if not known:
            why = next(iter(measured.failure_lines()), "none was tried")
            raise RegardError(f"minutes cannot become epochs, as no variant could be measured: {why}", hint=NO_PROBE)
        return {entry.name: known.get(entry.name, min(known.values())) for entry in entries}
    epochs = math.ceil(plan.images / images) if plan.images else plan.planned_epochs
    assert epochs is not None
    return {entry.name: epochs for entry in entries}


def reopen_study(study: StudyFolder, lineup: Lineup, hardware: Hardware) -> Document:
    """Return the study in the folder, after a look whether it is this one.

    Args:
        study: where it is.
        lineup: of the plan.
        hardware: of all runs, for a study that has not settled it.

    Raises:
        RegardError: its plan, its data or a file that the plan names are others.
    """
    document = study.read()
    given = describe(lineup.plan)
    changed = [name for name in given if given[name] != document["plan"].get(name)]
    if changed:
        told = "; ".join(f"{name} was {document['plan'].get(name)!r} and is {given[name]!r}" for name in changed[:3])
        raise RegardError(
            f"another study is in this folder: {told}", file=study.path, hint="name another folder by --output"
        )
    if checksum(lineup.data) != document["provenance"]["data"]["sha256"]:
        raise RegardError("the data have changed since this study began", file=study.path)
    sums, known = file_sums(lineup.plan), document["provenance"].get("files", {})
    if others := [name for name in known if sums.get(name) != known[name]]:
        told = f"{', '.join(others)} {'has' if len(others) == 1 else 'have'} changed since this study began"
        raise RegardError(told, file=study.path, hint="put back what was there, or name another folder by --output")
    _compare_versions(document)
    document["provenance"].setdefault("hardware", vars(hardware))
    study.write(_commanded(document))
    return document


def _compare_versions(document: Document) -> None:
    """Warn where the runs to come would be computed by another version than those there."""
    before, now = document["provenance"]["environment"]["packages"], environment()["packages"]
    told = [f"{name} {before.get(name)}, now {now[name]}" for name in VERSIONS if before.get(name) != now[name]]
    if told:
        warnings.warn(
            f"this study began with {'; '.join(told)}: runs of one pair may differ by that", RegardWarning, stacklevel=4
        )


def _commanded(document: Document) -> Document:
    """Note the command that works on the study now."""
    here = environment()
    document["provenance"]["commands"].append({key: here[key] for key in ("started", "command")})
    return document


def entries_of(document: Document, lineup: Lineup) -> dict[str, Entry]:
    """Return the variants by name, in the study's order."""
    entries = {entry.name: entry for entry in lineup.entries()}
    return {known["name"]: entries[known["name"]] for known in document["variants"]}


def prepare_runs(
    study: StudyFolder, document: Document, lineup: Lineup, entries: Mapping[str, Entry], *, retry_failed: bool
) -> None:
    """Write the start and the job of every run that has none; seed by seed, as each has one base."""
    hardware = Hardware(**document["provenance"]["hardware"])
    for seed in document["plan"]["seeds"]:
        for known in document["variants"]:
            folder = study.run(known["place"], seed)
            if retry_failed and (folder / FAILURE).is_file():
                if document.get("test"):
                    raise RegardError(
                        "test has been looked at, so no run can be tried again", hint="start a study in another folder"
                    )
                (folder / FAILURE).unlink()
            if not is_over(folder) and not (folder / JOB).is_file():
                entry = entries[known["name"]]
                settings = run_settings(lineup.plan, entry, seed, known["epochs"], hardware)
                write_job(folder, lineup, entry, seed, settings)
