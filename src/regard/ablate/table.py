"""A study as it stands: one row a variant, one column a seed; for a live view, and from elsewhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from rich.table import Table
from rich.text import Text

from regard.ablate.folder import StudyFolder, read_study
from regard.ablate.record import RunRecord, StudyRecord
from regard.ablate.words import metric_name

STYLES: Mapping[str, str] = {"waiting": "dim", "running": "cyan", "finished": "", "failed": "red"}


class LiveStudy:
    """Prints as the table of a study, read anew from its folder each time.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __rich__(self) -> Table:
        return study_table(read_study(self.folder), epochs_of(self.folder))


def epochs_of(folder: Path) -> dict[str, int]:
    """Return the planned epochs of every variant."""
    return {entry["name"]: entry["epochs"] for entry in StudyFolder(folder).read()["variants"]}


def study_table(study: StudyRecord, epochs: Mapping[str, int]) -> Table:
    """Return all runs: epoch, metric so far and time left of those that run, the metric of those that have ended."""
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


def _cell(run: RunRecord, metric: str, epochs: int) -> Text:
    style = STYLES[run.status]
    if run.status == "finished":
        return Text(_number(run.metrics[metric]), style)
    if run.status == "failed":
        return Text("failed", style)
    if not run.curve:
        return Text("starting" if run.status == "running" else "-", style)
    measured = [row[f"val/{metric}"] for row in run.curve if not math.isnan(row.get(f"val/{metric}", math.nan))]
    parts = [f"{len(run.curve)}/{epochs}", _number(measured[-1]) if measured else ""]
    if run.status == "running":
        parts.append(duration((epochs - len(run.curve)) * _epoch_seconds(run)))
    return Text(" ".join(part for part in parts if part), style)


def _caption(study: StudyRecord, epochs: Mapping[str, int]) -> str:
    counts = Counter(run.status for run in study.runs)
    told = f"{counts['finished']} of {len(study.runs)} runs finished"
    told += "".join(f", {counts[status]} {status}" for status in ("running", "failed") if counts[status])
    left = seconds_left(study, epochs)
    return told + (f"; about {duration(left)} left" if left and counts["running"] else "")


def seconds_left(study: StudyRecord, epochs: Mapping[str, int]) -> float | None:
    """Return how long the runs that are left will take at the pace so far; None before there is any."""
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
    return mean(row["train_seconds"] + row["val_seconds"] for row in run.curve)


def duration(seconds: float) -> str:
    """Return a time in words: ``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
