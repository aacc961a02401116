"""Every run in its row, those that failed first; the untouched test split; where all of it comes from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from regard.ablate.record import RunRecord, StudyRecord
from regard.ablate.report.document import Block, Cell, Folded, Section, Table, Text
from regard.ablate.words import metric_name, plain, signed


def run_section(study: StudyRecord) -> Section:
    """Return the failed runs, and all runs folded away."""
    failed = [run for run in study.runs if run.status == "failed"]
    finished = sum(run.status == "finished" for run in study.runs)
    open_runs = len(study.runs) - finished - len(failed)
    text = f"{finished} of {len(study.runs)} runs finished, {len(failed)} failed"
    blocks: list[Block] = [Text(text + (f", {open_runs} still to finish." if open_runs else "."))]
    if failed:
        whys: list[list[str | Cell]] = [[r.variant, str(r.seed), Cell(r.error or "unknown", "failed")] for r in failed]
        caption = "Failed runs: their pairs are missing above"
        blocks.append(Table(caption, ["variant", "seed", "why"], whys, frozenset({2})))
    headings = ["variant", "seed", "status", metric_name(study.metric), "AP50", "seconds", "peak MiB"]
    rows = [_row(run, study.metric) for run in study.runs]
    table = Table("All runs, measured on val", headings, rows, frozenset({2}))
    return Section("Runs", [*blocks, Folded("All runs", [table])])


def split_section(study: StudyRecord) -> Section:
    """Return what was measured on the test split, or that there is none."""
    if not study.test:
        text = (
            "No test split: no number of this report was measured on images that took no part in the decisions. "
            "Everything here was measured on val."
        )
        return Section("Test split", [Text(text)])
    metric, base = study.metric, study.test.get(study.base.name, {})
    rows = []
    for name, by_seed in study.test.items():
        values = [own.get(metric, math.nan) for own in by_seed.values()]
        paired = [by_seed[s].get(metric, math.nan) - base[s].get(metric, math.nan) for s in by_seed if s in base]
        rows.append([name, plain(_mean(values), 3), "" if base is by_seed else signed(_mean(paired)), str(len(values))])
    text = (
        "Evaluated once, after the verdicts were reached on val, and no part of them: a check of whether the "
        "differences are there on images that nothing was chosen by."
    )
    headings = ["variant", metric_name(metric), "mean paired difference", "seeds"]
    return Section("Test split", [Text(text), Table("On the test split, means over seeds", headings, rows)])


def provenance_section(study: StudyRecord) -> Section:
    """Return the plan, and where the numbers come from."""
    blocks: list[Block] = [Text(f"Seeds: {', '.join(map(str, study.seeds))}.")]
    for title, values in (("Plan", study.plan), ("Versions, hardware, git state, commands, data", study.provenance)):
        rows = [[name, value] for name, value in flat(values)]
        if rows:
            blocks.append(Folded(title, [Table(title, ["", "value"], rows, frozenset({1}))]))
    models = [[v.name, v.role, v.model.name] for v in study.variants]
    blocks.append(Folded("Models", [Table("Models, in the study's folder", ["variant", "role", "file"], models, _ALL)]))
    return Section("Provenance", blocks)


def flat(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested mappings as dotted names with their values as text."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)))
    return rows


_ALL = frozenset({1, 2})


def _row(run: RunRecord, metric: str) -> list[str | Cell]:
    is_good = run.status == "finished"
    status: str | Cell = run.status if is_good else Cell(run.status, "failed" if run.status == "failed" else "quiet")
    numbers = [plain(run.metrics.get(name, math.nan)) for name in (metric, "ap50")]
    spent = [f"{run.seconds:.0f}", f"{run.peak_mib:.0f}"] if is_good else ["–", "–"]
    return [run.variant, str(run.seed), status, *numbers, *spent]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
