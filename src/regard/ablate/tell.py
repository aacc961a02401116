"""How a study ended, on the terminal."""

from __future__ import annotations

from rich.console import Console

from regard.ablate.findings import analyse
from regard.ablate.record import StudyRecord
from regard.ablate.report.write import PAGE
from regard.ablate.words import sentences


def print_verdict(study: StudyRecord, console: Console) -> None:
    """Print what was found, a sentence a finding, and where the report lies."""
    for line in sentences(study, analyse(study)):
        console.print(line, markup=False, highlight=False)
    console.print(f"report: {study.folder / PAGE}", markup=False, highlight=False, soft_wrap=True)
