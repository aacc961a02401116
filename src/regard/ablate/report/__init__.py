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
from regard.system.files import atomic_write

PAGE = "report.html"


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
    study.folder.mkdir(parents=True, exist_ok=True)
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
        sections.append(_attention_section(extras.attention))
    gates = gate_section(study)
    return Document(
        title=study.question,
        summary=headline(study, results),
        details=_details(study, results),
        sections=[
            verdict_section(study, results, extras.intervals),
            *([_missing_section(missing.lines)] if missing.lines else []),
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
    finished = sum(run.status == "finished" for run in study.runs)
    return [
        f"decided on {metric_name(study.metric)} on val",
        *_epoch(study),
        *_level(study),
        _counted(len(study.seeds), "seed"),
        _counted(len(results.judgements), "variant"),
        f"{finished} of {len(study.runs)} runs finished",
        f"level {percent(study.alpha)} over all variants",
        f"smallest difference that matters {study.mde:g}",
        *(f"{name}: {edits}" for name, edits in _named(study)),
    ]


def _epoch(study: StudyRecord) -> list[str]:
    """That the weights were chosen on the split they were judged on, if they were."""
    return ["of each run's best epoch, chosen on val itself"] if study.plan.get("epoch") == "best" else []


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _level(study: StudyRecord) -> list[str]:
    """The level of the base, without which a difference says little; nothing before a run of it has finished."""
    values = [run.metrics.get(study.metric, math.nan) for run in study.finished(study.base.name).values()]
    known = [value for value in values if math.isfinite(value)]
    return [f"the base reaches {plain(sum(known) / len(known), 3)}"] if known else []


def _named(study: StudyRecord) -> list[tuple[str, str]]:
    """The variants that have a name of their own, each with its edits."""
    asked = [*study.plan.get("insert", ()), *study.plan.get("replace", ())]
    return [(name, edits) for name, edits in map(split_name, asked) if name]


def _missing_section(missing: Sequence[str]) -> Section:
    text = "These steps failed, each by itself. The verdict does not depend on them."
    return Section("Missing from this report", [Text(text), *(Text(line, "quiet") for line in missing)])


def _attention_section(attention: Sequence[tuple[str, bytes]]) -> Section:
    text = "What the variants attend to. A map shows a layer's attention weights, not why the detector decides."
    pictures = [Images(title, [Image(title, data)]) for title, data in attention]
    return Section("Attention maps", [Text(text), *pictures])
