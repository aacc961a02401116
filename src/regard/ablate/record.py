"""What a study planned and what came of it: the values that travel from planning over running to the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Role = Literal["base", "variant", "capacity control", "noise control"]
Status = Literal["waiting", "running", "finished", "failed"]


@dataclass(frozen=True)
class Variant:
    """One of the detectors that a study compares.

    Attributes:
        name: such as ``SE@sppf``; ``base`` for the base, ``control of SE@sppf``, ``noise``.
        role: what it is there for.
        model: the file that describes it (a model YAML, an overlay or weights), inside the study's folder.
        controls: for a capacity control, the variant whose capacity it has; else "".
    """

    name: str
    role: Role
    model: Path
    controls: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One training of one variant with one seed.

    Attributes:
        variant: the variant's name.
        seed: of data order, augmentation and new weights.
        status: how far it has come.
        folder: the run's folder; once finished it holds ``val.json``, the detections on val as a COCO results file
            whose image ids are 1-based positions in the split.
        metrics: AP, AP50 and the others of ``Metrics`` on val, of the weights that the plan says (best or last epoch).
        per_class: AP of each class on val.
        curve: one mapping an epoch, as in ``results.csv``.
        gates: final value of every gate.
        seconds: of training.
        peak_mib: most memory that the process held, in MiB.
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
        parameters: learned values.
        flops: for one image; a multiplication and an addition count as two.
        latency_ms: of one image, one value a repeat; the repeats of all variants were taken in turn.
        peak_mib: most memory that a forward pass holds, in MiB.
        bound: times as fast as the model could become by a cheaper mixing of its attention, by time; 1 without any.
        device: that latencies and memory were measured on, in words; "" where that is not known.
    """

    parameters: int
    flops: int
    latency_ms: Sequence[float]
    peak_mib: float
    bound: float
    device: str = ""


@dataclass(frozen=True)
class StudyRecord:
    """A whole study, as far as it has come.

    Attributes:
        folder: where everything of it lies.
        question: in words.
        metric: the key of ``RunRecord.metrics`` on which it is decided, such as ``ap``.
        alpha: level of the study's tests and of 1 - the intervals' coverage, over all variants (Holm).
        mde: smallest difference that matters, in units of the metric.
        variants: the base first.
        seeds: planned.
        runs: all that are planned, variant by variant within a seed.
        costs: by variant.
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

    def finished(self, variant: str) -> dict[int, RunRecord]:
        """Return the finished runs of a variant by seed."""
        return {run.seed: run for run in self.runs if run.variant == variant and run.status == "finished"}
