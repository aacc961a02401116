"""What the files of a run state about the model that is published; anyone may have written or damaged them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regard.config import ValSettings
from regard.config.faults import first_fault
from regard.data.paths import dataset_name
from regard.diagnosis.record import TABLE, read_table
from regard.errors import RegardError, first_names
from regard.evaluation.metrics import HEADLINE
from regard.graph.detector import Detector
from regard.system.files import is_there
from regard.system.loaders import read_json_mapping
from regard.training.folder import read_config
from regard.weights.paths import weights_of_run
from regard.weights.store import load_weights

CONFIG, METRICS = "run.json", "metrics.json"
RESULTS = (TABLE, METRICS)
"""Files of a run that are published as they are, if they are there."""

MOST_NAMED = 5
"""Classes that an error names."""

Count = Annotated[int, Field(ge=0)]
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None
"""None is written for NaN, as of a size of objects that does not occur."""


class _Facts(BaseModel):
    """Values from a file of a run, whatever else it states."""

    model_config = ConfigDict(strict=True, extra="allow")


F = TypeVar("F", bound=_Facts)


class _Split(_Facts):
    images: Count
    boxes: Count


class Data(_Facts):
    """What a run or a study states of its data."""

    source: str = "unknown"
    splits: dict[str, _Split] = {}
    also_in_train: dict[str, Count] = {}

    @property
    def name(self) -> str:
        """Name of the data set without the folders of its machine; "" if unknown."""
        return dataset_name(self.source)

    @property
    def sizes(self) -> str:
        """Images and boxes of each split."""
        found = (f"{name} {split.images} images with {split.boxes} boxes" for name, split in self.splits.items())
        return ", ".join(found)


class _Recipe(_Facts):
    name: str


class _Settings(_Facts):
    epochs: Count
    imgsz: Count | list[Count]
    batch: Count
    seed: Count
    recipe: _Recipe


class _Config(_Facts):
    """What ``run.json`` states."""

    data: Data = Data()
    settings: _Settings


class _ClassMetrics(_Facts):
    name: str
    labels: Count
    ap: Score = None
    ap50: Score = None


class Metrics(_Facts):
    """What ``metrics.json`` states."""

    split: str = ValSettings().split
    images: Count
    epoch: Count | None = None
    per_class: list[_ClassMetrics] = []
    ap: Score = None
    ap50: Score = None
    ap75: Score = None
    ap_small: Score = None
    ap_medium: Score = None
    ap_large: Score = None
    precision: Score = None
    recall: Score = None
    f1: Score = None
    confidence: Score = None

    def headline(self) -> dict[str, float]:
        """The metrics of `HEADLINE` that are numbers."""
        values = {name: getattr(self, name) for name in HEADLINE}
        return {name: float(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class RunFacts:
    """What a run states.

    Attributes:
        config: settings and data.
        metrics: of the published weights.
        trained: number of epochs in the table of results, or None without a table.
    """

    config: _Config
    metrics: Metrics
    trained: int | None

    @property
    def data_name(self) -> str:
        """Name of the data set without the folders of this machine."""
        return self.config.data.name or "unknown"

    @property
    def also_trained_on(self) -> int:
        """Number of the images that were measured on that are in train, too, as far as the run recorded it."""
        return self.config.data.also_in_train.get(self.metrics.split, 0)


def read_facts(folder: Path, detector: Detector) -> RunFacts:
    """Read the files of a run and check that they are of one run, whose best weights are those of the detector.

    Raises:
        RegardError: a file is a link, is missing, is damaged or contradicts another one.
    """
    weights = weights_of_run(folder)
    for file in (weights, *(folder / name for name in (CONFIG, *RESULTS))):
        if file.is_symlink():
            raise RegardError("this is a link", file=file, expected="a file: what it leads to is not published")
    read_config(folder)
    if not is_there(folder / METRICS):
        hint = "continue it with regard train --resume, or publish a file of its weights without metrics"
        raise RegardError(f"the run has not ended: it has no {METRICS}", file=folder, hint=hint)
    rows = read_table(folder / TABLE).rows
    trained = max((int(row["epoch"]) for row in rows), default=None)
    facts = RunFacts(_facts(_Config, folder / CONFIG), _facts(Metrics, folder / METRICS), trained)
    _check_epochs(facts, weights)
    measured, names = [entry.name for entry in facts.metrics.per_class], list(detector.names.values())
    if measured and measured != names:
        first, second = first_names(measured, MOST_NAMED), first_names(names, MOST_NAMED)
        what = f"the metrics are of the classes {first}, the weights of {second}"
        raise RegardError(what, file=folder / METRICS, expected="metrics of these weights")
    return facts


def read_data(value: object) -> Data | None:
    """What a study states of its data; None where it is of another form, as from another program."""
    try:
        return Data.model_validate(value)
    except ValidationError:
        return None


def _check_epochs(facts: RunFacts, weights: Path) -> None:
    """Check that no more epochs were trained than planned, and that the metrics are of the weights' epoch."""
    planned, measured = facts.config.settings.epochs, facts.metrics.epoch
    if facts.trained is not None and facts.trained > planned:
        what = f"{facts.trained} epochs were trained of {planned} in {CONFIG}"
        raise RegardError(what, file=weights.parent / TABLE, expected="the table of this run")
    saved = load_weights(weights)[1].extra.get("epoch")
    if measured is not None and (measured != saved or measured > planned):
        what = f"the metrics are of epoch {measured}, and {weights.name} of epoch {saved}"
        if not isinstance(saved, int):
            what = f"the metrics are of epoch {measured}, and {weights.name} is not of a training"
        raise RegardError(what, file=weights.parent / METRICS, expected="metrics of these weights")


def _facts(kind: type[F], file: Path) -> F:
    try:
        return kind.model_validate(read_json_mapping(file))
    except ValidationError as error:
        raise first_fault(error).error(file) from error
