"""What the causes are checked on: a run, and its data set and weights, which are opened when they are needed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.data.check import CheckReport, check_data
from regard.data.dataset import DetectionDataset, Sample
from regard.data.formats import load_data
from regard.data.problems import drop_unreadable
from regard.data.split import divide
from regard.data.synthetic import PREFIX
from regard.diagnosis.findings import NotChecked
from regard.diagnosis.record import TrainingRecord
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.graph.read import zoo
from regard.system.files import is_there
from regard.training.prepare import box_sizes
from regard.weights.detector import Modules, load_detector
from regard.weights.paths import weights_of

GRAPHS = (".yaml", ".yml")
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

    @cached_property
    def data_place(self) -> str:
        """Where the data set is."""
        stated = self._data or self.run.data
        if not stated:
            raise NotChecked("the folder does not state its data set: name it with --data")
        place = stated if stated.startswith(PREFIX) or self._data else self._found(stated)
        if place is None:
            raise NotChecked(f"the data set {stated!r:.200} was not found: name it with --data")
        return place

    @cached_property
    def dataset(self) -> DetectionDataset:
        """The data set as it is now."""
        place = self.data_place
        with _as_reason("the data set"):
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
            raise NotChecked("val is drawn from the images, which are not opened (--quick)")
        with _as_reason("the data set"):
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
            raise NotChecked("images are not opened (--quick)")
        try:
            data = self.halves
        except NotChecked:
            data = self.dataset
        with _as_reason("the data set"):
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
    def start_place(self) -> Path:
        """Where the weights are that training started from."""
        stated = self.stated_start
        if not stated:
            raise NotChecked("the folder does not state what training started from: name it with --weights")
        place = stated if self._start else self._found(stated)
        if place is None or weights_of(place) is None:
            raise NotChecked(f"the starting weights {stated!r:.200} were not found: name them with --weights")
        if self._is_own(Path(place)):
            raise NotChecked(f"{stated!r:.200} are weights of the run itself, which it did not start from")
        return Path(place)

    @cached_property
    def start(self) -> Detector:
        """The detector that training started from."""
        return self._load(self.start_place)

    def _is_own(self, place: Path) -> bool:
        """Whether a file is among those that the run wrote, as a run that was resumed states it."""
        file, folder = place.resolve(), self.run.folder.resolve()
        return (
            file in (folder, folder / "weights")
            or file.parent == folder / "weights"
            or (file.parent == folder and file.stem in ("best", "last"))
        )

    @property
    def read(self) -> tuple[str, str]:
        """The data set and the starting weights that were read; "" for one that was not."""
        opened = self.__dict__  # what is cached
        return (
            str(self.data_place) if "dataset" in opened else "",
            str(self.start_place) if "start" in opened else "",
        )

    @property
    def starts_fresh(self) -> bool:
        """Whether the run is known to have started from random weights: from nothing, a YAML or a name of the zoo."""
        stated = self.stated_start
        if stated is None:
            raise NotChecked("the folder does not state what training started from: name it with --weights")
        return not stated or Path(stated).suffix.lower() in GRAPHS or stated in zoo()

    def _load(self, path: Path) -> Detector:
        with _as_reason(f"{path.name}"):
            return load_detector(path, modules=self.modules, allow_miswired=True)

    def _found(self, stated: str) -> str | None:
        """A path of the run as it is, or relative to its folder, to those above, or at last to the current one."""
        own = self.run.folder.absolute()
        folders = [own, *list(own.parents)[:LEVELS_UP], Path()]
        return next((str(base / stated) for base in folders if is_there(base / stated)), None)


def _train(data: DetectionDataset) -> Sequence[Sample]:
    return data.splits.get("train") or data.splits.get("all") or ()


@contextmanager
def _as_reason(what: str) -> Iterator[None]:
    """Turn an error into the reason why something is not checked, and keep warnings for the checks of their own."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except RegardError as error:
        raise NotChecked(f"{what} cannot be read: {error.what}") from error
