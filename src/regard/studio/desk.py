"""The data set that is open; its check, and the analysis of the errors of a detector on it, run in threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Literal

from regard.config import ValSettings
from regard.data.check import CheckReport, check_data
from regard.data.dataset import DetectionDataset, Sample
from regard.data.formats import load_data
from regard.data.validation import ValidationLoader
from regard.detections import Detections
from regard.errors import RegardError, nearest
from regard.evaluation import detect
from regard.evaluation.classes import align_classes
from regard.evaluation.error_analysis import DetectionError, find_errors
from regard.evaluation.metrics import Metrics, score
from regard.graph.detector import Detector
from regard.system.last_resort import last_word
from regard.types import LetterboxedBatch

BATCH = ValSettings().batch
"""Images of a batch, as in `regard val`, whose AP it is then; the analysis can be stopped between two batches."""


class _StopError(Exception):
    """The user has stopped an analysis."""


class Background:
    """Work in a thread, which counts images and can be stopped between two of them, or two batches.

    Attributes:
        state: what has become of it.
        done: number of images so far.
        fault: why it failed; "" otherwise.
    """

    def __init__(self) -> None:
        self.state: Literal["running", "finished", "stopped", "failed"] = "running"
        self.done, self.fault = 0, ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after what is computed now, and wait for that."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        """Do the work."""
        raise NotImplementedError

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise _StopError

    def _run(self) -> None:
        try:
            self._work()
            self.state = "finished"
        except _StopError:
            self.state = "stopped"
        except Exception as error:
            word = last_word(error)
            self.fault = error.what if isinstance(error, RegardError) else word.text if word else repr(error)
            self.state = "failed"


class Check(Background):
    """The check of a data set with all its images.

    Args:
        data: the data set.
    """

    def __init__(self, data: DetectionDataset) -> None:
        self._data = data
        self.report: CheckReport | None = None
        self.total = len({sample.image.name for samples in data.splits.values() for sample in samples})
        self._counting = threading.Lock()
        super().__init__()

    def _work(self) -> None:
        self.report = check_data(self._data, self._count)

    def _count(self) -> None:
        self._go_on()
        with self._counting:
            self.done += 1


class Analysis(Background):
    """What a detector finds in a split, and its errors there.

    Args:
        model: the detector; a copy is used.
        data: the data set.
        split: name of a split.
        imgsz: side of the input in pixels.
        conf: confidence threshold of the errors.
    """

    def __init__(self, model: Detector, data: DetectionDataset, split: str, imgsz: int, conf: float) -> None:
        self.names, self.split, self.samples, self.conf = data.names, split, data.splits[split], conf
        self.detections: list[Detections] = []
        self.errors: list[DetectionError] = []
        self.metrics: Metrics | None = None
        self._loader = ValidationLoader(self.samples, imgsz=imgsz, batch=BATCH, workers=0, stride=model.max_stride)
        self._predictor = align_classes(deepcopy(model), data.names)
        super().__init__()

    def _work(self) -> None:
        self.detections, speed = detect(self._predictor, self._counted(self._loader), self.samples)
        self.metrics = score(self.detections, self.samples, self.names, speed=speed)
        self.errors = find_errors(self.detections, self.samples, self.conf)

    def _counted(self, batches: Iterable[LetterboxedBatch]) -> Iterator[LetterboxedBatch]:
        for batch in batches:
            self._go_on()
            yield batch
            self.done += len(batch.indices)


class Desk:
    """The data set that is looked at."""

    def __init__(self) -> None:
        self._data: DetectionDataset | None = None
        self.checking: Check | None = None
        self.analysis: Analysis | None = None

    @property
    def data(self) -> DetectionDataset:
        """The open data set.

        Raises:
            RegardError: none is open.
        """
        if self._data is None:
            raise RegardError("no data set is open", expected="a folder of the workspace, or synthetic:context")
        return self._data

    def open_data(self, source: str) -> None:
        """Open a data set, unless it is open already.

        Args:
            source: as `regard train --data` takes it.
        """
        if self._data is None or self._data.source != source:
            data = load_data(source)
            self.stop()
            self._data, self.checking, self.analysis = data, None, None

    def check(self) -> Check:
        """Check the data set with all its images, unless that is done already."""
        if self.checking is None or self.checking.state in ("stopped", "failed"):
            self.checking = Check(self.data)
        return self.checking

    def analyse(self, model: Detector, split: str, imgsz: int, conf: float) -> Analysis:
        """Start an analysis in place of an earlier one."""
        self.samples(split)
        if self.analysis:
            self.analysis.stop()
        self.analysis = Analysis(model, self.data, split, -(-imgsz // model.max_stride) * model.max_stride, conf)
        return self.analysis

    def stop(self) -> None:
        """Stop all that is running."""
        for work in filter(None, (self.checking, self.analysis)):
            work.stop()

    def samples(self, split: str) -> tuple[Sample, ...]:
        """The images of a split.

        Raises:
            RegardError: there is no such split, or it is empty.
        """
        if not self.data.splits.get(split):
            known = list(self.data.splits)
            raise RegardError(f"there is no split {split!r:.60}", expected=", ".join(known), hint=nearest(split, known))
        return self.data.splits[split]

    def sample(self, split: str, index: int) -> Sample:
        """One image.

        Raises:
            RegardError: there is none of this number.
        """
        samples = self.samples(split)
        if not 0 <= index < len(samples):
            raise RegardError(f"{split} has no image {index}", expected=f"0 to {len(samples) - 1}")
        return samples[index]

    def detections(self, split: str, index: int) -> Detections | None:
        """What the analysis found in an image, with scores of at least its threshold; None if it is not known."""
        known = self.analysis
        if known is None or known.state != "finished" or known.split != split:
            return None
        found = known.detections[index]
        return found[found.scores >= known.conf]
