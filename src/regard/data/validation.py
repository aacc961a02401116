"""Batches for validation, in NumPy, so that a prepared detector is measured without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from regard.ahead import map_ahead
from regard.data.dataset import Sample
from regard.data.letterbox import letterbox_validation
from regard.data.plan import BatchPlan, aspect_batches
from regard.types import LetterboxedBatch


class ValidationLoader:
    """Every image of a set once, placed as YOLOv5 v6 validates, always in the same order.

    Args:
        records: the set.
        imgsz: size of the long side in pixels.
        batch: images a batch; the last may have fewer.
        workers: threads that make batches, ahead; with 0 each is made when it is asked for.
        stride: largest stride of the detector; the sides of the input are multiples of it.
        rect: sort by aspect ratio and pad each batch only as needed; else pad all to a square, in the set's order.
    """

    def __init__(
        self, records: Sequence[Sample], *, imgsz: int, batch: int, workers: int, stride: int = 32, rect: bool = True
    ) -> None:
        if rect:
            self._plan = aspect_batches(records, imgsz, batch, stride, pad=0.5)
        else:
            side = -(-imgsz // stride) * stride
            starts = range(0, len(records), batch)
            self._plan = [
                BatchPlan(tuple(range(start, min(start + batch, len(records)))), (side, side)) for start in starts
            ]
        self._records, self._imgsz, self._workers = tuple(records), imgsz, workers

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[LetterboxedBatch]:
        """Yield the batches.

        Raises:
            RegardError: an image cannot be read.
        """
        yield from map_ahead(self._make, self._plan, self._workers) if self._workers else map(self._make, self._plan)

    def _make(self, plan: BatchPlan) -> LetterboxedBatch:
        pixels = np.empty((len(plan.indices), *plan.size, 3), dtype=np.uint8)
        placements = []
        for place, index in zip(pixels, plan.indices, strict=True):
            place[:], placement = letterbox_validation(self._records[index].image.read(), self._imgsz, plan.size)
            placements.append(placement)
        return LetterboxedBatch(pixels.transpose(0, 3, 1, 2), plan.indices, tuple(placements))


class Kept:
    """Batches that are made in the first pass, and kept for the next ones."""

    def __init__(self, loader: Iterable[LetterboxedBatch]) -> None:
        self._loader = loader
        self._batches: list[LetterboxedBatch] | None = None

    def __iter__(self) -> Iterator[LetterboxedBatch]:
        """Yield the batches.

        Raises:
            RegardError: an image cannot be read.
        """
        if self._batches is not None:
            yield from self._batches
            return
        made = []
        for batch in self._loader:
            made.append(batch)
            yield batch
        self._batches = made
