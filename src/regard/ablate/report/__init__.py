"""The report of a study: a page that needs nothing but itself, Markdown with its figures, and a table of all runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regard.ablate.folder import StudyRecord
from regard.ablate.format import headline, metric_name, percent, plain
from regard.ablate.plan import split_name
from regard.ablate.report.document import Document, Image, Images, Section, Text, figure_files, to_html, to_markdown
from regard.ablate.report.images import changed_section
from regard.ablate.report.sections import method_section, power_section, verdict_section
from regard.ablate.report.tables import (
    breakdown_section,
    cost_section,
    curve_section,
    gate_section,
    provenance_section,
    run_section,
    split_section,
    to_csv,
)
from regard.ablate.trainable import Missing
from regard.ablate.verdict import Results, analyse
from regard.data.dataset import Sample
from regard.system.files import atomic_write, make_folder

PAGE = "report.html"
FAILED = "These steps failed, each by itself. The verdict does not depend on them."
ATTENTION = "What the variants attend to. A map shows a layer's attention weights, not why the detector decides."


@dataclass(frozen=True)
class Extras:
    """What a report shows in addition to the record, if it is available.

    Attributes:
        samples: the val images; without them no image that changed is shown.
        names: class names.
        intervals: image bootstrap interval of each variant's difference.
        attention: attention maps, each a title and a PNG file.
        missing: what could not be measured or drawn, and why.
    """

    samples: Sequence[Sample] = ()
    names: Sequence[str] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    attention: Sequence[tuple[str, bytes]] = ()
    missing: Sequence[str] = ()


def write_report(study: StudyRecord, extras: Extras | None = None) -> Path:
    """Write ``report.html``, ``report.md`` with its figures, and ``results.csv`` into the study's folder.

    Args:
        study: finished or not; the report covers the finished runs.
        extras: what it shows in addition.

    Returns:
        The path of ``report.html``.

    Raises:
        RegardError: the folder cannot be written to.
    """
    document = build(study, extras or Extras())
    make_folder(study.folder)
    files = {"results.csv": to_csv(study), **figure_files(document)}
    files |= {"report.md": to_markdown(document), PAGE: to_html(document)}
    for name, text in files.items():
        with atomic_write(study.folder / name) as file:
            file.write(text.encode())
    return study.folder / PAGE


def build(study: StudyRecord, extras: Extras) -> Document:
    """Compose the report, before it becomes a page or Markdown."""
    results, missing, sections = analyse(study), Missing(extras.missing), []
    if extras.samples:
        with missing.unless_done("images that changed most"):
            sections.append(changed_section(study, extras.samples, extras.names))
    if extras.attention:
        sections.append(
            Section(
                "Attention maps",
                [Text(ATTENTION), *(Images(title, [Image(title, data)]) for title, data in extras.attention)],
            )
        )
    gates, lacking = gate_section(study), [Text(line, "quiet") for line in missing.lines]
    return Document(
        title=study.question,
        summary=headline(study, results),
        details=_details(study, results),
        sections=[
            verdict_section(study, results, extras.intervals),
            *([Section("Missing from this report", [Text(FAILED), *lacking])] if lacking else []),
            power_section(study, results),
            cost_section(study),
            curve_section(study),
            breakdown_section(study),
            *sections,
            *([gates] if gates else []),
            split_section(study),
            run_section(study),
            method_section(study),
            provenance_section(study),
        ],
    )


def _details(study: StudyRecord, results: Results) -> list[str]:
    """Short facts under the summary; the level of the base, without which a difference means little, is one."""
    values = [run.metrics.get(study.metric, math.nan) for run in study.finished(study.base.name).values()]
    known = [value for value in values if math.isfinite(value)]
    seeds, variants = len(study.seeds), len(results.judgements)
    edits = map(split_name, [*study.plan.get("insert", ()), *study.plan.get("replace", ())])
    details = {
        f"decided on {metric_name(study.metric)} on val": True,
        "of each run's best epoch, chosen on val itself": study.plan.get("epoch") == "best",
        f"the base reaches {plain(sum(known) / max(len(known), 1), 3)}": bool(known),
        f"{seeds} seed{'s' * (seeds != 1)}": True,
        f"{variants} variant{'s' * (variants != 1)}": True,
        f"{sum(run.status == 'finished' for run in study.runs)} of {len(study.runs)} runs finished": True,
        f"level {percent(study.alpha)} over all variants": True,
        f"smallest difference that matters {study.mde:g}": True,
    }
    return [*(text for text, applies in details.items() if applies), *(f"{n}: {e}" for n, e in edits if n)]
