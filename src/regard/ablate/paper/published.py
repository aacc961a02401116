"""Studies that were published without their runs: their results are in the table next to the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from regard.ablate.folder import RunRecord, StudyRecord
from regard.errors import RegardError
from regard.system.files import is_file
from regard.system.loaders import parse_csv, read_text
from regard.system.terminal import table_text

TABLE = "results.csv"


def with_results(study: StudyRecord) -> StudyRecord:
    """Take the runs from the study's ``results.csv`` where their folders are missing.

    Raises:
        RegardError: no run has finished, or the table is damaged.
    """
    if all(run.status == "waiting" and not run.folder.exists() for run in study.runs) and is_file(study.folder / TABLE):
        rows = _rows(study)
        study = replace(
            study, runs=[_run(run, rows.get((table_text(run.variant), run.seed), {})) for run in study.runs]
        )
    if not any(run.status == "finished" for run in study.runs):
        raise RegardError(
            "no run of this study has finished", file=study.folder, expected="its runs, or its results.csv"
        )
    return study


def _rows(study: StudyRecord) -> dict[tuple[str, int], dict[str, str]]:
    file = study.folder / TABLE
    head, *lines = parse_csv(read_text(file), file) or [[]]
    found = [dict(zip(head, line, strict=False)) for line in lines]
    if not {"variant", "seed", "status", study.metric} <= {*head}:
        raise RegardError("damaged", file=file, expected=f"columns variant, seed, status and {study.metric}")
    return {(row["variant"], int(row["seed"])): row for row in found if row.get("seed", "").isdecimal()}


def _run(run: RunRecord, row: Mapping[str, str]) -> RunRecord:
    match row.get("status"):
        case "failed":
            return replace(run, status="failed", error=row.get("error", ""))
        case "finished":
            metrics = {name: float(text) for name, text in row.items() if _is_metric(name) and _is_number(text)}
            return replace(run, status="finished", metrics=metrics)
        case _:
            return run


def _is_metric(name: str) -> bool:
    return "/" not in name and name not in ("variant", "role", "seed", "status", "seconds", "peak_mib", "error")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
