"""A study on disk: one file that says what it is, and a folder a run. All that continuing needs lies here.

study.json                   plan, variants, provenance, costs, decision, test
models/VARIANT.yaml          the graphs
runs/VARIANT/seed-N/         a run folder as of `regard train`, with job.json, log.txt, val.json, and in the end
                             result.json or failure.json
"""

from __future__ import annotations

import csv
import fcntl
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regard.ablate.record import CostRecord, RunRecord, Status, StudyRecord, Variant
from regard.errors import RegardError
from regard.training.folder import RunFolder

STUDY, JOB, START, RESULT, FAILURE, VAL, LOG, LOCK = (
    "study.json",
    "job.json",
    "start.safetensors",
    "result.json",
    "failure.json",
    "val.json",
    "log.txt",
    ".lock",
)
FORMAT = 1

Document = dict[str, Any]


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
        """Return what the study file says.

        Raises:
            RegardError: there is none, or it is damaged.
        """
        file = self.path / STUDY
        if not file.is_file():
            raise RegardError("no study in this folder", file=self.path, expected="a folder that regard ablate wrote")
        document = read_json(file)
        if document.get("format") != FORMAT:
            raise RegardError(f"a study of format {document.get('format')}", file=file, expected=f"format {FORMAT}")
        return document

    def write(self, document: Mapping[str, Any]) -> None:
        """Write the study file whole or not at all."""
        RunFolder(self.path).write_json(STUDY, document)

    def run(self, place: str, seed: int) -> Path:
        """Return the folder of one run; ``place`` is the variant's."""
        return self.path / "runs" / place / f"seed-{seed}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder alone; released by the system when the process ends, however it ends.

        Raises:
            RegardError: another command holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RegardError(
                    "another command works on this study", file=self.path, hint="see it by `regard ablate status`"
                ) from error
            yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder, waiting for whoever holds it now."""
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_held(folder: Path) -> bool:
    """Whether a process works on a run's folder now."""
    try:
        with (folder / LOCK).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def is_over(folder: Path) -> bool:
    """Whether a run has finished or failed."""
    return (folder / RESULT).is_file() or (folder / FAILURE).is_file()


def places(names: Sequence[str]) -> dict[str, str]:
    """Return for each name a word that can be a folder's, all different."""
    found: dict[str, str] = {}
    for name in names:
        word = re.sub(r"[^\w.+-]+", "-", name).strip("-.")
        k = 2
        while word in found.values():
            word, k = f"{re.sub('_[0-9]+$', '', word)}_{k}", k + 1
        found[name] = word
    return found


def read_study(path: str | Path) -> StudyRecord:
    """Return a study as far as it has come, from what lies in its folder.

    Raises:
        RegardError: there is none, or it is damaged.
    """
    folder = StudyFolder(Path(path))
    document = folder.read()
    plan, entries = document["plan"], document["variants"]
    variants = [
        Variant(entry["name"], entry["role"], folder.path / entry["model"], entry["controls"]) for entry in entries
    ]
    runs = [
        read_run(entry["name"], seed, folder.run(entry["place"], seed)) for seed in plan["seeds"] for entry in entries
    ]
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
    """Return one run as far as it has come."""
    curve = _curve(folder / "results.csv")
    if (folder / RESULT).is_file():
        result = read_json(folder / RESULT)
        kept = {key: result[key] for key in ("gates", "seconds", "peak_mib")}
        metrics, per_class = numbers(result["metrics"]), numbers(result["per_class"])
        return RunRecord(variant, seed, "finished", folder, metrics, per_class, curve, **kept)
    if (folder / FAILURE).is_file():
        error = read_json(folder / FAILURE)["error"]
        return RunRecord(variant, seed, "failed", folder, curve=curve, seconds=trained_seconds(curve), error=error)
    status: Status = "running" if is_held(folder) else "waiting"
    return RunRecord(variant, seed, status, folder, curve=curve, seconds=trained_seconds(curve))


def trained_seconds(curve: Sequence[Mapping[str, float]]) -> float:
    """Return how long the epochs so far were trained."""
    return sum(row["train_seconds"] for row in curve)


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return values of a JSON file as numbers; what was not a number was written as null."""
    return {key: math.nan if value is None else float(value) for key, value in values.items()}


def read_json(file: Path) -> Document:
    """Return the mapping in a JSON file.

    Raises:
        RegardError: it cannot be read, or is damaged.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RegardError(f"damaged or unreadable: {error}", file=file) from error
    if not isinstance(document, dict):
        raise RegardError("damaged: not a mapping", file=file)
    return document


def _curve(file: Path) -> list[dict[str, float]]:
    if not file.is_file():
        return []
    with file.open(newline="") as table:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(table)]
