"""How a study ended, on the terminal."""

from __future__ import annotations

from rich.console import Console

from regard.ablate.findings import analyse
from regard.ablate.record import StudyRecord
from regard.ablate.report.write import PAGE
from regard.ablate.verdict import Verdict
from regard.ablate.words import needed_line, sentences


def print_verdict(study: StudyRecord, console: Console) -> None:
    """Print what was found, a sentence a finding, the seeds still needed, and where the report lies."""
    findings = analyse(study)
    lines = sentences(study, findings)
    if any(judgement.verdict is Verdict.CANT_TELL for judgement in findings.judgements.values()):
        lines.append(needed_line(study, findings.outlook))
    for line in lines:
        console.print(line, markup=False, highlight=False)
    console.print(f"report: {study.folder / PAGE}", markup=False, highlight=False, soft_wrap=True)
