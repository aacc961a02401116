"""What a study compares, on which data, how often and for how long: from a YAML file or from options.

The command line makes its options of these settings, so slow modules are imported where they are used.

A variant is written as ``MODULE@LAYER``: ``SE@sppf``, ``SE(reduction=8)@sppf``, several at once ``SE@p4+ECA@p5``, with
an explicit name ``small=SE(reduction=8)@sppf``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from regard.config import Option, Recipe, Settings, TrainSettings, checked, find_recipe
from regard.errors import RegardError, one_of
from regard.system.files import is_there
from regard.system.interrupts import interrupts_deferred

if TYPE_CHECKING:
    from regard.system.loaders import LineOf

BASE, NOISE = "base", "noise"
"""Names of the variants that every study may have."""

STUDY_DECIDES = ("epochs", "batch", "imgsz", "seed", "recipe", "patience", "plots", "devices")
"""Training settings that the plan or the study itself decides."""

DEVICES = ("auto", "cpu", "cuda", "mps")

PATHS = ("base", "weights", "data", "recipe")
PATH_LISTS = ("model", "module")

SYNTHETIC = "synthetic:"
"""What the name of drawn data starts with."""

EDIT = re.compile(r"(?P<module>[^\W\d][\w.]*)\s*(?:\((?P<options>.*)\)\s*)?@\s*(?P<layer>[\w.-]+)")
NAMED = re.compile(r"\s*(?P<name>[^\W\d][\w.-]*)\s*=(?P<edits>.*\S.*)", re.DOTALL)
EXPECTED_EDIT = "MODULE@LAYER, with options in brackets: SE@sppf, SE(reduction=8)@sppf or SE@p4+ECA@p5"

MOST_SEEDS = 10_000
"""Largest number of seeds that is counted out."""


class StudySettings(Settings):
    """The settings of every study, of detectors or of something else."""

    seeds: tuple[int, ...] = Field(
        (0, 1, 2, 3, 4), min_length=1, description="Seeds: how many, as 5, or which, as 3,7,11"
    )
    epochs: int | None = Field(None, ge=1, description="Budget of each run: epochs (100 unless minutes or images)")
    metric: str = Field("ap", description="Metric on val that decides")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Significance level, over all variants")
    mde: float = Field(0.01, gt=0, lt=1, description="Smallest difference in the metric that matters")
    question: str = Field("", description="Question that the study answers, in words")

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_to_list(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value > MOST_SEEDS:  # which a mistake would take all memory for
                raise ValueError(f"at most {MOST_SEEDS} seeds")
            return tuple(range(value))
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or min(value) < 0:
            raise ValueError("a number of seeds, or a list of different ones, none negative")
        return value

    @property
    def planned_epochs(self) -> int | None:
        """Epochs of every run; None if another budget decides."""
        return self.epochs or TrainSettings().epochs


class Plan(StudySettings):
    """The plan of a study of detectors.

    One of ``epochs``, ``minutes`` and ``images`` is the budget of each run. Minutes are converted to epochs by a short
    measurement of each variant, so every run knows its schedule and all seeds of a variant train equally long.
    """

    renamed: ClassVar[Mapping[str, str]] = {"match": "control_match"}

    base: str = Field(description="Model that all variants are compared with")
    weights: str | None = Field(None, description="Weights loaded into the base for all matching tensors")
    data: str = Field(description="Data set: see `regard data check --help`")
    insert: Annotated[tuple[str, ...], Option(repeat=True)] = Field(
        (), description="Variant with a layer inserted: SE@sppf, name=SE(reduction=8)@p4"
    )
    replace: Annotated[tuple[str, ...], Option(repeat=True)] = Field(
        (), description="Variant with a layer replaced: C3TR@p5"
    )
    model: Annotated[tuple[str, ...], Option(repeat=True)] = Field(
        (), description="Variant that is another model: overlay, YAML, weights, zoo name"
    )
    gate: bool = Field(True, description="Insert layers behind gates that are closed at the start")
    control: Literal["each", "largest", "none"] = Field(
        "each", description="Capacity controls: one for each insertion, for the largest only, or none"
    )
    control_match: Annotated[Literal["parameters", "flops"], Option(old=("--match",))] = Field(
        "parameters", description="What a capacity control has in common with its variant"
    )
    noise: bool = Field(False, description="Train the base again with another data order, as an A/A control")
    minutes: float | None = Field(None, gt=0, description="Budget of each run: minutes of training on this machine")
    images: int | None = Field(None, ge=1, description="Budget of each run: training images, rounded up to epochs")
    imgsz: Annotated[int, Option(flags=("--imgsz", "--img"))] = Field(
        TrainSettings().imgsz, ge=32, description="Input size in pixels"
    )
    batch: int = Field(TrainSettings().batch, ge=1, description="Number of images per step")
    recipe: Annotated[str | Recipe, Option(flags=("--recipe", "--hyp"))] = Field(
        "default", description="Training recipe: default, scratch, yolov5, ultralytics, or a YOLOv5 hyp.yaml"
    )
    train: Annotated[dict[str, Any], Option(repeat=True)] = Field(
        {}, description="Another training setting, as precision=bf16 or cache=ram"
    )
    module: Annotated[tuple[str, ...], Option(repeat=True)] = Field(
        (), description="Your own layers, as my_attention.py:MyBlock"
    )
    epoch: Literal["last", "best"] = Field("last", description="Weights that are measured; the best are chosen on val")

    @field_validator("metric")
    @classmethod
    def _metric_is_measured(cls, value: str) -> str:
        from regard.evaluation.metrics import HEADLINE

        if value not in HEADLINE:
            raise ValueError(one_of(HEADLINE))
        return value

    @field_validator("train")
    @classmethod
    def _is_left_to_the_user(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in STUDY_DECIDES:
            if name in value:
                raise ValueError(f"anything but {name}, which the plan or the study decides")
        if str(value.get("device", "auto")) not in DEVICES:
            raise ValueError(f"device {', '.join(DEVICES)}; CUDA_VISIBLE_DEVICES selects the GPUs")
        try:
            checked(TrainSettings, value)
        except RegardError as error:
            raise RegardError(f"train: {error.what}", expected=error.expected, hint=error.hint) from error
        return value

    @model_validator(mode="after")
    def _is_a_study(self) -> Plan:
        if sum(budget is not None for budget in (self.epochs, self.minutes, self.images)) > 1:
            raise RegardError("several budgets are given", expected="one of epochs, minutes and images")
        for text in (*self.insert, *self.replace):
            parse_variant(text)
        names = Counter([BASE, NOISE, *self.names])
        for name, count in names.items():
            if count > 1:
                raise RegardError(f"the name {name!r} is used twice", expected="variants that differ")
        if not self.names and not self.noise:
            raise RegardError("there is nothing to compare", expected="insert, replace, model or noise")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variants asked for, in order: their own or their edits as written; models by their file."""
        edited = [parse_variant(text)[0] for text in (*self.insert, *self.replace)]
        return (*edited, *map(model_name, self.model))

    @property
    def planned_epochs(self) -> int | None:
        """Epochs of every run; None if minutes or images decide."""
        return None if self.minutes or self.images else super().planned_epochs

    def settings(self, seed: int, epochs: int) -> TrainSettings:
        """Training settings of one run. No run stops early, so all have the same budget.

        Raises:
            RegardError: an unknown recipe.
        """
        recipe = self.recipe if isinstance(self.recipe, Recipe) else find_recipe(self.recipe)
        own = {"epochs": epochs, "batch": self.batch, "imgsz": self.imgsz, "seed": seed, "recipe": recipe}
        return checked(TrainSettings, {**self.train, **own, "patience": 0, "plots": False})


def parse_seeds(text: str) -> int | list[int]:
    """Read ``5`` as a number of seeds, ``3,7`` as two of them.

    Raises:
        RegardError: neither.
    """
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdigit() for part in parts):
        raise RegardError(f"--seeds {text!r}", expected="how many, as 5, or which, as 3,7,11")
    return int(parts[0]) if "," not in text and len(parts) == 1 else [int(part) for part in parts]


@dataclass(frozen=True)
class Edit:
    """One insertion or replacement.

    Attributes:
        module: class name of the new layer.
        layer: name of the layer that it is inserted after, or that it replaces.
        options: arguments of the module by name.
    """

    module: str
    layer: str
    options: Mapping[str, Any] = field(default_factory=dict)


def parse_variant(text: str) -> tuple[str, tuple[Edit, ...]]:
    """Read the name of a variant (by default its edits without spaces) and its edits.

    Raises:
        RegardError: the text is not of this form.

    Example:
        >>> parse_variant("small=SE(reduction=8)@sppf")
        ('small', (Edit(module='SE', layer='sppf', options={'reduction': 8}),))
    """
    name, edits = split_name(text)
    return name or "".join(edits.split()), parse_edits(edits)


def split_name(text: str) -> tuple[str, str]:
    """Separate the name of a variant, "" if it has none, from its edits as written."""
    match = NAMED.fullmatch(text)
    return (match["name"], match["edits"].strip()) if match else ("", text)


def parse_edits(text: str) -> tuple[Edit, ...]:
    """Read the edits of a variant.

    Raises:
        RegardError: the text is not of this form.
    """
    return tuple(_parse_edit(part, text) for part in _split(text, "+"))


def model_name(model: str) -> str:
    """Name of a variant that is another model."""
    return Path(model).stem


@interrupts_deferred()
def make_plan(
    values: Mapping[str, Any], *, file: Path | None = None, lines: LineOf | None = None, overridden: Container[str] = ()
) -> Plan:
    """Validate a user's values; those that are None are left to their defaults.

    Args:
        values: of the fields.
        file: where they come from.
        lines: of the file.
        overridden: names of the values that do not come from the file.

    Raises:
        RegardError: an unknown field (the nearest is suggested), a missing one, or a wrong value.

    Example:
        >>> make_plan({"base": "yolov5n", "data": "coco128", "insert": ["SE@sppf"], "seeds": 3}).seeds
        (0, 1, 2)
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        for name in ("base", "data"):
            if name not in given:
                raise RegardError(f"the plan has no {name!r}", expected=Plan.model_fields[name].description)
        return checked(Plan, given)
    except RegardError as error:
        if error.file is not None:  # one that the plan names
            raise
        place = _place_of(error.what, given)
        line = (lines or {}).get(place) if place else None
        if place and place[0] in overridden:
            file, line = None, None
        raise error.at(file, line) from error


@interrupts_deferred()
def read_plan(file: str | Path, overrides: Mapping[str, Any] | None = None, *, trust: bool = False) -> Plan:
    """Read a plan from a YAML file. Paths in it are relative to its folder, if something exists there.

    Args:
        file: a mapping of the fields of ``Plan``; a list of one may be written without brackets.
        overrides: fields that replace the file's, if they are not None.
        trust: whether the modules that the file names, which are programs, may be imported.

    Raises:
        RegardError: missing, no YAML, or wrong; with file, line and the nearest valid choice. Or it names modules, is
            not trusted, and ``overrides`` names no others.
    """
    from regard.graph.document import read_document
    from regard.system.files import is_file, reject_special
    from regard.system.loaders import MOST_YAML, read_text

    path = Path(file)
    if not is_file(path):
        reject_special(path)
        raise RegardError("there is no such plan", file=path, expected="a YAML file with base, data and insert")
    document, lines = read_document(
        read_text(path, MOST_YAML), path, what="not a plan", expected="a mapping with base, data and insert"
    )
    values = {name: _located(name, value, path.parent) for name, value in document.items()}
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    if (named := values.get("module")) and not trust and "module" not in given:
        what = ", ".join(map(str, named)) if isinstance(named, list) else repr(named)
        raise RegardError(
            f"the plan names code that would run: {what:.200}",
            file=path,
            line=lines.get(("module", -1)),
            expected="modules that are named on the command line, with --module",
            hint="if you trust the plan: --trust-plan (in Python: read_plan(..., trust=True))",
        )
    return make_plan({**values, **given}, file=path, lines=lines, overridden=given)


def _parse_edit(part: str, whole: str) -> Edit:
    match = EDIT.fullmatch(part.strip())
    if match is None:
        raise RegardError(f"{whole!r} is not an edit", expected=EXPECTED_EDIT)
    return Edit(match["module"], match["layer"], dict(_option(o, whole) for o in _split(match["options"] or "", ",")))


def _option(text: str, whole: str) -> tuple[str, Any]:
    from regard.system.loaders import parse_yaml

    name, equals, value = (piece.strip() for piece in text.partition("="))
    if not equals or not name.isidentifier():
        raise RegardError(f"{whole!r}: {text.strip()!r} is not an option", expected="name=value, such as reduction=8")
    try:
        return name, parse_yaml(value, None)[0]
    except RegardError as error:
        what = f"{whole!r:.200}: {value!r:.80} cannot be read ({error.what:.80})"
        raise RegardError(what, expected="a number, word or [list]") from error


def _split(text: str, separator: str) -> list[str]:
    """Split at a separator outside of brackets; empty text has no parts."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if text.strip() else []


def _located(name: str, value: Any, folder: Path) -> Any:
    if name in (*PATH_LISTS, "insert", "replace") and isinstance(value, str):
        value = [value]
    if name in PATH_LISTS and isinstance(value, list):
        return [_relative(entry, folder) for entry in value]
    return _relative(value, folder) if name in PATHS else value


def _relative(value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or value.startswith(SYNTHETIC):
        return value
    file, dots, rest = value.partition(".py:")
    there = folder / (f"{file}.py" if dots else file)
    if not is_there(there):
        return value
    return f"{there}:{rest}" if dots else str(there)


def _spellings(entry: str) -> set[str]:
    """All that a message may call a list entry: as written, without spaces, its name, its edits."""
    return {entry, "".join(entry.split()), *split_name(entry)} - {""}


def _place_of(what: str, given: Mapping[str, Any]) -> tuple[str, int] | None:
    """The list entry (field and position), else the field (and -1), that a message mentions."""
    for name, value in given.items():
        for i, entry in enumerate(value if isinstance(value, Sequence) and not isinstance(value, str) else ()):
            if isinstance(entry, str) and any(repr(spelling) in what for spelling in _spellings(entry)):
                return name, i
    starts = {name: (f"{name} is ", f"{name}.", f"{name}: ") for name in given}
    mentioned = [name for name in given if what.startswith(starts[name]) or repr(name) in what]
    return (mentioned[0], -1) if mentioned else None
