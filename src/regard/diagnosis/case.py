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
    def dataset(self) -> DetectionDataset:
        """The data set as it is now."""
        stated = self._data or self.run.data
        if not stated:
            raise NotChecked("the folder does not state its data set: name it with --data")
        place = stated if stated.startswith(PREFIX) or self._data else self._found(stated)
        if place is None:
            raise NotChecked(f"the data set {stated!r:.200} was not found: name it with --data")
        with _as_reason("the data set"):
            return load_data(place, **self.run.data_options)

    @cached_property
    def report(self) -> CheckReport:
        """The check of the data set, with all images opened."""
        if not self.images:
            raise NotChecked("images are not opened (--quick)")
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
        images = self.run.images or len(self.train)
        if not images or not self.run.batch:
            raise NotChecked("the number of images per step is unknown")
        return math.ceil(images / self.run.batch)

    @cached_property
    def detector(self) -> Detector:
        """The trained detector."""
        if self.run.weights is None:
            raise NotChecked("there are no weights in the folder")
        return self._load(self.run.weights)

    @cached_property
    def start(self) -> Detector:
        """The detector that training started from."""
        stated = self._start or self.run.start
        if not stated:
            raise NotChecked("the folder does not state what training started from: name it with --weights")
        place = Path(stated) if self._start else self._found(stated)
        if place is None or weights_of(place) is None:
            raise NotChecked(f"the starting weights {stated!r:.200} were not found: name them with --weights")
        return self._load(Path(place))

    @property
    def starts_fresh(self) -> bool:
        """Whether the run is known to have started from random weights: from nothing, a YAML or a name of the zoo."""
        stated = self._start or self.run.start
        if stated is None:
            raise NotChecked("the folder does not state what training started from: name it with --weights")
        return not stated or Path(stated).suffix.lower() in GRAPHS or stated in zoo()

    def _load(self, path: Path) -> Detector:
        with _as_reason(f"{path.name}"):
            return load_detector(path, modules=self.modules, allow_miswired=True)

    def _found(self, stated: str) -> str | None:
        """A path of the run as it is, or relative to the folders above the run's."""
        folders = [Path(), self.run.folder, *list(self.run.folder.absolute().parents)[:LEVELS_UP]]
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
