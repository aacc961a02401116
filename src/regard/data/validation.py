"""Batches for validation, in NumPy, so that an exported detector is evaluated without importing torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from regard.data.dataset import Sample
from regard.data.images import ReadFailures, image_size
from regard.data.letterbox import GREY, aspect_order, letterbox, letterbox_validation, validation_sizes
from regard.errors import RegardError
from regard.system.prefetch import prefetch_map
from regard.types import LetterboxedBatch


class BatchPlan(NamedTuple):
    """Everything that determines one batch; it is sent to the worker that makes the batch.

    Attributes:
        indices: the images, in order.
        size: (height, width) of the input.
        epoch: counted from 0; part of the seed of every random draw.
        combine: whether mosaic and mixup may be applied.
        total: images of the whole batch, over all processes; 0 where there is only one process.
    """

    indices: tuple[int, ...]
    size: tuple[int, int]
    epoch: int = 0
    combine: bool = False
    total: int = 0


def aspect_batches(samples: Sequence[Sample], imgsz: int, batch: int, stride: int, pad: float) -> list[BatchPlan]:
    """Group images of similar aspect ratio into batches of least padding; ``pad`` is a margin in strides."""
    sizes = [image_size(sample.image) for sample in samples]
    order = aspect_order(sizes).tolist()
    shapes = validation_sizes([sizes[i] for i in order], imgsz, batch, stride, pad)
    return [BatchPlan(tuple(order[k * batch : (k + 1) * batch]), shape) for k, shape in enumerate(shapes)]


class ValidationLoader:
    """Every image once, letterboxed as in YOLOv5 v6 validation, always in the same order.

    Args:
        samples: the images and their labels.
        imgsz: length of the long side in pixels.
        batch: images per batch; the last batch may be smaller.
        workers: threads that prepare batches in advance; with 0 each batch is prepared when it is requested.
        stride: largest stride of the detector; the sides of the input are multiples of it.
        rect: sort by aspect ratio and pad each batch only as needed; otherwise keep the order and pad to squares.
        size: (height, width) that every image is fitted into instead, for a detector that takes no other.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        imgsz: int,
        batch: int,
        workers: int,
        stride: int = 32,
        rect: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        if rect and not size:
            self._plan = aspect_batches(samples, imgsz, batch, stride, pad=0.5)
        else:
            side = -(-imgsz // stride) * stride
            starts = range(0, len(samples), batch)
            shape = size or (side, side)
            self._plan = [BatchPlan(tuple(range(start, min(start + batch, len(samples)))), shape) for start in starts]
        self._fits = size is not None
        self._samples, self._imgsz, self._workers = tuple(samples), imgsz, workers
        self._failures = ReadFailures(len(samples))

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[LetterboxedBatch]:
        """Yield the batches.

        Raises:
            RegardError: many images cannot be read; a few are replaced by empty ones, with a warning.
        """
        yield from prefetch_map(self._make, self._plan, self._workers) if self._workers else map(self._make, self._plan)

    def _make(self, plan: BatchPlan) -> LetterboxedBatch:
        pixels = np.empty((len(plan.indices), *plan.size, 3), dtype=np.uint8)
        placements = []
        for row, index in zip(pixels, plan.indices, strict=True):
            source = self._samples[index].image
            try:
                image = source.read()
            except RegardError as error:
                self._failures.add(source.name, error)
                image = np.full((*plan.size, 3), GREY, dtype=np.uint8)
            if self._fits:
                row[:], placement = letterbox(image, plan.size)
            else:
                row[:], placement = letterbox_validation(image, self._imgsz, plan.size)
            placements.append(placement)
        return LetterboxedBatch(pixels.transpose(0, 3, 1, 2), plan.indices, tuple(placements))


class CachedBatches:
    """Batches that are read in the first complete pass and kept in memory for the following ones."""

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
        batches = []
        for batch in self._loader:
            batches.append(batch)
            yield batch
        self._batches = batches
