"""What the files of a study must contain; anyone may have written or damaged them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regard.config.faults import first_fault
from regard.errors import RegardError
from regard.system.loaders import read_json_mapping
from regard.training.precision import Precision

Role = Literal["base", "variant", "capacity control", "noise control"]

METRICS = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP of small objects",
    "ap_medium": "AP of medium objects",
    "ap_large": "AP of large objects",
    "f1": "F1",
}
"""Names of metrics as they are printed."""

FolderName = Annotated[str, Field(pattern=r"^[\w+-][\w.+-]*$")]
"""A name without separators, so that no file of a study lies outside its folder."""
Number = float | None
"""None is written for NaN."""

MOST_THREADS = 4096
"""Threads of a run."""

MOST_BYTES = 256 * 2**20
"""Largest file of a study that is read."""


def metric_name(metric: str) -> str:
    """Name of a metric as it is printed."""
    return METRICS.get(metric, metric.replace("_", " "))


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Entry(_Part):
    name: str
    role: Role
    controls: str = ""
    place: FolderName
    model: str = ""
    epochs: int = Field(ge=1)


class _Plan(_Part):
    seeds: list[int] = Field(min_length=1)
    metric: str
    alpha: float = Field(gt=0, lt=1)
    mde: float


class _Cost(_Part):
    model_config = ConfigDict(extra="forbid")

    parameters: int
    flops: int
    latency_ms: list[float]
    peak_mib: float
    bound: float
    device: str = ""


class StudyFile(_Part):
    """``study.json``."""

    format: int
    question: str
    plan: _Plan
    variants: list[_Entry] = Field(min_length=1)
    costs: dict[str, _Cost] = {}
    test: dict[str, dict[Annotated[str, Field(pattern=r"^\d+$")], dict[str, Number]]] = {}
    provenance: dict[str, Any]


class _Hardware(_Part):
    model_config = ConfigDict(extra="forbid")

    device: str
    precision: Precision
    workers: int = Field(ge=0)


class _Environment(_Part):
    packages: dict[str, str]


class _Data(_Part):
    sha256: str


class _Probe(_Part):
    peak_mib: float = 0.0


class _Provenance(_Part):
    environment: _Environment
    commands: list[dict[str, Any]]
    data: _Data
    files: dict[str, str] = {}
    hardware: _Hardware | None = None


class ContinuedStudy(StudyFile):
    """``study.json`` of a study that is continued."""

    threads: int = Field(ge=1, le=MOST_THREADS)
    probe: _Probe | None
    provenance: _Provenance  # type: ignore[assignment]


class ResultFile(_Part):
    """``result.json``: ``weights`` is a hash of them."""

    metrics: dict[str, Number]
    per_class: dict[str, Number]
    gates: dict[str, float]
    seconds: float
    peak_mib: float
    weights: str = ""


class FailureFile(_Part):
    """``failure.json``."""

    error: str


class JobFile(_Part):
    """``job.json``: how another process makes the run."""

    trainable: dict[str, str]
    arguments: dict[str, Any]
    budget: dict[str, Any]
    device: str


def read_checked(file: Path, kind: type[BaseModel] | None) -> dict[str, Any]:
    """Read a JSON file of a study, as it is, after checking that it contains what ``kind`` requires, if any.

    Raises:
        RegardError: it cannot be read, is no JSON, or lacks something.
    """
    document = read_json_mapping(file, MOST_BYTES)
    if kind is not None:
        check(document, kind, file)
    return document


def check(document: Mapping[str, Any], kind: type[BaseModel], file: Path) -> None:
    """Check what a file contains.

    Raises:
        RegardError: a value is missing or wrong.
    """
    try:
        kind.model_validate(document)
    except ValidationError as error:
        fault = first_fault(error)
        raise RegardError(f"damaged: {fault.what}", file=file, expected=fault.expected) from error
