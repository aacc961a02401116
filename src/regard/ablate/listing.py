"""The studies below a folder, as far as their files show, while they go on and afterwards."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from regard.ablate.folder import PAGE, STUDY, Status, StudyRecord, is_over, read_study
from regard.ablate.format import epochs_of, headline, metric_so_far, seconds_left, sentences
from regard.ablate.power_text import needed_line
from regard.ablate.report import forest_rows
from regard.ablate.report.figures import DARK, LIGHT, standing_alone
from regard.ablate.report.forest_plot import forest
from regard.ablate.schema import metric_name
from regard.ablate.verdict import Verdict, analyse
from regard.errors import RegardError
from regard.system.locks import LOCK, is_held
from regard.training.history import LOG, State, fault_in, is_own, modified, read_log, walk

PLAN = "plan.yaml"
"""The plan of a study that was not started in a terminal, in its folder."""

MOST_STUDIES = 50
"""Number of studies that are listed."""


@dataclass(frozen=True)
class SeedRun:
    """One run of a study: its variant and seed, its progress in epochs, and the metric so far, None before any."""

    variant: str
    seed: int
    status: Status
    epoch: int
    epochs: int
    value: float | None
    error: str


@dataclass(frozen=True)
class StudyInfo:
    """A study.

    Attributes:
        name: its folder, relative to that which was searched.
        state: ``stopped`` if no process works on it and runs, or its report, are missing; ``failed`` if its output
            shows why.
        question: that it answers, in words.
        metric: name of the metric that decides.
        runs: variant by variant within a seed; empty while it is set up.
        seconds: estimated time left; None if unknown.
        log: the end of its output, if that was kept.
        fault: why its files cannot be read, or the error with which it ended; "" if there is none.
    """

    name: str
    state: State
    question: str = ""
    metric: str = ""
    runs: tuple[SeedRun, ...] = ()
    seconds: float | None = None
    log: str = ""
    fault: str = ""


@dataclass(frozen=True)
class StudyVerdict:
    """What a study shows so far: a headline, a sentence per result, and what else is needed; "" if nothing is."""

    headline: str
    sentences: tuple[str, ...]
    needed: str


def studies_below(folder: Path) -> list[StudyInfo]:
    """List the studies in a folder and below it, the latest first; links are not followed.

    Example:
        >>> studies_below(Path("no-such-folder"))
        []
    """
    found: list[Path] = []
    for place, folders, files in walk(folder):
        mark = next((name for name in (STUDY, PLAN) if name in files and is_own(place / name)), None)
        if mark:
            found.append(place / mark)
            folders.clear()
    found.sort(key=lambda path: -modified(path))
    return [info_of(path.parent, folder) for path in found[:MOST_STUDIES]]


def info_of(path: Path, folder: Path) -> StudyInfo:
    """Read what is known of the study in ``path``, whose name is relative to ``folder``."""
    name, log, running = path.relative_to(folder).as_posix(), read_log(path / LOG), is_held(path / LOCK)
    fault = "" if running else fault_in(log)
    unfinished: State = "running" if running else "failed" if fault else "stopped"
    if not (path / STUDY).is_file():
        return StudyInfo(name, unfinished, log=log, fault=fault)
    try:
        study, epochs = read_own_study(path), epochs_of(path)
        runs = tuple(
            SeedRun(
                variant=run.variant,
                seed=run.seed,
                status=run.status,
                epoch=len(run.curve),
                epochs=epochs[run.variant],
                value=metric_so_far(run, study.metric),
                error=run.error,
            )
            for run in study.runs
        )
        over = (path / PAGE).is_file() and all(is_over(run.folder) for run in study.runs)
        state: State = "finished" if over and not running else unfinished
        left = seconds_left(study, epochs) if running else None
        fault = fault if state == "failed" else ""
        return StudyInfo(name, state, study.question, metric_name(study.metric), runs, left, log, fault)
    except RegardError as error:
        return StudyInfo(name, "stopped", log=log, fault=error.what)


def read_own_study(path: Path) -> StudyRecord:
    """Read a study in whose folder nothing leads elsewhere: messages may quote what is read.

    Raises:
        RegardError: there is a link in the folder, or no study, or a damaged one.
    """
    for place, folders, files in os.walk(path):
        if link := next((name for name in (*folders, *files) if Path(place, name).is_symlink()), None):
            raise RegardError("there is a link in the study's folder", file=Path(place, link))
    return read_study(path)


def verdict_so_far(study: StudyRecord) -> StudyVerdict:
    """State what the finished runs of a study show, in the words of its report."""
    results = analyse(study)
    undecided = any(judgement.verdict is Verdict.CANT_TELL for judgement in results.judgements.values())
    needed = needed_line(study, results.power) if undecided else ""
    return StudyVerdict(headline(study, results), tuple(sentences(study, results)), needed)


def forest_svg(study: StudyRecord, *, wide: bool, dark: bool) -> str:
    """Draw the forest plot of a study as an SVG file of its own; "" if there is nothing to draw.

    Args:
        study: finished or not.
        wide: put names and numbers next to the intervals, rather than above them.
        dark: take the colours for a dark ground.
    """
    rows = forest_rows(study, analyse(study))
    if not rows:
        return ""
    return standing_alone(
        forest(rows, study.mde, f"difference in {metric_name(study.metric)} from the base", wide=wide),
        DARK if dark else LIGHT,
    )
