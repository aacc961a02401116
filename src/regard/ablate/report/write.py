"""From a study's record to its report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regard.ablate.findings import Findings, analyse
from regard.ablate.found import image_intervals
from regard.ablate.gaps import Gaps
from regard.ablate.notation import split_name
from regard.ablate.record import StudyRecord
from regard.ablate.report.breakdown import breakdown_section, curve_section, gate_section
from regard.ablate.report.changed import changed_section
from regard.ablate.report.costs import cost_section
from regard.ablate.report.csv_file import to_csv
from regard.ablate.report.document import Document, Picture, Pictures, Section, Text
from regard.ablate.report.markdown import chart_files, to_markdown
from regard.ablate.report.page import to_html
from regard.ablate.report.runs import provenance_section, run_section, split_section
from regard.ablate.report.verdicts import method_section, power_section, verdict_section
from regard.ablate.words import headline, metric_name, percent, plain
from regard.data.dataset import Sample
from regard.replacing import replacing

PAGE = "report.html"


@dataclass(frozen=True)
class Extras:
    """What a report shows beyond the record, where it is at hand.

    Attributes:
        records: the val images; without them there is no interval over images and no image that changed.
        names: class names.
        attention: pictures of attention maps, each a title and a PNG file.
        missing: what could not be measured or drawn, and why.
    """

    records: Sequence[Sample] = ()
    names: Sequence[str] = ()
    attention: Sequence[tuple[str, bytes]] = ()
    missing: Sequence[str] = ()


def write_report(study: StudyRecord, extras: Extras | None = None) -> Path:
    """Write ``report.html``, ``report.md`` with its charts, and ``results.csv`` into the study's folder.

    Args:
        study: finished or not; the report is of the runs that are.
        extras: what it shows beyond the record.

    Returns:
        The path of ``report.html``.

    Raises:
        RegardError: the folder cannot be written to.
    """
    document = build(study, extras or Extras())
    study.folder.mkdir(parents=True, exist_ok=True)
    files = {"results.csv": to_csv(study), **chart_files(document)}
    files |= {"report.md": to_markdown(document), PAGE: to_html(document)}
    for name, text in files.items():
        with replacing(study.folder / name) as file:
            file.write(text.encode())
    return study.folder / PAGE


def build(study: StudyRecord, extras: Extras) -> Document:
    """Return the report, neither page nor Markdown yet."""
    findings = analyse(study)
    images: Mapping[str, tuple[float, float]] = {}
    sections = []
    gaps = Gaps(extras.missing)
    if extras.records:
        with gaps.noted("intervals over images"):
            images = image_intervals(study, extras.records, extras.names)
        with gaps.noted("images that changed most"):
            sections.append(changed_section(study, extras.records, extras.names))
    if extras.attention:
        sections.append(_attention_section(extras.attention))
    gates = gate_section(study)
    return Document(
        title=study.question,
        summary=headline(study, findings),
        details=_details(study, findings),
        sections=[
            verdict_section(study, findings, images),
            *([_missing_section(gaps.told)] if gaps.told else []),
            power_section(study, findings),
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


def _details(study: StudyRecord, findings: Findings) -> list[str]:
    finished = sum(run.status == "finished" for run in study.runs)
    return [
        f"decided on {metric_name(study.metric)} on val",
        *_epoch(study),
        *_level(study),
        _counted(len(study.seeds), "seed"),
        _counted(len(findings.judgements), "variant"),
        f"{finished} of {len(study.runs)} runs finished",
        f"level {percent(study.alpha)} over all variants",
        f"smallest difference that matters {study.mde:g}",
        *(f"{name}: {edits}" for name, edits in _named(study)),
    ]


def _epoch(study: StudyRecord) -> list[str]:
    """Return that the weights were chosen on the split they were judged on, where they were."""
    return ["of each run's best epoch, chosen on val itself"] if study.plan.get("epoch") == "best" else []


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _level(study: StudyRecord) -> list[str]:
    """Return how good the base is, without which a difference says little; nothing before a run of it has finished."""
    values = [run.metrics.get(study.metric, math.nan) for run in study.finished(study.base.name).values()]
    known = [value for value in values if math.isfinite(value)]
    return [f"the base reaches {plain(sum(known) / len(known), 3)}"] if known else []


def _named(study: StudyRecord) -> list[tuple[str, str]]:
    """Return the variants that have a name of their own, each with its edits."""
    asked = [*study.plan.get("insert", ()), *study.plan.get("replace", ())]
    return [(name, edits) for name, edits in map(split_name, asked) if name]


def _missing_section(missing: Sequence[str]) -> Section:
    text = "These steps failed, each by itself. The verdict does not rest on them."
    return Section("Missing from this report", [Text(text), *(Text(line, "quiet") for line in missing)])


def _attention_section(attention: Sequence[tuple[str, bytes]]) -> Section:
    text = "Where the variants look. A map shows what a layer's weights are, not why the detector decides."
    pictures = [Pictures(title, [Picture(title, data)]) for title, data in attention]
    return Section("Attention maps", [Text(text), *pictures])
