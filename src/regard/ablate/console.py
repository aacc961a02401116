"""A study in the terminal: a table with a row per variant and a column per seed, and the verdict at the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from regard.ablate.folder import FAILURE, RESULT, RunRecord, StudyFolder, StudyRecord, numbers, read_json, read_study
from regard.ablate.format import metric_name, needed_line, sentences
from regard.ablate.report import PAGE
from regard.ablate.verdict import Verdict, analyse

STYLES: Mapping[str, str] = {"waiting": "dim", "running": "cyan", "finished": "", "failed": "red"}
VIEWS_PER_SECOND = 1


@contextmanager
def progress(folder: Path, console: Console, metric: str) -> Iterator[Callable[[Path], None]]:
    """Show a live table in a terminal, which disappears at the end; elsewhere print a line for each run that ends."""
    if console.is_terminal:

        def table() -> Table:
            return study_table(read_study(folder), epochs_of(folder))

        with Live(get_renderable=table, console=console, refresh_per_second=VIEWS_PER_SECOND, transient=True):
            yield lambda _: None
        return

    def show(run: Path) -> None:
        if (run / FAILURE).is_file():
            outcome = f"failed: {read_json(run / FAILURE)['error']}"
        else:
            outcome = f"{metric_name(metric)} {numbers(read_json(run / RESULT)['metrics'])[metric]:.3f}"
        print_lines(console, [f"{run.parent.name} {run.name}: {outcome}"], wrap=False)

    yield show


def print_lines(console: Console, lines: list[str], *, wrap: bool = True, style: str | None = None) -> None:
    """Print text as it is, without markup or highlighting."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=not wrap, style=style)


def print_verdict(study: StudyRecord, console: Console) -> None:
    """Print one sentence per result, the number of seeds still needed, and the path of the report."""
    results = analyse(study)
    lines = sentences(study, results)
    if any(judgement.verdict is Verdict.CANT_TELL for judgement in results.judgements.values()):
        lines.append(needed_line(study, results.power))
    print_lines(console, lines)
    print_lines(console, [f"report: {study.folder / PAGE}"], wrap=False)


def epochs_of(folder: Path) -> dict[str, int]:
    """Planned epochs of every variant."""
    return {entry["name"]: entry["epochs"] for entry in StudyFolder(folder).read()["variants"]}


def study_table(study: StudyRecord, epochs: Mapping[str, int]) -> Table:
    """Tabulate all runs: epoch, metric so far and time left while they run, the metric when they have ended."""
    table = Table(title=f"{metric_name(study.metric)} on val", caption=_caption(study, epochs), caption_justify="left")
    table.add_column("variant")
    for seed in study.seeds:
        table.add_column(f"seed {seed}", justify="right")
    table.add_column("mean", justify="right")
    for variant in study.variants:
        runs = {run.seed: run for run in study.runs if run.variant == variant.name}
        cells = [_cell(runs[seed], study.metric, epochs[variant.name]) for seed in study.seeds]
        ended = [run.metrics[study.metric] for run in runs.values() if run.status == "finished"]
        table.add_row(variant.name, *cells, _number(mean(ended)) if ended else "")
    return table


def metric_so_far(run: RunRecord, metric: str) -> float | None:
    """Metric of a finished run, else of its last evaluation on val; None if there is no number."""
    values = (
        [run.metrics.get(metric, math.nan)]
        if run.metrics
        else [row.get(f"val/{metric}", math.nan) for row in run.curve]
    )
    known = [value for value in values if math.isfinite(value)]
    return known[-1] if known else None


def _cell(run: RunRecord, metric: str, epochs: int) -> Text:
    style = STYLES[run.status]
    if run.status == "finished":
        return Text(_number(run.metrics[metric]), style)
    if run.status == "failed":
        return Text("failed", style)
    if not run.curve:
        return Text("starting" if run.status == "running" else "-", style)
    measured = metric_so_far(run, metric)
    parts = [f"{len(run.curve)}/{epochs}", "" if measured is None else _number(measured)]
    if run.status == "running":
        parts.append(duration((epochs - len(run.curve)) * _epoch_seconds(run)))
    return Text(" ".join(part for part in parts if part), style)


def _caption(study: StudyRecord, epochs: Mapping[str, int]) -> str:
    counts = Counter(run.status for run in study.runs)
    caption = f"{counts['finished']} of {len(study.runs)} runs finished"
    caption += "".join(f", {counts[status]} {status}" for status in ("running", "failed") if counts[status])
    left = seconds_left(study, epochs)
    return caption + (f"; about {duration(left)} left" if left and counts["running"] else "")


def seconds_left(study: StudyRecord, epochs: Mapping[str, int]) -> float | None:
    """Estimate how long the remaining runs take at the pace so far; None before there is any."""
    known = [_epoch_seconds(run) for run in study.runs if run.curve]
    if not known:
        return None
    own = {v.name: [_epoch_seconds(r) for r in study.runs if r.variant == v.name and r.curve] for v in study.variants}
    left = sum(
        (epochs[run.variant] - len(run.curve)) * mean(own[run.variant] or known)
        for run in study.runs
        if run.status in ("waiting", "running")
    )
    return left / max(sum(run.status == "running" for run in study.runs), 1)


def _epoch_seconds(run: RunRecord) -> float:
    return mean(row.get("train_seconds", 0.0) + row.get("val_seconds", 0.0) for row in run.curve)


def duration(seconds: float) -> str:
    """Format a time: ``45 s``, ``12 min``, ``3 h 05 min``.

    Example:
        >>> duration(3700)
        '1 h 02 min'
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
