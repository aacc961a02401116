"""What a diagnosis found: causes with their evidence, and what could not be checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from regard.system.notebook import ShownInNotebooks
from regard.system.plain_table import verbatim
from regard.system.terminal import plain_text

Weight = Literal["likely", "possible", "note"]
ORDER: tuple[Weight, ...] = ("likely", "possible", "note")
STYLES: Mapping[Weight, str] = {"likely": "bold red", "possible": "bold yellow", "note": "bold"}


GIVE_DATA, GIVE_WEIGHTS, OPEN_IMAGES = "give --data", "give --weights", "leave out --quick"
"""What the user can do so that more causes can be checked."""


class NotChecked(Exception):  # noqa: N818 - no error: the reason is reported next to the findings
    """A cause cannot be checked.

    Args:
        reason: why.
        remedy: what the user can do about it, such as ``GIVE_DATA``; "" if nothing.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


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
        remedies: what the user can do so that more causes can be checked, such as "give --data".
        data: the data set that was read; "" if none was.
        data_note: how it was found where it is not where the run states; "" if it is there.
        start: the starting weights that were read; "" if none were.
        start_note: as ``data_note``, for the starting weights.
    """

    folder: str
    package: str
    result: str
    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    skipped: Mapping[str, str]
    remedies: tuple[str, ...] = ()
    data: str = ""
    data_note: str = ""
    start: str = ""
    start_note: str = ""

    @property
    def is_healthy(self) -> bool | None:
        """True if all causes were checked and none was found, False if one was found, else None.

        Notes do not count. A cause that a run cannot have, such as anchors of a head without any, counts as checked.
        """
        if any(finding.weight != "note" for finding in self.findings):
            return False
        return None if self.skipped else True

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
        yield Text.assemble(verbatim(f"{self.folder} ({self.package})", "bold"), (": ", "bold"), (self.result, "bold"))
        start, data = ("starting weights:", self.start, self.start_note), ("data set:", self.data, self.data_note)
        for what, place, note in (data, start):
            if place:
                line = Text.assemble((what, "dim"), (" ", "dim"), verbatim(place, "dim"))
                yield line.append(", ", "dim").append(note, "dim") if note else line
        for number, finding in enumerate(self.findings, 1):
            style = STYLES[finding.weight]
            head = (f"{number}. ", style), (f"{title(finding.cause)} ({finding.weight})", style), (": ", style)
            yield Text.assemble(*head, finding.evidence)
            yield Text.assemble(("   ", "none"), finding.advice)  # parts that are translated separately
        by_reason: dict[str, list[str]] = {}
        for cause, reason in self.skipped.items():
            by_reason.setdefault(reason, []).append(title(cause))
        for reason, causes in by_reason.items():
            parts = "not checked:", " ", ", ".join(causes), ": ", reason
            yield Text.assemble(*((part, "dim") for part in parts))
        yield Text(self._summary(), style="" if self.findings else "yellow" if self.skipped else "green")

    def _summary(self) -> str:
        """How many causes were checked and found, and how the others can be checked."""
        checked, found, skipped = len(self.checked), len(self.findings), len(self.skipped)
        if not skipped:
            return f"{checked} causes checked, {found} found" if found else f"{checked} causes checked, none found"
        if found:
            return f"{checked} causes checked, {found} found; {skipped} could not be checked"
        if not self.remedies:
            return f"nothing found, but {skipped} of {checked + skipped} causes could not be checked"
        how = ", ".join(self.remedies)
        return f"nothing found, but {skipped} of {checked + skipped} causes could not be checked: {how}"


def title(cause: str) -> str:
    """Name of a cause in words."""
    return cause.replace("_", " ").replace(" ap", " AP")
