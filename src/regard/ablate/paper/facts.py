"""What a study records, as the paragraphs of all languages need it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regard.ablate.folder import StudyRecord
from regard.ablate.schema import metric_name
from regard.ablate.verdict import Judgement, Obstacle, PowerAnalysis, Results

LEAST_FREEDOM = 4
"""Degrees of freedom below which a standard deviation says too little on the power: with 4, its 90 % interval reaches
from 0.65 to 2.4 times the estimate."""


@dataclass(frozen=True)
class Facts:
    """Facts for the paragraphs; text that is not known is "", numbers are 0.

    Attributes:
        metric: name of the metric that decides.
        alpha: level of the tests over all variants.
        mde: smallest difference that matters.
        seeds: number of seeds.
        base: the model that all variants are compared with.
        weights: what it starts from.
        data: name of the data set.
        images: number of images of each split.
        epochs: least and most epochs of a run, by variant.
        minutes: of training for each run, if that was the budget; it was converted to epochs of each variant.
        samples: training images for each run, if that was the budget; they were rounded up to epochs.
        imgsz: side of the input in pixels.
        batch: images per step.
        device: what costs were measured on.
        versions: of the packages.
        judgements: of every variant against the base.
        beyond: of every variant against its control of equal capacity.
        has_noise: whether the base was trained again with other augmentation.
        power: what the study could detect.
        level: mean of the metric over the runs of the base; NaN without any.
        failed: number of failed runs.
        unfinished: number of runs that are neither finished nor failed.
        epoch: "last" or "best": which weights were measured.
        overlap: what is known of images that are in train and val.
        has_test: whether a test split was evaluated.
    """

    metric: str
    alpha: float
    mde: float
    seeds: int
    base: str
    weights: str
    data: str
    images: Mapping[str, int]
    epochs: tuple[int, int]
    minutes: float
    samples: int
    imgsz: int
    batch: int
    device: str
    versions: str
    judgements: Mapping[str, Judgement]
    beyond: Mapping[str, Judgement]
    has_noise: bool
    power: PowerAnalysis
    level: float
    failed: int
    unfinished: int
    epoch: str
    overlap: Sequence[str]
    has_test: bool

    @property
    def power_obstacles(self) -> list[Obstacle]:
        """Why the power cannot be stated: it needs the spread of every variant, known to about its double."""
        found: list[Obstacle] = ["untaught", "few_pairs", "no_spread"]
        met = {one.obstacle for one in self.judgements.values()}
        if not met & set(found) and self.power.freedom < LEAST_FREEDOM:
            return ["few_pairs"]
        return [obstacle for obstacle in found if obstacle in met]

    @property
    def undecided(self) -> list[str]:
        """Variants about which the study cannot tell."""
        return [name for name, judged in self.judgements.items() if judged.verdict == 0]


def facts_of(study: StudyRecord, results: Results) -> Facts:
    """Collect the facts of a study."""
    plan, provenance = study.plan, study.provenance
    known = study.measured(study.base.name)
    statuses = [run.status for run in study.runs]
    data = provenance.get("data")
    data = data if isinstance(data, Mapping) else {}
    overlap = data.get("overlap", ())
    return Facts(
        metric=metric_name(study.metric),
        alpha=study.alpha,
        mde=study.mde,
        seeds=len(study.seeds),
        base=_word(plan.get("base")),
        weights=_word(plan.get("weights")),
        data=_word(plan.get("data")),
        images=_images(data),
        epochs=_epochs(study),
        minutes=float(plan.get("minutes") or 0),
        samples=_number(plan.get("images")),
        imgsz=_number(plan.get("imgsz")),
        batch=_number(plan.get("batch")),
        device=study.device,
        versions=_versions(provenance),
        judgements=results.judgements,
        beyond=results.beyond,
        has_noise=any(variant.role == "noise control" for variant in study.variants),
        power=results.power,
        level=sum(known) / len(known) if known else math.nan,
        failed=statuses.count("failed"),
        unfinished=len(statuses) - statuses.count("failed") - statuses.count("finished"),
        epoch="best" if plan.get("epoch") == "best" else "last",
        overlap=[str(line) for line in overlap]
        if isinstance(overlap, Sequence) and not isinstance(overlap, str)
        else [],
        has_test=bool(study.test),
    )


def _epochs(study: StudyRecord) -> tuple[int, int]:
    """Epochs of the variants as planned; as trained, where a plan of another program does not state them."""
    planned, trained = _number(study.plan.get("epochs")), dict.fromkeys((one.name for one in study.variants), 0)
    for run in study.runs:
        trained[run.variant] = max(trained.get(run.variant, 0), len(run.curve))
    found = [_number(one.epochs) or planned or trained[one.name] for one in study.variants]
    known = [epochs for epochs in found if epochs]
    return (min(known), max(known)) if known else (0, 0)


def _word(value: Any) -> str:
    """The last part of a path: folders of the machine are nobody's concern."""
    return str(value).replace("\\", "/").rstrip("/").rpartition("/")[2] if value else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _images(data: Mapping[str, Any]) -> dict[str, int]:
    splits = data.get("splits")
    found = splits if isinstance(splits, Mapping) else {}
    counts = {name: _number(split.get("images")) for name, split in found.items() if isinstance(split, Mapping)}
    return {name: count for name, count in counts.items() if count}


def _versions(provenance: Mapping[str, Any]) -> str:
    environment = provenance.get("environment")
    packages = environment.get("packages") if isinstance(environment, Mapping) else provenance.get("packages")
    names = packages if isinstance(packages, Mapping) else {}
    return ", ".join(f"{name} {names[name]}" for name in ("regard", "torch") if name in names)
