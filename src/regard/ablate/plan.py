"""What a study is to compare, on what, how often and for how long: from a YAML file or from flags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from regard.ablate.notation import parse_variant, split_name
from regard.config import Recipe, Settings, TrainSettings, checked, find_recipe
from regard.data.files import is_file, read_text
from regard.data.synthetic import PREFIX
from regard.errors import RegardError, nearest
from regard.evaluation.metrics import HEADLINE
from regard.graph.document import LineOf, read_document

BASE, NOISE = "base", "noise"
"""Names of the variants that every study may have."""

OWN = ("epochs", "batch", "imgsz", "seed", "recipe", "patience", "plots", "devices")
"""Settings of a training that the plan or the study itself decides."""

DEVICES = ("auto", "cpu", "cuda", "mps")

PATHS = ("base", "weights", "data", "recipe")
PATH_LISTS = ("model", "module")


class Plan(Settings):
    """A study as planned.

    One of ``epochs``, ``minutes`` and ``images`` is the budget of each run. Minutes are turned into epochs by a short
    measurement of each variant, so that every run knows its schedule and all seeds of a variant train equally long.
    """

    base: str = Field(description="the model that all others are compared with")
    weights: str | None = Field(None, description="fills the base as far as its tensors have a place")
    data: str
    insert: tuple[str, ...] = Field((), description="insertions, each a variant: SE@sppf, name=SE(ratio=8)@sppf")
    replace: tuple[str, ...] = Field((), description="replacements, each a variant: C3TR@p5 puts C3TR in p5's place")
    model: tuple[str, ...] = Field((), description="other models, each a variant: overlays, YAMLs, weights, zoo names")
    gate: bool = Field(True, description="whether what is inserted stands behind a gate, closed at the start")
    control: Literal["each", "largest", "none"] = Field(
        "each", description="plain convolutions of equal capacity for each insertion, or for the largest only"
    )
    match: Literal["parameters", "flops"] = Field("parameters", description="what of a control equals the variant's")
    noise: bool = Field(False, description="train the base again on another order and other augmentation draws")
    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), min_length=1, description="how many, or which")
    epochs: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0, description="of training, on this machine")
    images: int | None = Field(None, ge=1, description="training images seen, rounded up to whole epochs")
    imgsz: int = Field(TrainSettings().imgsz, ge=32)
    batch: int = Field(TrainSettings().batch, ge=1)
    recipe: str | Recipe = "default"
    train: dict[str, Any] = Field({}, description="other settings of a training: precision, device, freeze, ...")
    module: tuple[str, ...] = Field((), description="your own layers, as my_attention.py:MyBlock")
    epoch: Literal["last", "best"] = Field("last", description="whose weights are measured; the best is chosen on val")
    metric: str = "ap"
    alpha: float = Field(0.05, gt=0, lt=0.5)
    mde: float = Field(0.01, gt=0, lt=1, description="smallest difference that matters")
    question: str = ""

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_to_list(cls, value: Any) -> Any:
        return tuple(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or min(value) < 0:
            raise ValueError("a number of seeds, or a list of different ones, none negative")
        return value

    @field_validator("metric")
    @classmethod
    def _metric_is_measured(cls, value: str) -> str:
        if value not in HEADLINE:
            raise ValueError("one of " + ", ".join(HEADLINE))
        return value

    @field_validator("train")
    @classmethod
    def _not_what_the_plan_says(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in OWN:
            if name in value:
                raise ValueError(f"anything but {name}, which the plan or the study decides")
        if str(value.get("device", "auto")) not in DEVICES:
            raise ValueError(f"device {', '.join(DEVICES)}; CUDA_VISIBLE_DEVICES says which GPUs may be used")
        try:
            checked(TrainSettings, value)
        except RegardError as error:
            raise RegardError(f"train: {error.what}", expected=error.expected, hint=error.hint) from error
        return value

    @model_validator(mode="after")
    def _is_a_study(self) -> Plan:
        if sum(budget is not None for budget in (self.epochs, self.minutes, self.images)) > 1:
            raise RegardError("there are several budgets", expected="one of epochs, minutes and images")
        for text in (*self.insert, *self.replace):
            parse_variant(text)
        names = Counter([BASE, NOISE, *self.names])
        for name, count in names.items():
            if count > 1:
                raise RegardError(f"the name {name!r} is there twice", expected="variants that differ")
        if not self.names and not self.noise:
            raise RegardError("there is nothing to compare", expected="insert, replace, model or noise")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variants that were asked for, in order: their own or edits as written; models by file's stem."""
        edited = [parse_variant(text)[0] for text in (*self.insert, *self.replace)]
        return (*edited, *map(model_name, self.model))

    @property
    def planned_epochs(self) -> int | None:
        """Epochs of every run; None where minutes or images decide."""
        return None if self.minutes or self.images else self.epochs or TrainSettings().epochs

    def settings(self, seed: int, epochs: int) -> TrainSettings:
        """Return the settings of one run. No run stops early, so that all have the same budget.

        Raises:
            RegardError: an unknown recipe.
        """
        recipe = self.recipe if isinstance(self.recipe, Recipe) else find_recipe(self.recipe)
        own = {"epochs": epochs, "batch": self.batch, "imgsz": self.imgsz, "seed": seed, "recipe": recipe}
        return checked(TrainSettings, {**self.train, **own, "patience": 0, "plots": False})


def model_name(model: str) -> str:
    """Return the name of a variant that is another model."""
    return Path(model).stem


def make_plan(values: Mapping[str, Any], *, file: Path | None = None, lines: LineOf | None = None) -> Plan:
    """Return a plan made of what a user gave; fields that are None are left to their defaults.

    Raises:
        RegardError: an unknown field (the nearest is suggested), a missing one, or a wrong value.
    """
    lines = lines or {}
    given = {name: value for name, value in values.items() if value is not None}
    for name in given:
        if name not in Plan.model_fields:
            raise RegardError(
                f"a plan has no {name!r}",
                file=file,
                line=lines.get((name, -1)),
                expected="one of " + ", ".join(Plan.model_fields),
                hint=nearest(name, Plan.model_fields),
            )
    try:
        return Plan.model_validate(given)
    except ValidationError as error:
        raise _told(error, file, lines) from error
    except RegardError as error:
        if error.file is not None:
            raise
        line = _line_of(error.what, given, lines)
        raise RegardError(error.what, file=file, line=line, expected=error.expected, hint=error.hint) from error


def read_plan(file: str | Path, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Return the plan that a YAML file holds. Paths in it count from its folder, where something lies there.

    Args:
        file: a mapping of the fields of ``Plan``; a list may be written as one word.
        overrides: fields that replace the file's, where they are not None.

    Raises:
        RegardError: missing, no YAML, or wrong; with file, line and the nearest valid choice.
    """
    path = Path(file)
    if not is_file(path):
        raise RegardError("there is no such plan", file=path, expected="a YAML file with base, data and insert")
    document, lines = read_document(
        read_text(path), path, what="not a plan", expected="a mapping with base, data and insert"
    )
    values = {name: _located(name, value, path.parent) for name, value in document.items()}
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    return make_plan({**values, **given}, file=path, lines=lines)


def _located(name: str, value: Any, folder: Path) -> Any:
    if name in (*PATH_LISTS, "insert", "replace") and isinstance(value, str):
        value = [value]
    if name in PATH_LISTS and isinstance(value, list):
        return [_beside(entry, folder) for entry in value]
    return _beside(value, folder) if name in PATHS else value


def _beside(value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or value.startswith(PREFIX):
        return value
    file, dots, rest = value.partition(".py:")
    there = folder / (f"{file}.py" if dots else file)
    return f"{there}:{rest}" if dots and there.exists() else str(there) if there.exists() else value


def _spellings(entry: str) -> set[str]:
    """Return what a message may call a list entry: as written, without spaces, its name, its edits."""
    return {entry, "".join(entry.split()), *split_name(entry)} - {""}


def _told(error: ValidationError, file: Path | None, lines: LineOf) -> RegardError:
    first = error.errors()[0]
    name, *rest = first["loc"]
    item = rest[0] if rest and isinstance(rest[0], int) else -1
    line = lines.get((str(name), item), lines.get((str(name), -1)))
    if first["type"] == "missing":
        return RegardError(f"the plan has no {name!r}", file=file, expected=_description(str(name)))
    message = first["msg"].removeprefix("Value error, ")
    what = f"{'.'.join(map(str, first['loc']))} is {first['input']!r}"
    return RegardError(what, file=file, line=line, expected=message)


def _description(name: str) -> str:
    return Plan.model_fields[name].description or {"data": "a data set to train and validate on"}.get(name, "a value")


def _line_of(what: str, given: Mapping[str, Any], lines: LineOf) -> int | None:
    """Return the line of the list entry, else of the field, that a message speaks of."""
    for name, value in given.items():
        for i, entry in enumerate(value if isinstance(value, Sequence) and not isinstance(value, str) else ()):
            if isinstance(entry, str) and any(repr(said) in what for said in _spellings(entry)):
                return lines.get((name, i))
    return next((lines.get((name, -1)) for name in given if what.startswith(f"{name}: ")), None)
