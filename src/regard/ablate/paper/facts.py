"""What a study records, as the paragraphs of all languages need it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regard.ablate.folder import StudyRecord
from regard.ablate.paper.machines import Machines, machines_of
from regard.ablate.report.power import detected_lines
from regard.ablate.schema import metric_name
from regard.ablate.verdict import Judgement, PowerAnalysis, Results, Verdict
from regard.data.paths import dataset_name


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
        machines: what the runs were trained on and with.
        judgements: of every variant against the base.
        beyond: of those variants that have a capacity control, against it.
        matched: what a capacity control has in common with its variant, "parameters" or "flops".
        has_gates: whether inserted layers lie behind gates that are closed at the start.
        has_other_models: whether variants are models of their own, which may have weights.
        recipe: training recipe of a study of detectors.
        has_own_recipe: whether the plan gives the values of the recipe, rather than the name of one of regard's.
        settings: training settings that differ from it; device and precision are in ``machines`` if known.
        has_noise: whether the base was trained again with other augmentation.
        power: what the study could detect.
        detected: the same in English sentences, those of the report.
        level: mean of the metric over the runs of the base; NaN without any.
        level_seeds: number of these runs.
        failed: number of failed runs.
        without_value: number of finished runs whose metric is not finite, as after a training that diverged.
        unfinished: number of runs that are neither finished nor failed.
        epoch: "last" or "best": which weights were measured.
        overlap: what is known of images that are in train and val.
        test: mean paired difference on the test split and number of pairs of every variant, if it was evaluated.
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
    machines: Machines
    judgements: Mapping[str, Judgement]
    beyond: Mapping[str, Judgement]
    matched: str
    has_gates: bool
    has_other_models: bool
    recipe: str
    has_own_recipe: bool
    settings: Mapping[str, str]
    has_noise: bool
    power: PowerAnalysis
    detected: Sequence[str]
    level: float
    level_seeds: int
    failed: int
    without_value: int
    unfinished: int
    epoch: str
    overlap: Sequence[str]
    test: Mapping[str, tuple[float, int]]

    @property
    def is_of_detectors(self) -> bool:
        """Whether regard trained detectors, so that it is known what both runs of a pair share."""
        return bool(self.base)

    @property
    def has_no_test(self) -> bool:
        """Whether the data set is known to have no test split."""
        return bool(self.images) and not self.images.get("test")

    @property
    def has_intervals(self) -> bool:
        """Whether any variant has an interval."""
        return any(not math.isnan(one.sd) for one in self.judgements.values())

    @property
    def undecided(self) -> list[str]:
        """Variants about which the study cannot tell."""
        return _undecided(self.judgements)

    @property
    def undecided_beyond(self) -> list[str]:
        """Variants about which the study cannot tell whether they differ from their capacity controls."""
        return _undecided(self.beyond)


def facts_of(study: StudyRecord, results: Results) -> Facts:
    """Collect the facts of a study."""
    plan, provenance = study.plan, study.provenance
    known = study.measured(study.base.name)
    statuses = [run.status for run in study.runs]
    data = provenance.get("data")
    data = data if isinstance(data, Mapping) else {}
    overlap = data.get("overlap", ())
    machines, recipe = machines_of(study), plan.get("recipe")
    return Facts(
        metric=metric_name(study.metric),
        alpha=study.alpha,
        mde=study.mde,
        seeds=len(study.seeds),
        base=_word(plan.get("base")),
        weights=_word(plan.get("weights")),
        data=_data_name(str(plan.get("data") or "")),
        images=_images(data),
        epochs=_epochs(study),
        minutes=float(plan.get("minutes") or 0),
        samples=_number(plan.get("images")),
        imgsz=_number(plan.get("imgsz")),
        batch=_number(plan.get("batch")),
        machines=machines,
        judgements=results.judgements,
        beyond=results.beyond,
        matched=str(plan.get("control_match") or plan.get("match") or "parameters"),
        has_gates=bool(plan.get("gate")) and bool(plan.get("insert")),
        has_other_models=bool(plan.get("model")),
        recipe=_word(recipe.get("name") or "own" if isinstance(recipe, Mapping) else recipe),
        has_own_recipe=isinstance(recipe, Mapping),
        settings=_settings(plan.get("train"), ("device", "precision") if machines.devices else ()),
        has_noise=any(variant.role == "noise control" for variant in study.variants),
        power=results.power,
        detected=detected_lines(study, results),
        level=sum(known) / len(known) if known else math.nan,
        level_seeds=len(known),
        failed=statuses.count("failed"),
        without_value=statuses.count("finished") - sum(len(study.measured(one.name)) for one in study.variants),
        unfinished=len(statuses) - statuses.count("failed") - statuses.count("finished"),
        epoch="best" if plan.get("epoch") == "best" else "last",
        overlap=[str(line) for line in overlap]
        if isinstance(overlap, Sequence) and not isinstance(overlap, str)
        else [],
        test=_test(study, results),
    )


def _undecided(judgements: Mapping[str, Judgement]) -> list[str]:
    return [name for name, judged in judgements.items() if judged.verdict is Verdict.CANT_TELL]


def _settings(train: Any, known: Sequence[str]) -> dict[str, str]:
    given = train if isinstance(train, Mapping) else {}
    shown = {name: " ".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in given.items()}
    return {str(name): value for name, value in shown.items() if name not in known}


def _test(study: StudyRecord, results: Results) -> dict[str, tuple[float, int]]:
    """Mean paired differences from the base on the test split, where it was evaluated."""
    base = study.test.get(study.base.name, {})
    found = {}
    for name in results.judgements:
        own = study.test.get(name, {})
        pairs = [(own[seed], base[seed]) for seed in own.keys() & base.keys()]
        values = [ours.get(study.metric, math.nan) - theirs.get(study.metric, math.nan) for ours, theirs in pairs]
        values = [value for value in values if math.isfinite(value)]
        if values:
            found[name] = (sum(values) / len(values), len(values))
    return found


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


def _data_name(source: str) -> str:
    """The name of a data set; numbers of drawn images are stated with it, not in it."""
    return dataset_name(source.partition("?")[0] if source.startswith("synthetic:") else source)


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _images(data: Mapping[str, Any]) -> dict[str, int]:
    splits = data.get("splits")
    found = splits if isinstance(splits, Mapping) else {}
    counts = {name: _number(split.get("images")) for name, split in found.items() if isinstance(split, Mapping)}
    return {name: count for name, count in counts.items() if count}
