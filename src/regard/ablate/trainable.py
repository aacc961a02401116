"""The interface of what a study compares: a `Trainable` for each run, and an `Experiment` that creates them.

A detector is one implementation (`regard.ablate.detector`). Anything that can be started from a seed, trained for a
budget and measured on a split can be studied in the same way, with the same pairing, statistics, resuming and report.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from regard.ablate.folder import JOB, VAL, CostRecord, RunRecord, StudyRecord, Variant, read_json
from regard.ablate.hardware import Hardware
from regard.data.dataset import Sample
from regard.errors import RegardError
from regard.system.loaders import read_json as read_json_file
from regard.training.folder import RunFolder


@dataclass(frozen=True)
class Budget:
    """How long a run is trained.

    Attributes:
        epochs: passes over the training data.
    """

    epochs: int


@dataclass(frozen=True)
class Job:
    """A run that is to be completed, by whichever process.

    Attributes:
        folder: of the run.
        digest: hash of the job that is to be found there. It names code, so that one that somebody else has put in its
            place is not carried out.
    """

    folder: Path
    digest: str

    def read(self) -> dict[str, Any]:
        """Read the job.

        Raises:
            RegardError: it is damaged, or another.
        """
        document = read_json(self.folder / JOB)
        if digest_of(document) != self.digest:
            raise RegardError("this is not the job that the study wrote", file=self.folder / JOB)
        return document


def digest_of(job: Mapping[str, Any]) -> str:
    """Hash of the content of a job."""
    return hashlib.sha256(json.dumps(json.loads(json.dumps(job)), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Evaluation:
    """What a trained variant achieves on a split.

    Attributes:
        metrics: values of the whole split by name; among them the metric that decides.
        images: result of each image in the order of the split, JSON-ready: numbers, whose mean is the metric, or
            anything that `Experiment.resample` reads.
        per_class: metric of each class.
        gates: final value of every gate.
        fingerprint: hash of the trained weights, by which seeds without an effect are detected; "" skips the check.
    """

    metrics: Mapping[str, float]
    images: Sequence[Any]
    per_class: Mapping[str, float] = field(default_factory=dict)
    gates: Mapping[str, float] = field(default_factory=dict)
    fingerprint: str = ""


class Trainable(Protocol):
    """One run, made as ``Class(folder, **arguments)``.

    Each call may come in another process, or on another machine, so everything that a later call needs is left in
    ``folder``. A table ``results.csv`` there, one row per epoch, is shown in the live table and as learning curves.
    """

    def start(self, variant: str, seed: int) -> None:
        """Write the starting point; variants of one seed share all values that they have in common."""

    def train(self, budget: Budget) -> None:
        """Train for the whole budget; called again after a killed process, continue from what is in the folder."""

    def evaluate(self, split: str) -> Evaluation:
        """Measure what training left in the folder on ``val`` or ``test``."""


class Experiment:
    """What a study compares: its variants, and how their runs are created. Subclasses override what they support.

    Args:
        trainable: class of the runs, at the top level of a module, so that another process can import it.
        variants: the base first.
        images: number of images of each split; ``val`` decides, ``test`` is measured once after the decision.
        arguments: JSON-ready arguments of every run.

    Raises:
        RegardError: the variants have no base, or share a name.
    """

    probe_limit = 0
    """Number of images of each split in a short measurement of time and memory before the study; 0 for none."""

    def __init__(
        self,
        trainable: type[Trainable],
        variants: Sequence[Variant],
        images: Mapping[str, int],
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.trainable, self.images = trainable, dict(images)
        self._variants, self._arguments = list(variants), dict(arguments or {})
        names = [variant.name for variant in variants]
        if len(set(names)) < len(names) or not variants or variants[0].role != "base":
            raise RegardError(f"variants {names}", expected="the base first, and names that differ")

    def variants(self) -> Sequence[Variant]:
        """The variants and their controls, the base first."""
        return self._variants

    def arguments(
        self,
        variant: Variant,  # noqa: ARG002
        seed: int,  # noqa: ARG002
        budget: Budget,  # noqa: ARG002
        hardware: Hardware,  # noqa: ARG002
        limit: int = 0,  # noqa: ARG002
    ) -> dict[str, Any]:
        """JSON-ready arguments of one run's `Trainable`, apart from its folder; ``limit`` as ``probe_limit``."""
        return self._arguments

    def run(self, folder: Path, arguments: Mapping[str, Any]) -> Trainable:
        """Make the `Trainable` of a run in this process."""
        return self.trainable(folder, **arguments)  # type: ignore[call-arg]  # a protocol has no constructor

    def check_seeds(self) -> dict[str, str]:
        """Hash of the start of each seed, where that can be known before training.

        Raises:
            RegardError: two seeds would give the same run.
        """
        return {}

    def description(self) -> dict[str, Any]:
        """What the runs depend on, JSON-ready: ``data`` with a checksum, ``files`` with theirs, notes on controls."""
        return {"data": {"splits": self.images, "sha256": "", "overlap": []}, "files": {}, "controls": {}}

    def model_file(self, variant: Variant) -> str:  # noqa: ARG002
        """Text of a file that describes a variant, such as a model YAML; "" for none."""
        return ""

    def resample(self, run: RunRecord, metric: str, weights: NDArray[np.int64]) -> NDArray[np.float64] | None:  # noqa: ARG002
        """Metric of a finished run on draws of val images, from its ``val.json``; None if that is not possible.

        Args:
            run: a finished run.
            metric: that decides.
            weights: (draws, images) how often each image was drawn.

        Returns:
            (draws,) the metric, by default the weighted mean of numbers.
        """
        values = np.asarray(read_json_file(run.folder / VAL))
        if values.ndim != 1 or values.dtype.kind not in "iuf":
            return None
        return np.asarray(weights @ values / weights.sum(axis=1), dtype=np.float64)

    def costs(self, runs: Mapping[str, RunRecord], device: str, missing: Missing) -> dict[str, CostRecord]:  # noqa: ARG002
        """Cost of each variant, given a finished run of each; empty if there is nothing to measure."""
        return {}

    def samples(self) -> tuple[Sequence[Sample], Sequence[str]]:
        """The val images and the class names, if ``val.json`` contains detections that a report can draw."""
        return (), ()

    def figures(self, study: StudyRecord, missing: Missing) -> list[tuple[str, bytes]]:  # noqa: ARG002
        """Titles and PNG files that the report shows, such as attention maps."""
        return []


def write_run(
    folder: Path,
    experiment: Experiment,
    variant: Variant,
    seed: int,
    budget: Budget,
    hardware: Hardware,
    *,
    limit: int = 0,
) -> Job:
    """Write the start of a run and then its job, with which any process can complete it.

    Args:
        folder: of the run; created if it does not exist.
        experiment: that the variant belongs to.
        variant: that is trained.
        seed: of the study.
        budget: of the run.
        hardware: of the study.
        limit: number of images used of each split; 0 uses all.

    Raises:
        RegardError: the start cannot be built or written.
    """
    out, job = RunFolder(folder), describe_job(experiment, variant, seed, budget, hardware, limit=limit)
    experiment.run(folder, job["arguments"]).start(variant.name, seed)
    out.write_json(JOB, job)
    return Job(folder, digest_of(job))


def describe_job(
    experiment: Experiment, variant: Variant, seed: int, budget: Budget, hardware: Hardware, *, limit: int = 0
) -> dict[str, Any]:
    """Describe a run so that another process can make it; the arguments are those of `write_run`."""
    return {
        "trainable": describe_trainable(experiment.trainable),
        "arguments": experiment.arguments(variant, seed, budget, hardware, limit),
        "variant": variant.name,
        "seed": seed,
        "budget": asdict(budget),
        "device": hardware.device,
    }


def describe_trainable(kind: type[Trainable]) -> dict[str, str]:
    """Reference to a class by which another process finds it."""
    return {"module": kind.__module__, "name": kind.__qualname__, "file": str(inspect.getfile(kind))}


def load_trainable(reference: Mapping[str, str]) -> type[Trainable]:
    """Find the class that ``describe_trainable`` described: by its module's name, else by its file. Both run code.

    Raises:
        RegardError: neither is there.
    """
    name, file = reference["module"], Path(reference["file"])
    try:
        module = None if name == "__main__" else importlib.import_module(name)
    except ImportError:
        module = None
    if module is None:
        name = "regard_main" if name == "__main__" else name
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None or not file.is_file():
            raise RegardError(f"the module {name!r} of a run cannot be imported", file=file)
        sys.path.append(str(file.parent.absolute()))  # so that it can import files next to it, as when it is run
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    kind: type[Trainable] = getattr(module, reference["name"])
    return kind


class Missing:
    """Collects what a report lacks because a step towards it failed: each step fails by itself, the verdict stands.

    Args:
        lines: what is known to be missing already.

    Attributes:
        lines: what is missing, and why.
    """

    def __init__(self, lines: Sequence[str] = ()) -> None:
        self.lines = list(lines)

    @contextmanager
    def unless_done(self, what: str) -> Iterator[None]:
        """Record an exception instead of passing it on; ``what`` is then missing."""
        try:
            yield
        except Exception as error:  # a user's module can raise anything
            self.lines.append(f"{what}: {describe_failure(error)}")


def describe_failure(error: BaseException) -> str:
    """Explain an exception in one line."""
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return f"out of memory: {lines[0]}"
    if isinstance(error, RegardError):
        return " ".join(line.strip() for line in lines)
    return f"{type(error).__name__}: {lines[0]}"
