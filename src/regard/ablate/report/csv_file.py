"""Every run of a study as a row of a CSV file, finished or not."""

from __future__ import annotations

import csv
import io
from statistics import median

from regard.ablate.record import RunRecord, StudyRecord

LAST = ("seconds", "peak_mib", "error")
"""Columns at the end."""


def to_csv(study: StudyRecord) -> str:
    """Return the table: variant, role, seed, status, metrics on val and test, AP by class, gates, costs and error.

    Metrics are of val; ``test/`` stands before those of test, ``cost/`` before what the variant costs, as in the
    report's table: one value for all of its seeds.
    """
    rows = [_row(study, run) for run in study.runs]
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in LAST]
    text = io.StringIO()
    table = csv.DictWriter(text, [*columns, *LAST], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _row(study: StudyRecord, run: RunRecord) -> dict[str, object]:
    role = next((variant.role for variant in study.variants if variant.name == run.variant), "")
    row: dict[str, object] = {"variant": run.variant, "role": role, "seed": run.seed, "status": run.status}
    row |= run.metrics
    row |= {f"test/{name}": value for name, value in study.test.get(run.variant, {}).get(run.seed, {}).items()}
    row |= {f"ap/{name}": value for name, value in run.per_class.items()}
    row |= {f"gate/{name}": value for name, value in run.gates.items()}
    if cost := study.costs.get(run.variant):
        row |= {"cost/parameters": cost.parameters, "cost/flops": cost.flops, "cost/peak_mib": cost.peak_mib}
        row["cost/latency_ms"] = median(cost.latency_ms) if cost.latency_ms else ""
    return row | {"seconds": run.seconds, "peak_mib": run.peak_mib, "error": run.error}
