"""A detector over a whole set of images."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from regard.config import EVALUATE, DetectSettings
from regard.data.dataset import Sample
from regard.errors import RegardError
from regard.evaluation.metrics import Metrics, Speed
from regard.evaluation.score import score
from regard.finder import Finder, as_finder, to_detections
from regard.geometry.nms import suppress
from regard.system.prefetch import prefetch
from regard.types import Detections, LetterboxedBatch

if TYPE_CHECKING:
    from regard.backend import Backend


def evaluate(
    backend: Backend | Finder,
    loader: Iterable[LetterboxedBatch],
    records: Sequence[Sample],
    names: Sequence[str],
    *,
    settings: DetectSettings = EVALUATE,
) -> Metrics:
    """Run a detector over labelled images and measure it; see `Metrics`.

    Args:
        backend: the detector; a module is asked in evaluation mode and left as it was.
        loader: the images, with their placements, as `regard.data.validation.ValidationLoader` gives them.
        records: what the loader's indices refer to.
        names: class names of the data.
        settings: by default those by which YOLOv5 measures AP.

    Raises:
        RegardError: the detector and the data differ in the number of classes.
    """
    check_classes(backend, names)
    detections, speed = detect(backend, loader, records, settings=settings)
    return score(detections, records, names, speed=speed)


def detect(
    backend: Backend | Finder,
    loader: Iterable[LetterboxedBatch],
    records: Sequence[Sample],
    *,
    settings: DetectSettings = EVALUATE,
) -> tuple[list[Detections], Speed]:
    """Return the detections in each record's image, and how long they took; arguments as for `evaluate`."""
    finder = as_finder(backend)
    found: dict[int, Detections] = {}
    spent = np.zeros(3)
    start = time.perf_counter()
    for batch in prefetch(loader, depth=1):  # the next is read while the detector is at work
        prepared = time.perf_counter()
        decoded = finder.rows(batch.images, settings.conf)
        answered = time.perf_counter()
        for index, rows, placement in zip(batch.indices, decoded, batch.placements, strict=True):
            kept = suppress(rows, settings)
            found[index] = to_detections(kept, placement, finder.names, records[index].image.name)
        ended = time.perf_counter()
        spent += np.subtract((prepared, answered, ended), (start, prepared, answered))
        start = ended
    per_image = 1000 * spent / max(len(found), 1)
    return [found[i] for i in range(len(records))], Speed(*per_image.tolist())


def check_classes(backend: Backend | Finder, names: Sequence[str]) -> None:
    """Refuse to measure a detector on data with another number of classes.

    Raises:
        RegardError: the numbers differ.
    """
    if len(backend.names) != len(names):
        raise RegardError(
            f"the detector knows {len(backend.names)} classes and the data have {len(names)}",
            expected="data labelled with the detector's classes, in its order",
        )
