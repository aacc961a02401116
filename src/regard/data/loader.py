"""Batches for training, identical for any number of worker processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from regard.config import AugmentSettings
from regard.data.augment import LabelledImage, augment
from regard.data.cache import CacheKind, open_store
from regard.data.dataset import Sample
from regard.data.images import ReadFailures
from regard.data.letterbox import GREY
from regard.data.validation import BatchPlan, aspect_batches
from regard.errors import RegardError
from regard.system.interrupts import interrupts_blocked
from regard.types import Batch, Targets


class TrainLoader:
    """Augmented batches of a training set, in a new order each epoch.

    The order is drawn from (seed, epoch), and the augmentation of an image from (seed, epoch, image index), so that the
    numbers of workers and of processes make no difference: rank r gets images r, r + world_size, ... of every global
    batch. The last batch may be smaller; it is left out if it has fewer images than there are processes.

    Args:
        samples: the training set.
        settings: probabilities and ranges of the augmentation.
        imgsz: side of the square input in pixels; with ``rect``, the long side.
        batch: images per step, over all processes.
        seed: 0 or more.
        workers: processes that prepare batches; 0 prepares them in this process.
        cache: keep images, reduced to ``imgsz``, in "ram" or on "disk"; "none" keeps nothing.
        cache_dir: folder of the disk cache.
        rank: number of this process.
        world_size: number of processes.
        rect: batch images of similar shape with little padding, without mosaic and mixup.
        stride: with ``rect``, the sides of the input are multiples of it.

    Raises:
        RegardError: there are more processes than images or than images per batch, or the disk cache has no folder.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        settings: AugmentSettings,
        imgsz: int,
        batch: int,
        seed: int,
        workers: int,
        cache: CacheKind = "none",
        cache_dir: Path | None = None,
        rank: int = 0,
        world_size: int = 1,
        rect: bool = False,
        stride: int = 32,
    ) -> None:
        if min(len(samples), batch) < world_size:
            raise RegardError(
                f"{len(samples)} training images in batches of {batch} for {world_size} process(es)",
                expected="at least one image of each batch for each process",
            )
        self._count, self._imgsz, self._batch, self._seed = len(samples), imgsz, batch, seed
        self._rank, self._world_size = rank, world_size
        self._rect_batches = aspect_batches(samples, imgsz, batch, stride, pad=0.0) if rect else None
        self._plan: list[BatchPlan] = self._make_plan(0, combine=True)
        self._loader = _batch_loader(
            _TrainingSet(samples, settings, imgsz, seed, cache, cache_dir), self._plan, workers
        )

    def __len__(self) -> int:
        return len(self._plan)

    def epoch(self, epoch: int, *, mosaic: bool = True) -> Iterator[Batch]:
        """Yield the batches of one epoch. The next epoch may begin only after this one has ended or was abandoned.

        Args:
            epoch: counted from 0; the same number gives the same batches.
            mosaic: False disables mosaic and mixup, as some recipes do in the last epochs.

        Raises:
            RegardError: many images cannot be read; a few are replaced by empty ones, with a warning.
        """
        self._plan[:] = self._make_plan(epoch, combine=mosaic and self._rect_batches is None)
        yield from _raise_errors(self._loader)

    def _make_plan(self, epoch: int, *, combine: bool) -> list[BatchPlan]:
        """Select this process's share of every batch of an epoch."""
        # No image has the index `count`, so this random stream differs from those of all images.
        rng = np.random.default_rng([self._seed, epoch, self._count])
        if self._rect_batches is not None:
            batches = [self._rect_batches[i] for i in rng.permutation(len(self._rect_batches))]
        else:
            order = rng.permutation(self._count).tolist()
            batches = [
                BatchPlan(tuple(order[start : start + self._batch]), (self._imgsz, self._imgsz))
                for start in range(0, self._count, self._batch)
            ]
        return [
            BatchPlan(batch.indices[self._rank :: self._world_size], batch.size, epoch, combine, len(batch.indices))
            for batch in batches
            if len(batch.indices) >= self._world_size
        ]


class _TrainingSet(Dataset[Batch | RegardError]):
    def __init__(
        self,
        samples: Sequence[Sample],
        settings: AugmentSettings,
        imgsz: int,
        seed: int,
        cache: CacheKind,
        cache_dir: Path | None,
    ) -> None:
        self._store = open_store([sample.image for sample in samples], imgsz, cache, cache_dir)
        self._labels = [_labels(sample) for sample in samples]
        self._names, self._failures = [sample.image.name for sample in samples], ReadFailures(len(samples))
        self._settings, self._seed, self._imgsz = settings, seed, imgsz

    def __getitem__(self, plan: BatchPlan) -> Batch | RegardError:
        try:
            samples = [self._sample(index, plan) for index in plan.indices]
        except RegardError as error:  # returned as a value: torch would wrap it into a worker's traceback
            return error
        return _to_batch(samples, plan)

    def _sample(self, index: int, plan: BatchPlan) -> LabelledImage:
        rng = np.random.default_rng([self._seed, plan.epoch, index])
        return augment(index, self._read, len(self._labels), plan.size, self._settings, rng, combine=plan.combine)

    def _read(self, index: int) -> LabelledImage:
        boxes, class_ids = self._labels[index]
        try:
            image = self._store.read(index)
        except RegardError as error:
            self._failures.add(self._names[index], error)
            image = np.full((self._imgsz, self._imgsz, 3), GREY, dtype=np.uint8)
            boxes, class_ids = boxes[:0], class_ids[:0]
        return LabelledImage(image, boxes * _corner_sizes(image.shape), class_ids)


def _labels(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Boxes as (N, 4) left, top, right, bottom in fractions of the image, and (N,) classes, without crowds."""
    keep = slice(None) if sample.crowd is None else ~sample.crowd
    centre, half = sample.boxes_cxcywh[keep, :2], sample.boxes_cxcywh[keep, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1), sample.class_ids[keep]


def _to_batch(samples: Sequence[LabelledImage], plan: BatchPlan) -> Batch:
    pixels = torch.empty((len(samples), *plan.size, 3), dtype=torch.uint8)
    for row, sample in zip(pixels.numpy(), samples, strict=True):
        row[:] = sample.image
    # Channels last in memory: the layout of decoded images, and the fastest for convolutions.
    images = pixels.permute(0, 3, 1, 2)
    counts = torch.tensor([len(sample.class_ids) for sample in samples])
    boxes = np.concatenate([sample.boxes_xyxy for sample in samples]) / _corner_sizes(plan.size)
    middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    targets = Targets(
        image_index=torch.repeat_interleave(torch.arange(len(samples)), counts),
        class_ids=torch.from_numpy(np.concatenate([sample.class_ids for sample in samples]).astype(np.int64)),
        boxes_cxcywh=torch.from_numpy(np.concatenate([middle, sides], axis=1).astype(np.float32)),
    )
    return Batch(images, targets, plan.indices, plan.total)


def _corner_sizes(shape: Sequence[int]) -> NDArray[np.float64]:
    """Arrange a shape that begins with height and width as (width, height, width, height)."""
    return np.array([shape[1], shape[0], shape[1], shape[0]], dtype=np.float64)


def _batch_loader(
    dataset: Dataset[Batch | RegardError], plan: list[BatchPlan], workers: int
) -> DataLoader[Batch | RegardError]:
    """Load whole batches by their plans; the list of plans may change between epochs."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=plan,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker,
        # A separate generator: each pass draws a seed, which must not advance the generator of the training.
        generator=torch.Generator(),
    )


def _start_worker(_worker: int) -> None:
    cv2.setNumThreads(0)
    sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the error of a thread, but not that the first process reads no more, as after Ctrl-C."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _raise_errors(loader: DataLoader[Batch | RegardError]) -> Iterator[Batch]:
    with interrupts_blocked():  # of the workers, which end with this process
        batches = iter(loader)
    for batch in batches:
        if isinstance(batch, RegardError):
            try:
                raise batch
            finally:
                # Otherwise the error and this frame refer to each other, and the workers end only after a timeout.
                del batch
        yield batch
