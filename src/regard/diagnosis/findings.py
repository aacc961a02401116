"""What a diagnosis found: causes with their evidence, and what could not be checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from regard.system.notebook import ShownInNotebooks
from regard.system.terminal import plain_text

Weight = Literal["likely", "possible", "note"]
ORDER: tuple[Weight, ...] = ("likely", "possible", "note")
STYLES: Mapping[Weight, str] = {"likely": "bold red", "possible": "bold yellow", "note": "bold"}


class NotChecked(Exception):  # noqa: N818 - no error: the reason is reported next to the findings
    """A cause cannot be checked, for the reason given."""


@dataclass(frozen=True)
class Finding:
    """One cause that was found.

    Attributes:
        cause: its name in `regard.diagnosis.causes.CAUSES`.
        weight: "likely" or "possible" as the cause of a low AP; "note" for what explains a difference without a fault.
        evidence: what was found where.
        advice: what to do.
    """

    cause: str
    weight: Weight
    evidence: str
    advice: str


@dataclass(frozen=True)
class Diagnosis(ShownInNotebooks):
    """The result of a diagnosis; ``rich`` prints it.

    Attributes:
        folder: of the run.
        package: what wrote it: "regard", "yolov5" or "ultralytics".
        result: the best result of the run, in words.
        findings: causes found, the likeliest first.
        checked: causes that were checked.
        skipped: reason for each cause that could not be checked.
        data: the data set that was read; "" if none was.
        start: the starting weights that were read; "" if none were.
    """

    folder: str
    package: str
    result: str
    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    skipped: Mapping[str, str]
    data: str = ""
    start: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether no cause of a low AP was found; notes do not count."""
        return all(finding.weight == "note" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Convert the diagnosis to plain values that JSON can represent."""
        return {"schema": 1, "healthy": self.is_healthy, "complete": not self.skipped, **asdict(self)}

    def to_json(self) -> str:
        """Write the diagnosis as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        return plain_text(self, 120)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the result of the run, the findings, and what was not checked."""
        yield Text(f"{self.folder} ({self.package}): {self.result}", style="bold")
        for what, place in (("data set:", self.data), ("starting weights:", self.start)):
            if place:
                yield Text.assemble(*((part, "dim") for part in (what, " ", place)))
        for number, finding in enumerate(self.findings, 1):
            style = STYLES[finding.weight]
            head = (f"{number}. ", style), (f"{title(finding.cause)} ({finding.weight})", style), (": ", style)
            yield Text.assemble(*head, finding.evidence)
            yield Text.assemble(("   ", "none"), finding.advice)  # parts that are translated separately
        found = f"{len(self.findings)} found" if self.findings else "none found"
        count = f"{len(self.checked)} causes checked, {found}"
        if self.skipped:
            count += f"; {len(self.skipped)} could not be checked"
        yield Text(count, style="" if self.findings else "yellow" if self.skipped else "green")
        by_reason: dict[str, list[str]] = {}
        for cause, reason in self.skipped.items():
            by_reason.setdefault(reason, []).append(title(cause))
        for reason, causes in by_reason.items():
            parts = "not checked:", " ", ", ".join(causes), ": ", reason
            yield Text.assemble(*((part, "dim") for part in parts))


def title(cause: str) -> str:
    """Name of a cause in words."""
    return cause.replace("_", " ").replace(" ap", " AP")
