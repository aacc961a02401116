"""A study on disk and in memory: one file that describes it and one folder per run, enough to continue it.

study.json                   plan, variants, provenance, costs, decision, test
models/VARIANT.yaml          the graphs
runs/VARIANT/seed-N/         a run folder as of `regard train`, with job.json, log.txt, val.json, and at the end
                             result.json or failure.json
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import BaseModel

from regard.ablate.schema import FailureFile, JobFile, ResultFile, Role, StudyFile, check, read_checked
from regard.errors import RegardError
from regard.system.files import claim_folder, is_file, portable_name
from regard.system.interrupts import interrupts_deferred
from regard.system.loaders import read_text
from regard.system.locks import LOCK, exclusive
from regard.training.folder import RunFolder

STUDY, JOB, START, RESULT, FAILURE, VAL, LOG = (
    "study.json",
    "job.json",
    "start.safetensors",
    "result.json",
    "failure.json",
    "val.json",
    "log.txt",
)
PAGE = "report.html"
FORMAT = 1

Status = Literal["waiting", "running", "finished", "failed"]
Document = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One variant of a study.

    Attributes:
        name: unique in the study, such as ``SE@sppf``; the base comes first.
        role: its purpose. Variants are judged; controls are shown next to them.
        controls: for a capacity control, the variant that it has the capacity of.
        note: a remark, such as how close the capacities are.
        model: the file that describes it, relative to the study's folder; "" if there is none.
        epochs: planned for each run; 0 if unknown.
    """

    name: str
    role: Role
    controls: str = ""
    note: str = ""
    model: str = ""
    epochs: int = 0


@dataclass(frozen=True)
class RunRecord:
    """One training of one variant with one seed.

    Attributes:
        variant: the variant's name.
        seed: of data order, augmentation and new weights.
        status: its progress.
        folder: the run's folder; once finished it contains ``val.json``, the detections on val as a COCO results file
            whose image ids are 1-based positions in the split.
        metrics: AP, AP50 and the others of ``Metrics`` on val, of the last or the best epoch's weights.
        per_class: AP of each class on val.
        curve: one mapping per epoch, as in ``results.csv``.
        gates: final value of every gate.
        seconds: time of training.
        peak_mib: peak memory of the process in MiB.
        error: why it failed, "" if it did not.
    """

    variant: str
    seed: int
    status: Status
    folder: Path
    metrics: Mapping[str, float] = field(default_factory=dict)
    per_class: Mapping[str, float] = field(default_factory=dict)
    curve: Sequence[Mapping[str, float]] = ()
    gates: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    peak_mib: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class CostRecord:
    """What a variant costs.

    Attributes:
        parameters: number of learned values.
        flops: FLOPs of one image; a multiplication and an addition count as two.
        latency_ms: latency of one image, one value per repeat; the repeats of all variants were taken in turn.
        peak_mib: peak memory of a forward pass in MiB.
        bound: largest speed-up that a cheaper mixing of its attention could bring; 1 without attention.
        device: that latencies and memory were measured on; "" if unknown.
    """

    parameters: int
    flops: int
    latency_ms: Sequence[float]
    peak_mib: float
    bound: float
    device: str = ""


@dataclass(frozen=True)
class StudyRecord:
    """A whole study, finished or not.

    Attributes:
        folder: of the study.
        question: that it answers, in words.
        metric: the key of ``RunRecord.metrics`` on which it is decided, such as ``ap``.
        alpha: level of the study's tests and of 1 - the intervals' coverage, over all variants (Holm).
        mde: smallest difference that matters, in units of the metric.
        variants: the base first.
        seeds: that are planned.
        runs: all planned runs, variant by variant within a seed.
        costs: cost of each variant.
        test: metrics on the untouched test split by variant and seed, filled after the decision; empty without one.
        plan: the plan as given, JSON-ready.
        provenance: versions, hardware, git state, commands, checksum of the data.
    """

    folder: Path
    question: str
    metric: str
    alpha: float
    mde: float
    variants: Sequence[Variant]
    seeds: Sequence[int]
    runs: Sequence[RunRecord]
    costs: Mapping[str, CostRecord] = field(default_factory=dict)
    test: Mapping[str, Mapping[int, Mapping[str, float]]] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> Variant:
        """The variant that all others are compared with."""
        return self.variants[0]

    @interrupts_deferred()
    def _repr_html_(self) -> str:
        from regard.ablate.format import verdicts
        from regard.system.notebook import to_html

        return to_html(verdicts(self))

    @property
    def device(self) -> str:
        """The devices that costs were measured on; "" if none is known."""
        return "; ".join(sorted({cost.device for cost in self.costs.values()} - {""}))

    def finished(self, variant: str) -> dict[int, RunRecord]:
        """Finished runs of a variant by seed."""
        return {run.seed: run for run in self.runs if run.variant == variant and run.status == "finished"}

    def measured(self, variant: str) -> list[float]:
        """Values of the study's metric of a variant's finished runs, without those that are not finite."""
        values = (run.metrics.get(self.metric, math.nan) for run in self.finished(variant).values())
        return [value for value in values if math.isfinite(value)]


class StudyFolder:
    """Where a study is kept.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether a study has been started here."""
        return (self.path / STUDY).is_file()

    def read(self) -> Document:
        """Read the study file.

        Raises:
            RegardError: there is none, or it is damaged.
        """
        file = self.path / STUDY
        if not is_file(file):
            raise RegardError("no study in this folder", file=self.path, expected="a folder that regard ablate wrote")
        document = read_json(file)
        if document.get("format") != FORMAT:
            raise RegardError(f"a study of format {document.get('format')!r:.40}", file=file, expected=f"{FORMAT}")
        check(document, StudyFile, file)
        if "match" in document["plan"]:  # its former name
            document["plan"]["control_match"] = document["plan"].pop("match")
        return document

    def write(self, document: Mapping[str, Any]) -> None:
        """Write the study file whole or not at all."""
        RunFolder(self.path).write_json(STUDY, document)

    def run(self, place: str, seed: int) -> Path:
        """Path of the folder of one run; ``place`` is the variant's folder name."""
        return self.path / "runs" / place / f"seed-{seed}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder; the system unlocks it when the process ends, however it ends.

        Raises:
            RegardError: another command has locked it.
        """
        with claim_folder(self.path):
            yield


@contextmanager
def locked_run(folder: Path) -> Iterator[None]:
    """Lock a run's folder, after waiting for the process that has locked it; the file stays, as it dates the start."""
    with FileLock(folder / LOCK):
        yield


def is_running(folder: Path) -> bool:
    """Whether a process works on a run's folder now."""
    if not (folder / LOCK).is_file():
        return False
    try:
        with exclusive(folder / LOCK):
            return False
    except BlockingIOError:
        return True
    except OSError:  # a read-only folder: no process works in it
        return False


def is_over(folder: Path) -> bool:
    """Whether a run has finished or failed."""
    return (folder / RESULT).is_file() or (folder / FAILURE).is_file()


def folder_names(names: Sequence[str]) -> dict[str, str]:
    """Choose a valid folder name for each variant, all different, on Windows too.

    Example:
        >>> folder_names(["SE@p4", "SE p4"])
        {'SE@p4': 'SE-p4', 'SE p4': 'SE-p4_2'}
    """
    found: dict[str, str] = {}
    for name in names:
        word = stem = portable_name(re.sub(r"[^\w.+-]+", "-", name).strip("-."))
        k = 2
        while word.casefold() in {other.casefold() for other in found.values()}:
            word, k = f"{stem}_{k}", k + 1
        found[name] = word
    return found


@interrupts_deferred()
def read_study(path: str | Path) -> StudyRecord:
    """Read a study, finished or not, from its folder.

    Raises:
        RegardError: there is none, or it is damaged.
    """
    folder = StudyFolder(Path(path))
    document = folder.read()
    plan, entries = document["plan"], document["variants"]
    variants = [
        Variant(
            entry["name"],
            entry["role"],
            entry.get("controls", ""),
            model=entry.get("model", ""),
            epochs=entry.get("epochs", 0),
        )
        for entry in entries
    ]
    runs = [
        read_run(entry["name"], seed, folder.run(entry["place"], seed)) for seed in plan["seeds"] for entry in entries
    ]
    if odd := next((run for run in runs if run.metrics and plan["metric"] not in run.metrics), None):
        raise RegardError(f"damaged: it has no metric {plan['metric']!r}", file=odd.folder / RESULT)
    return StudyRecord(
        folder=folder.path,
        question=document["question"],
        metric=plan["metric"],
        alpha=plan["alpha"],
        mde=plan["mde"],
        variants=variants,
        seeds=plan["seeds"],
        runs=runs,
        costs={name: CostRecord(**cost) for name, cost in document.get("costs", {}).items()},
        test={
            name: {int(seed): numbers(metrics) for seed, metrics in by_seed.items()}
            for name, by_seed in document.get("test", {}).items()
        },
        plan=plan,
        provenance=document["provenance"],
    )


def read_run(variant: str, seed: int, folder: Path) -> RunRecord:
    """Read one run, finished or not."""
    curve = _curve(folder / "results.csv")
    if is_file(folder / RESULT):
        result = read_json(folder / RESULT)
        kept = {key: result[key] for key in ("gates", "seconds", "peak_mib")}
        metrics, per_class = numbers(result["metrics"]), numbers(result["per_class"])
        return RunRecord(variant, seed, "finished", folder, metrics, per_class, curve, **kept)
    if is_file(folder / FAILURE):
        error = read_json(folder / FAILURE)["error"]
        return RunRecord(variant, seed, "failed", folder, curve=curve, seconds=trained_seconds(curve), error=error)
    status: Status = "running" if is_running(folder) else "waiting"
    return RunRecord(variant, seed, status, folder, curve=curve, seconds=trained_seconds(curve))


def trained_seconds(curve: Sequence[Mapping[str, float]]) -> float:
    """Seconds that the epochs so far were trained."""
    return sum(row.get("train_seconds", 0.0) for row in curve)


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Convert the values of a JSON file to numbers; NaN was written as null."""
    return {key: math.nan if value is None else float(value) for key, value in values.items()}


def read_json(file: Path) -> Document:
    """Read a mapping from a JSON file of a study, checked where its name says what it must contain.

    Raises:
        RegardError: it cannot be read, or is damaged.
    """
    return read_checked(file, SCHEMAS.get(file.name))


SCHEMAS: Mapping[str, type[BaseModel]] = {RESULT: ResultFile, FAILURE: FailureFile, JOB: JobFile}


def _curve(file: Path) -> list[dict[str, float]]:
    if not is_file(file):
        return []
    try:
        table = csv.DictReader(io.StringIO(read_text(file), newline=""), restkey="")
        return [{key: float(value) for key, value in row.items() if value} for row in table]
    except (csv.Error, ValueError, TypeError) as error:
        raise RegardError(f"damaged: {error!s:.200}", file=file) from error
