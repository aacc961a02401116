"""What the page gets, beyond the values of the Python API that it gets as they are."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from regard.ablate.listing import StudyInfo
from regard.api.edits import EditEffect, Recipe
from regard.config import IMGSZ
from regard.data.statistics import DataStatistics
from regard.detections import Detections
from regard.evaluation.error_analysis import ErrorKind
from regard.graph.correct import Correction
from regard.graph.diagram import Diagram
from regard.graph.renumber import Renumbering
from regard.studio.jobs import Pending
from regard.training.history import RunInfo
from regard.types import LetterboxTransform
from regard.visualize.panels import Panel, map_edges
from regard.weights.difference import CostDifference, LayerDifference, TensorDifference


class Work(BaseModel):
    """All runs and studies of the workspace, the latest first.

    ``waiting`` names those that wait, ``running`` what this or another studio has started and can be stopped here, and
    ``pending`` what has not begun.
    """

    runs: list[RunInfo]
    studies: list[StudyInfo]
    waiting: list[str]
    running: list[str]
    pending: list[Pending]


class Fault(BaseModel):
    """An error that the user can correct: the parts of a `RegardError`."""

    what: str
    file: str | None = None
    line: int | None = None
    expected: str | None = None
    hint: str | None = None


class Given(BaseModel):
    """Weights that a graph was given: their file, how many tensors were filled, and the report, a line per entry."""

    file: str
    kept: int
    partly: int
    tensors: int
    report: list[str]


class Opened(BaseModel):
    """The open model and everything that is shown of it.

    ``version`` counts what was shown; ``unsaved`` is whether it has edits or corrections that are in no file, and
    ``trained`` whether it came with weights or was ``given`` some. ``warnings`` are those of the request.
    """

    version: int
    unsaved: bool
    trained: bool
    given: Given | None
    warnings: list[str] = []
    source: str
    text: str
    diagram: Diagram
    difference: EditEffect | None
    edits: list[str]
    recipe: Recipe
    undo: bool
    redo: bool
    findings: list[Correction]
    integers: Renumbering | None
    integers_fault: str


class Files(BaseModel):
    """What can be opened."""

    zoo: list[str]
    models: list[str]
    weights: list[str]
    images: list[str]
    videos: list[str]
    data: str | None


class Box(BaseModel):
    """A detection or a label: left, top, right, bottom in pixels of the image."""

    box: tuple[float, float, float, float]
    score: float
    class_id: int
    name: str


def boxes_of(found: Detections) -> list[Box]:
    """Convert detections, the best first."""
    rows = zip(found.boxes_xyxy.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True)
    return [Box(box=box, score=score, class_id=k, name=str(found.names.get(k, k))) for box, score, k in rows]


class Kept(BaseModel):
    """An image that was opened, with its labels if it is of the data set."""

    key: str
    name: str
    width: int
    height: int
    labels: list[Box] = []


class Played(BaseModel):
    """A frame of a video with its detections; ``image`` is a JPEG as base64."""

    number: int
    width: int
    height: int
    image: str
    boxes: list[Box]


class Detected(BaseModel):
    """Detections, the best first."""

    boxes: list[Box]


class DataView(BaseModel):
    """The open data set."""

    source: str
    format: str
    names: list[str]
    statistics: DataStatistics


class Place(BaseModel):
    """An image of the open data set."""

    split: str
    index: int


class Finding(BaseModel):
    """A problem of the data set, with its image where it is of one."""

    where: str
    found: str
    image: Place | None


class Findings(BaseModel):
    """Problems of one kind: how many, how they are handled, whether something is not used, and the first of them."""

    kind: str
    done: str
    lost: bool
    count: int
    first: list[Finding]


class Checked(BaseModel):
    """The progress of a check in images, and at the end all problems, by kind."""

    state: Literal["running", "finished", "stopped", "failed"]
    done: int
    total: int
    fault: str = ""
    findings: list[Findings] = []


class SampleView(BaseModel):
    """An image of the open data set, with its labels, and its detections where they are known."""

    name: str
    width: int
    height: int
    labels: list[Box]
    detections: list[Box]


class Mistake(BaseModel):
    """An error of the model on an image of the data set, whose ``box`` is in pixels of the image."""

    image: Place
    kind: ErrorKind
    box: tuple[float, float, float, float]
    name: str
    other: str
    score: float
    iou: float
    badness: float


class Errors(BaseModel):
    """The progress of an analysis in images; at the end AP, the number of errors of each kind, and the worst."""

    state: Literal["running", "finished", "stopped", "failed"]
    split: str
    done: int
    total: int
    fault: str = ""
    ap: float | None = None
    ap50: float | None = None
    kinds: dict[str, int] = {}
    worst: list[Mistake] = []


class Grid(BaseModel):
    """A map: float32 values in reading order, little endian, as base64, and the ends of its colour scale."""

    heading: str
    rows: int
    columns: int
    values: str
    low: float
    high: float

    @classmethod
    def of(cls, panel: Panel) -> Grid:
        """Convert a panel."""
        rows, columns = panel.values.shape
        values = base64.b64encode(np.ascontiguousarray(panel.values, "<f4").tobytes()).decode()
        return cls(heading=panel.heading, rows=rows, columns=columns, values=values, low=panel.low, high=panel.high)


class Maps(BaseModel):
    """Maps to draw over an image.

    ``edges`` are left, right, bottom and top of all maps in pixels of the image; ``channels`` the weight of each
    channel, where there is one.
    """

    title: str
    grids: list[Grid]
    channels: list[float] | None
    edges: tuple[float, float, float, float]
    query: tuple[float, float] | None
    box: tuple[float, float, float, float] | None

    @classmethod
    def of(
        cls,
        title: str,
        panels: Sequence[Panel],
        placement: LetterboxTransform,
        size: tuple[int, int],
        **more: Any,
    ) -> Maps:
        """Convert panels on the input of the network."""
        known = {"channels": None, "query": None, "box": None, **more}
        return cls(title=title, grids=list(map(Grid.of, panels)), edges=map_edges(placement, size), **known)


class Timed(BaseModel):
    """Measured time of each layer by name in ms and peak memory in MiB, of the whole, and where it was measured."""

    milliseconds: dict[str, float]
    peak_mib: dict[str, float]
    total: float
    base_total: float | None
    device: str
    imgsz: int = IMGSZ


class Comparison(BaseModel):
    """Two models, ``a`` and ``b``: their graphs, and what differs."""

    names: tuple[str, str]
    a: Diagram
    b: Diagram
    layers: list[LayerDifference]
    tensors: TensorDifference
    costs: CostDifference
    classes: str


class Predicted(BaseModel):
    """Latency in ms: measured of the base, and predicted of the open model."""

    base: float
    edited: float
    imgsz: int


class Started(BaseModel):
    """The folder of a run that was started or waits, relative to the workspace."""

    path: str


class Saved(BaseModel):
    """A file that was written, relative to the workspace, and whether what is shown still is in no file."""

    path: str
    unsaved: bool
