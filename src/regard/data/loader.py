"""Batches for training, the same for any number of worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from regard.config import AugmentSettings
from regard.data.augment import Labelled, augment
from regard.data.cache import CacheKind, open_store
from regard.data.dataset import Sample
from regard.data.plan import BatchPlan, aspect_batches
from regard.errors import RegardError
from regard.types import Batch, Targets


class TrainLoader:
    """Augmented batches of a training set, in a new order each epoch.

    The order comes from (seed, epoch), and what happens to an image from (seed, epoch, its index), so neither
    the workers nor the processes matter: of every global batch, rank r gets images r, r + world_size, ... . The last
    batch may be smaller; if it has fewer images than there are processes, it is left out.

    Args:
        records: the training set.
        settings: how images are varied.
        imgsz: side of the square input in pixels; with ``rect``, the long side.
        batch: images a step over all processes.
        seed: not negative.
        workers: processes that make batches; 0 makes them in this one.
        cache: keep images, reduced to ``imgsz``, in "ram" or on "disk".
        cache_dir: folder of the disk cache.
        rank: which process this is.
        world_size: number of processes.
        rect: batch images of like shape with little padding, without mosaic and mixup.
        stride: with ``rect``, the sides are multiples of it.

    Raises:
        RegardError: fewer images, or a smaller batch, than processes; or an image that the cache cannot read.
    """

    def __init__(
        self,
        records: Sequence[Sample],
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
        if min(len(records), batch) < world_size:
            raise RegardError(
                f"{len(records)} training images in batches of {batch} for {world_size} process(es)",
                expected="at least one image of each batch for each process",
            )
        self._count, self._imgsz, self._batch, self._seed = len(records), imgsz, batch, seed
        self._rank, self._world_size = rank, world_size
        self._rect_batches = aspect_batches(records, imgsz, batch, stride, pad=0.0) if rect else None
        self._plan: list[BatchPlan] = self._make_plan(0, combine=True)
        self._loader = _batch_loader(
            _TrainingSet(records, settings, imgsz, seed, cache, cache_dir), self._plan, workers
        )

    def __len__(self) -> int:
        return len(self._plan)

    def epoch(self, epoch: int, *, mosaic: bool = True) -> Iterator[Batch]:
        """Yield the batches of one epoch; another epoch may begin only when this one has ended or been given up.

        Args:
            epoch: counted from 0; the same number gives the same batches.
            mosaic: False leaves out mosaic and mixup, as in the last epochs of some recipes.

        Raises:
            RegardError: an image cannot be read.
        """
        self._plan[:] = self._make_plan(epoch, combine=mosaic and self._rect_batches is None)
        yield from _raise_errors(self._loader)

    def _make_plan(self, epoch: int, *, combine: bool) -> list[BatchPlan]:
        """Return this process's share of every batch of an epoch."""
        # No image has the index `count`, so this stream is none of theirs.
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
            BatchPlan(batch.indices[self._rank :: self._world_size], batch.size, epoch, combine)
            for batch in batches
            if len(batch.indices) >= self._world_size
        ]


class _TrainingSet(Dataset[Batch | RegardError]):
    def __init__(
        self,
        records: Sequence[Sample],
        settings: AugmentSettings,
        imgsz: int,
        seed: int,
        cache: CacheKind,
        cache_dir: Path | None,
    ) -> None:
        self._store = open_store([record.image for record in records], imgsz, cache, cache_dir)
        self._labels = [_labels(record) for record in records]
        self._settings, self._seed = settings, seed

    def __getitem__(self, plan: BatchPlan) -> Batch | RegardError:
        try:
            samples = [self._sample(index, plan) for index in plan.indices]
        except RegardError as error:  # handed over as a value: torch would bury it in a worker's traceback
            return error
        return _to_batch(samples, plan)

    def _sample(self, index: int, plan: BatchPlan) -> Labelled:
        rng = np.random.default_rng([self._seed, plan.epoch, index])
        return augment(index, self._read, len(self._labels), plan.size, self._settings, rng, combine=plan.combine)

    def _read(self, index: int) -> Labelled:
        image = self._store.read(index)
        boxes, class_ids = self._labels[index]
        return Labelled(image, boxes * _corner_sizes(image.shape), class_ids)


def _labels(record: Sample) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (N, 4) left, top, right, bottom as fractions of the image, and (N,) classes, without crowds."""
    keep = slice(None) if record.crowd is None else ~record.crowd
    centre, half = record.boxes_cxcywh[keep, :2], record.boxes_cxcywh[keep, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1), record.class_ids[keep]


def _to_batch(samples: Sequence[Labelled], plan: BatchPlan) -> Batch:
    pixels = torch.empty((len(samples), *plan.size, 3), dtype=torch.uint8)
    for place, sample in zip(pixels.numpy(), samples, strict=True):
        place[:] = sample.image
    images = pixels.permute(0, 3, 1, 2)  # channels last in memory, as images come and as convolutions are fastest
    counts = torch.tensor([len(sample.class_ids) for sample in samples])
    boxes = np.concatenate([sample.boxes_xyxy for sample in samples]) / _corner_sizes(plan.size)
    middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    targets = Targets(
        image_index=torch.repeat_interleave(torch.arange(len(samples)), counts),
        class_ids=torch.from_numpy(np.concatenate([sample.class_ids for sample in samples]).astype(np.int64)),
        boxes_cxcywh=torch.from_numpy(np.concatenate([middle, sides], axis=1).astype(np.float32)),
    )
    return Batch(images, targets, plan.indices)


def _corner_sizes(shape: Sequence[int]) -> NDArray[np.float64]:
    """Return (width, height, width, height) for a shape that begins with height and width."""
    return np.array([shape[1], shape[0], shape[1], shape[0]], dtype=np.float64)


def _batch_loader(
    dataset: Dataset[Batch | RegardError], plan: list[BatchPlan], workers: int
) -> DataLoader[Batch | RegardError]:
    """Serve whole batches by their plans; the list may change between epochs."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=plan,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker,
        # A generator of its own: each pass draws a seed, which must not move the one that training draws from.
        generator=torch.Generator(),
    )


def _start_worker(_worker: int) -> None:
    cv2.setNumThreads(0)


def _raise_errors(loader: DataLoader[Batch | RegardError]) -> Iterator[Batch]:
    for batch in loader:
        if isinstance(batch, RegardError):
            try:
                raise batch
            finally:
                del batch  # else the error and this frame hold each other, and the workers end only after a timeout
        yield batch
