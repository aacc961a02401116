"""The data set that is open, and the analysis of the errors of a detector on it, which runs in a thread."""

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
from regard.types import LetterboxedBatch, Predictor

BATCH = ValSettings().batch
"""Images of a batch, as in `regard val`, whose AP it is then; the analysis can be stopped between two batches."""


class _StopError(Exception):
    """The user has stopped an analysis."""


class Analysis:
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
        self.state: Literal["running", "finished", "stopped", "failed"] = "running"
        self.done, self.fault = 0, ""
        self.detections: list[Detections] = []
        self.errors: list[DetectionError] = []
        self.metrics: Metrics | None = None
        self._stop = threading.Event()
        loader = ValidationLoader(self.samples, imgsz=imgsz, batch=BATCH, workers=0, stride=model.max_stride)
        predictor = align_classes(deepcopy(model), data.names)
        self._thread = threading.Thread(target=self._run, args=(predictor, loader), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the batch that is computed now, and wait for that."""
        self._stop.set()
        self._thread.join()

    def wait(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def _run(self, predictor: Predictor, loader: ValidationLoader) -> None:
        try:
            self.detections, speed = detect(predictor, self._counted(loader), self.samples)
            self.metrics = score(self.detections, self.samples, self.names, speed=speed)
            self.errors = find_errors(self.detections, self.samples, self.conf)
            self.state = "finished"
        except _StopError:
            self.state = "stopped"
        except Exception as error:
            word = last_word(error)
            self.fault = error.what if isinstance(error, RegardError) else word.text if word else repr(error)
            self.state = "failed"

    def _counted(self, batches: Iterable[LetterboxedBatch]) -> Iterator[LetterboxedBatch]:
        for batch in batches:
            if self._stop.is_set():
                raise _StopError
            yield batch
            self.done += len(batch.indices)


class Desk:
    """The data set that is looked at."""

    def __init__(self) -> None:
        self._data: DetectionDataset | None = None
        self._report: CheckReport | None = None
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
            self._data, self._report, self.analysis = data, None, None

    def report(self) -> CheckReport:
        """Check the data set with all its images, once."""
        if self._report is None:
            self._report = check_data(self.data)
        return self._report

    def analyse(self, model: Detector, split: str, imgsz: int, conf: float) -> Analysis:
        """Start an analysis in place of an earlier one."""
        self.samples(split)
        self.stop()
        self.analysis = Analysis(model, self.data, split, -(-imgsz // model.max_stride) * model.max_stride, conf)
        return self.analysis

    def stop(self) -> None:
        """Stop an analysis that is running."""
        if self.analysis:
            self.analysis.stop()

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
