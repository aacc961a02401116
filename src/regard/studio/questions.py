"""What the page asks for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from regard.config import IMGSZ, PREDICT, ValSettings

Name = Field(min_length=1, max_length=300)


class Question(BaseModel):
    """A request; unknown keys are rejected."""

    model_config = ConfigDict(extra="forbid")


class OpenQuestion(Question):
    """Open a model of the zoo, or a file by its path in the workspace."""

    source: str = Name


class TextQuestion(Question):
    """Open the text of a model file."""

    text: str
    name: str = Name


class WeightsQuestion(Question):
    """Give the open graph the weights of a file of the workspace."""

    source: str = Name


class CorrectQuestion(Question):
    """Put the corrected rows into these lines of the open text."""

    lines: list[int]


class EditQuestion(Question):
    """Edit the open model; texts among the options are read as YAML, as on the command line."""

    kind: Literal["insert", "replace", "remove"]
    layer: str = Name
    module: str = Field("", max_length=300)
    options: dict[str, Any] = {}
    gate: bool = True
    readers: list[str] | None = None


class DiffQuestion(Question):
    """Compare two models of the zoo or the workspace; "" is the open one."""

    a: str = Field("", max_length=300)
    b: str = Field("", max_length=300)


class CostQuestion(Question):
    """Count a module of the catalogue after a layer; texts among the options are read as YAML."""

    after: str = Name
    module: str = Name
    options: dict[str, Any] = {}
    gate: bool = False


class SaveQuestion(Question):
    """Write the open model into the workspace."""

    form: Literal["overlay", "yaml", "integers", "safetensors"]
    name: str = Name
    ungated: bool = False
    overwrite: bool = False


class DetectQuestion(Question):
    """Detect objects in an image with the open model, or with the base of its edits."""

    image: str = Name
    conf: float = Field(PREDICT.conf, ge=0.01, le=1)
    iou: float = Field(PREDICT.iou, ge=0, le=1)
    base: bool = False


class AttendQuestion(Question):
    """Look at an attention layer, at the gradient of a detection, or at the maps of any layer."""

    image: str = Name
    layer: str = Name
    kind: Literal["map", "gradient", "features"] = "map"
    x: float | None = None
    y: float | None = None
    base: bool = False


class TrainQuestion(Question):
    """Train the open model; without ``data`` on the data set that was named at the start.

    ``settings`` are those that differ from their defaults, as typed into the form.
    """

    name: str = Name
    data: str = ""
    settings: dict[str, Any] = {}


class StudyQuestion(TrainQuestion):
    """Start a study; without ``base`` of the model before the edits."""

    base: str = ""


class DataQuestion(Question):
    """Open a data set; without ``data`` the one that was named at the start."""

    data: str = Field("", max_length=300)


class ErrorsQuestion(Question):
    """Find the errors of the open model on a split of the open data set."""

    split: str = Field(ValSettings().split, max_length=40)
    conf: float = Field(PREDICT.conf, ge=0.01, le=1)
    imgsz: int = Field(IMGSZ, ge=32, le=4096)


class RunQuestion(Question):
    """A run or a study by its folder in the workspace."""

    run: str = Name


class CompareQuestion(Question):
    """Compare runs by their folders in the workspace."""

    runs: list[str] = Field(min_length=1, max_length=20)
