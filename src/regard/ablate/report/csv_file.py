"""Every run of a study as a row of a CSV file, finished or not."""

from __future__ import annotations

import csv
import io

from regard.ablate.record import StudyRecord


def to_csv(study: StudyRecord) -> str:
    """Return the table: variant, role, seed, status, all metrics, AP of each class, gates, cost and error."""
    roles = {variant.name: variant.role for variant in study.variants}
    rows: list[dict[str, object]] = []
    for run in study.runs:
        row: dict[str, object] = {"variant": run.variant, "role": roles.get(run.variant, ""), "seed": run.seed}
        row |= {"status": run.status, **run.metrics}
        row |= {f"ap/{name}": value for name, value in run.per_class.items()}
        row |= {f"gate/{name}": value for name, value in run.gates.items()}
        rows.append(row | {"seconds": run.seconds, "peak_mib": run.peak_mib, "error": run.error})
    last = ("seconds", "peak_mib", "error")
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in last]
    text = io.StringIO()
    table = csv.DictWriter(text, [*columns, *last], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
