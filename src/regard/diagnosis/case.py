"""What the causes are checked on: a run, and its data set and weights, which are opened when they are needed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from regard.data.check import CheckReport, check_data
from regard.data.dataset import DetectionDataset, Sample
from regard.data.formats import load_data
from regard.data.paths import Located, resolve
from regard.data.problems import drop_unreadable
from regard.data.split import divide
from regard.data.synthetic import PREFIX
from regard.diagnosis.findings import GIVE_DATA, GIVE_WEIGHTS, OPEN_IMAGES, NotChecked
from regard.diagnosis.record import TrainingRecord
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.graph.read import GRAPHS, zoo
from regard.system.terminal import printable_line
from regard.training.prepare import box_sizes
from regard.weights.detector import Modules, load_detector
from regard.weights.paths import weights_of

USUAL_NAMES = {
    *("data.yaml", "data.yml", "dataset.yaml", "data", "dataset", "datasets", "weights"),
    *(f"{name}.{suffix}" for name in ("best", "last") for suffix in ("pt", "safetensors")),
}
"""Names of files and folders that data sets and runs have in common, in lower case."""
UNKNOWN_START = "the folder does not state what training started from: name it with --weights"
LEVELS_UP = 4
"""Folders above a run's in which its relative paths are looked for."""


class Case:
    """A run with everything that is known about it.

    Args:
        run: what its folder states.
        data: where the data set is, if not where the run states.
        start: where the weights that it started from are, if not where the run states.
        modules: the user's own layers.
        images: whether images may be opened.
        against: a second run to compare with.
    """

    def __init__(
        self,
        run: TrainingRecord,
        *,
        data: str | None = None,
        start: str | None = None,
        modules: Modules | None = None,
        images: bool = True,
        against: TrainingRecord | None = None,
    ) -> None:
        self.run, self._data, self._start, self.modules, self.images = run, data, start, modules, images
        self._against = against

    @property
    def against(self) -> TrainingRecord:
        """The second run."""
        if self._against is None:
            raise NotChecked("no second run was given (--against)")
        return self._against

    @cached_property
    def other(self) -> Case:
        """The second run with its data set."""
        data = self._data if self.against.data == self.run.data else None
        return Case(self.against, data=data, modules=self.modules, images=self.images)

    @property
    def data_place(self) -> str:
        """Where the data set is."""
        return self.data_found[0]

    @cached_property
    def data_found(self) -> tuple[str, str]:
        """Where the data set is, and how it was found if it is not where the run states."""
        stated = self._data or self.run.data
        if self._data or stated.startswith(PREFIX):
            return stated, ""
        if not stated:
            raise NotChecked("the folder does not state its data set: name it with --data", GIVE_DATA)
        located = self._located(stated)
        if located is None:
            raise NotChecked(f"the data set {_quoted(stated)} was not found: name it with --data", GIVE_DATA)
        return str(located.path), located.note

    @cached_property
    def dataset(self) -> DetectionDataset:
        """The data set as it is now."""
        place = self.data_place
        with _as_reason("the data set", GIVE_DATA):
            return load_data(place, **self.run.data_options)

    @cached_property
    def halves(self) -> DetectionDataset:
        """The data set with the images that were trained on and those that were validated on apart."""
        data = self.dataset
        if self.run.fraction < 1:
            raise NotChecked(f"{self.run.fraction:g} of the images were trained on, and which is not stated")
        if data.splits.get("val"):
            return data
        if self.run.drawn is None or "val" in data.splits:
            raise NotChecked("the data set has no val images")
        if not self.images:
            raise NotChecked("val is drawn from the images, which are not opened (--quick)", OPEN_IMAGES)
        with _as_reason("the data set", GIVE_DATA):
            data = divide(drop_unreadable(data), *self.run.drawn)
        counts = len(data.splits.get("train", ())), len(data.splits.get("val", ()))
        if self.run.val_images and counts != (self.run.images, self.run.val_images):
            stated = f"{self.run.images:,} and {self.run.val_images:,}"
            raise NotChecked(
                f"the data set names no val split, and has changed: it divides into {counts[0]:,} and {counts[1]:,} "
                f"images now, not into {stated}"
            )
        return data

    @cached_property
    def report(self) -> CheckReport:
        """The check of the data set, with all images opened."""
        if not self.images:
            raise NotChecked("images are not opened (--quick)", OPEN_IMAGES)
        try:
            data = self.halves
        except NotChecked:
            data = self.dataset
        with _as_reason("the data set", GIVE_DATA):
            return check_data(data)

    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """Width and height (N, 2) of the boxes of the training images, in pixels at the network's input."""
        readable = drop_unreadable(self.dataset)  # the check of the data set reports the others
        sizes = box_sizes(_train(readable), self.run.imgsz)
        if not len(sizes):
            raise NotChecked("the training images have no boxes that can be read")
        return sizes

    @property
    def train(self) -> Sequence[Sample]:
        """Samples that were trained on."""
        return _train(self.dataset)

    @cached_property
    def steps(self) -> int:
        """Batches per epoch."""
        if not self.trained or not self.run.batch:
            raise NotChecked("the number of images per step is unknown")
        return math.ceil(self.trained / self.run.batch)

    @property
    def trained(self) -> int:
        """Number of images that were trained on in an epoch."""
        return self.run.images or max(round(self.run.fraction * len(self.train)), min(len(self.train), 1))

    @cached_property
    def detector(self) -> Detector:
        """The trained detector."""
        if self.run.weights is None:
            raise NotChecked("there are no weights in the folder")
        return self._load(self.run.weights)

    @property
    def stated_start(self) -> str | None:
        """What training started from: as the user says, or else the run; None if unknown, "" for fresh weights."""
        return self._start or self.run.start

    @cached_property
    def start_found(self) -> tuple[Path, str]:
        """Where the weights are that training started from, and how they were found if not where the run states."""
        stated = self.stated_start
        if not stated:
            raise NotChecked(UNKNOWN_START, GIVE_WEIGHTS)
        located = Located(Path(stated)) if self._start else self._located(stated)
        if located is None or weights_of(located.path) is None:
            reason = f"the starting weights {_quoted(stated)} were not found: name them with --weights"
            raise NotChecked(reason, GIVE_WEIGHTS)
        if self._is_own(located.path):
            reason = f"{_quoted(stated)} are weights of the run itself, which it did not start from"
            raise NotChecked(reason, GIVE_WEIGHTS)
        return located.path, located.note

    @cached_property
    def start(self) -> Detector:
        """The detector that training started from."""
        return self._load(self.start_found[0])

    def _is_own(self, place: Path) -> bool:
        """Whether a file is among those that the run wrote, as a run that was resumed states it."""
        file, folder = place.resolve(), self.run.folder.resolve()
        return (
            file in (folder, folder / "weights")
            or file.parent == folder / "weights"
            or (file.parent == folder and file.stem in ("best", "last"))
        )

    @property
    def data_read(self) -> tuple[str, str]:
        """The data set that was read, and how it was found; "" if none was."""
        return self.data_found if "dataset" in self.__dict__ else ("", "")  # what is cached

    @property
    def start_read(self) -> tuple[str, str]:
        """The starting weights that were read, and how they were found; "" if none were."""
        return (str(self.start_found[0]), self.start_found[1]) if "start" in self.__dict__ else ("", "")

    @property
    def starts_fresh(self) -> bool:
        """Whether the run is known to have started from random weights: from nothing, a YAML or a name of the zoo.

        A graph that the user gives where the run states weights says nothing about how it started.
        """
        stated = self.stated_start
        if stated is None:
            raise NotChecked(UNKNOWN_START, GIVE_WEIGHTS)
        if self._start and _is_fresh(self._start) and not _is_fresh(self.run.start or ""):
            raise NotChecked(
                f"{_quoted(self._start)} has no weights to compare with, and the run states that training started from "
                f"{_quoted(self.run.start or '')}",
                GIVE_WEIGHTS,
            )
        return _is_fresh(stated)

    def _load(self, path: Path) -> Detector:
        with _as_reason(f"{path.name}"):
            return load_detector(path, modules=self.modules, allow_miswired=True)

    def _located(self, stated: str) -> Located | None:
        """Find a path of any system: as it is, or relative to the run, to folders above, or at last to the current one.

        One of another machine is looked for by its end, which must have a name that not most runs have.
        """
        if "://" in stated:  # a name on a hub
            return None
        own = self.run.folder.absolute()
        return resolve(stated, [own, *list(own.parents)[:LEVELS_UP], Path()], shortest=_least_names(stated))


def _least_names(stated: str) -> int:
    """Names that the end of a path needs, so that it is not one that most runs have."""
    *_, above, last = ("", "", *PureWindowsPath(stated.lower()).parts)
    return 1 + (last in USUAL_NAMES) * (1 + (above == "weights"))


def _quoted(path: str) -> str:
    """A path for a sentence: unlike with ``repr``, backslashes are not doubled."""
    return f"'{printable_line(path):.200}'"


def _is_fresh(start: str) -> bool:
    """Whether the start of a training has no weights: nothing, a YAML, or a name of the zoo."""
    return not start or Path(start).suffix.lower() in GRAPHS or start in zoo()


def _train(data: DetectionDataset) -> Sequence[Sample]:
    return data.splits.get("train") or data.splits.get("all") or ()


@contextmanager
def _as_reason(what: str, remedy: str = "") -> Iterator[None]:
    """Turn an error into the reason why something is not checked, and keep warnings for the checks of their own."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except RegardError as error:
        raise NotChecked(f"{what} cannot be read: {error.what}", remedy) from error
