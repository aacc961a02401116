"""Setting up a study, or opening it again: what is determined once, and the start and the job of each run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from regard.ablate.folder import (
    FAILURE,
    FORMAT,
    JOB,
    PAGE,
    STUDY,
    Document,
    StudyFolder,
    Variant,
    folder_names,
    is_over,
    read_json,
)
from regard.ablate.format import print_lines, question
from regard.ablate.hardware import Hardware
from regard.ablate.plan import StudySettings
from regard.ablate.power_analysis import count_judged, planned_epochs, probe
from regard.ablate.power_text import power_lines
from regard.ablate.schema import ContinuedStudy, check, metric_name
from regard.ablate.trainable import Budget, Experiment, Job, describe_job, digest_of, write_run
from regard.config import describe
from regard.errors import RegardError, warn
from regard.system.files import is_file, reject_links, reject_other
from regard.system.translation import translate
from regard.training.folder import RunFolder, environment

REPORT = (PAGE, "report.md", "results.csv", "forest.svg", "pareto.svg", "curves.svg")
"""Files of a report; some have more figures."""

_HINT = "name another folder"

VERSIONS = ("regard", "torch")
"""Packages whose version decides what a run computes."""


def create_study(
    study: StudyFolder,
    plan: StudySettings,
    experiment: Experiment,
    threads: int,
    hardware: Hardware,
    console: Console,
    *,
    measure: bool,
) -> Document:
    """Determine everything that must not change during a study, and write it.

    Args:
        study: the folder.
        plan: the settings.
        experiment: what is compared.
        threads: number of threads of each run.
        hardware: of all runs.
        console: for the power and what is measured.
        measure: measure briefly what a run takes; always done if minutes are the budget.

    Raises:
        RegardError: a variant cannot be built, seeds do not differ, or a file in the folder would be replaced.
    """
    _reject_taken(study, experiment)
    variants = list(experiment.variants())
    provenance = _provenance(experiment, threads, hardware)
    print_lines(
        console, power_lines(plan.mde, metric_name(plan.metric), len(plan.seeds), plan.alpha, count_judged(variants))
    )
    print_lines(console, provenance["data"]["overlap"])
    measured = None
    if experiment.probe_limit and (measure or getattr(plan, "minutes", None)):
        console.print(translate("measuring what a run takes ..."), highlight=False)
        measured = probe(experiment, plan.seeds[0], threads, hardware)
        print_lines(console, measured.failure_lines(), wrap=False, style="red")
    epochs = planned_epochs(plan, experiment, measured)
    names = _write_models(study, experiment)
    document = {
        "format": FORMAT,
        "question": plan.question or question(plan, variants),
        "plan": describe(plan),
        "variants": [_described(variant, names[variant.name], epochs[variant.name]) for variant in variants],
        "threads": threads,
        "probe": measured.describe() if measured else None,
        "provenance": provenance,
    }
    study.write(_with_command(document))
    return document


def _reject_taken(study: StudyFolder, experiment: Experiment) -> None:
    """Check that a new study replaces neither runs nor a report."""
    places = folder_names([variant.name for variant in experiment.variants()]).values()
    for name in (*REPORT, *(f"runs/{place}" for place in places)):
        reject_other(study.path / name, hint=_HINT)


def _write_models(study: StudyFolder, experiment: Experiment) -> dict[str, str]:
    """Write the graph of every variant, and give the name of its folder by its own name."""
    names = folder_names([variant.name for variant in experiment.variants()])
    for variant in experiment.variants():
        if text := experiment.model_file(variant):
            file = study.path / "models" / f"{names[variant.name]}.yaml"
            reject_other(file, content=text.encode(), hint=_HINT)  # a study that was interrupted here left the same
            RunFolder(study.path / "models").write(f"{names[variant.name]}.yaml", text)
    return names


def _provenance(experiment: Experiment, threads: int, hardware: Hardware) -> Document:
    seeds, description = experiment.check_seeds(), experiment.description()
    return {
        "environment": environment(),
        "commands": [],
        "data": description["data"],
        "seeds": seeds,
        "controls": description["controls"],
        "threads": threads,
        "hardware": vars(hardware),
        "files": description["files"],
    }


def _described(variant: Variant, place: str, epochs: int) -> Document:
    return {
        "name": variant.name,
        "role": variant.role,
        "controls": variant.controls,
        "note": variant.note,
        "place": place,
        "model": f"models/{place}.yaml",
        "epochs": epochs,
    }


def open_study(study: StudyFolder, plan: StudySettings, experiment: Experiment, hardware: Hardware) -> Document:
    """Read the study in the folder, after checking that it is this one.

    Args:
        study: the folder.
        plan: the settings.
        experiment: what is compared.
        hardware: of all runs, for a study whose file does not contain it.

    Raises:
        RegardError: its plan, its data or a file that the plan names has changed.
    """
    document = study.read()
    check(document, ContinuedStudy, study.path / STUDY)
    given = describe(plan)
    changed = [name for name in given if given[name] != document["plan"].get(name)]
    if changed:
        values = "; ".join(f"{name} was {document['plan'].get(name)!r} and is {given[name]!r}" for name in changed[:3])
        raise RegardError(
            f"another study is in this folder: {values}",
            file=study.path,
            hint="name another folder with --output (in Python: output=)",
        )
    description, provenance = experiment.description(), document["provenance"]
    if description["data"]["sha256"] != provenance["data"]["sha256"]:
        raise RegardError("the data have changed since this study began", file=study.path)
    sums = description["files"]
    known = provenance.get("files", sums)
    if others := sorted(name for name in {**sums, **known} if sums.get(name) != known.get(name)):
        raise RegardError(
            f"{', '.join(others)} {'has' if len(others) == 1 else 'have'} changed since this study began",
            file=study.path,
            hint="restore what was there, or name another folder with --output (in Python: output=)",
        )
    _compare_versions(document)
    provenance.setdefault("hardware", vars(hardware))
    study.write(_with_command(document))
    return document


def _compare_versions(document: Document) -> None:
    """Warn if the remaining runs would be computed by other versions than the finished ones."""
    before, now = document["provenance"]["environment"]["packages"], environment()["packages"]
    changed = [f"{name} {before.get(name)}, now {now[name]}" for name in VERSIONS if before.get(name) != now[name]]
    if changed:
        message = f"this study began with {'; '.join(changed)}: runs of one pair may differ because of that"
        warn(message)


def _with_command(document: Document) -> Document:
    """Add the command that works on the study now."""
    here = environment()
    document["provenance"]["commands"].append({key: here[key] for key in ("started", "command")})
    return document


def prepare_runs(study: StudyFolder, document: Document, experiment: Experiment, *, retry_failed: bool) -> list[Job]:
    """Write the start and the job of every run that has none; seed by seed, as each seed has one base.

    Returns:
        The runs that have not ended.

    Raises:
        RegardError: a failed run is to be tried again after anything was measured on test, or there are links in the
            folder.
    """
    jobs = []
    variants: Mapping[str, Variant] = {variant.name: variant for variant in experiment.variants()}
    try:
        hardware = Hardware(**document["provenance"]["hardware"])
        missing = next((entry["name"] for entry in document["variants"] if entry["name"] not in variants), None)
    except (TypeError, LookupError) as error:
        raise RegardError(f"damaged: hardware: {error}", file=study.path / STUDY) from error
    if missing is not None:
        raise RegardError(f"damaged: the plan has no variant {missing!r}", file=study.path / STUDY)
    for seed in document["plan"]["seeds"]:
        for known in document["variants"]:
            folder = study.run(known["place"], seed)
            reject_links(folder)
            if retry_failed and (folder / FAILURE).is_file():
                if document.get("test"):
                    raise RegardError(
                        "test has been measured, so no run can be tried again", hint="start a study in another folder"
                    )
                (folder / FAILURE).unlink()
            run = (experiment, variants[known["name"]], seed, Budget(known["epochs"]), hardware)
            job = describe_job(*run)
            if not is_file(folder / JOB) and not is_over(folder):
                write_run(folder, *run)
            elif json.loads(json.dumps(job)) != _found(folder / JOB):
                # A job names modules, which are programs: that of this study counts, not what the file says.
                RunFolder(folder).write_json(JOB, job)
            if not is_over(folder):
                jobs.append(Job(folder, digest_of(job)))
    return jobs


def _found(file: Path) -> Document | None:
    try:
        return read_json(file)
    except RegardError:
        return None
