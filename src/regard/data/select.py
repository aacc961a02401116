"""Keeping some classes of a data set, or making one of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import DetectionDataset, Sample
from regard.errors import RegardError, nearest

SINGLE_CLASS = "item"


def keep_classes(data: DetectionDataset, classes: Sequence[str]) -> DetectionDataset:
    """Return ``data`` without the boxes of classes other than ``classes``; ids, names and images stay as they are.

    Args:
        data: the data set.
        classes: names, or indices where no class has that name.

    Raises:
        RegardError: there is no such class.
    """
    wanted = np.array([_index(name, data.names) for name in classes], dtype=np.int64)
    return replace(
        data, splits=_map_records(data.splits, lambda record: _keep(record, np.isin(record.class_ids, wanted)))
    )


def merge_classes(data: DetectionDataset) -> DetectionDataset:
    """Return ``data`` with every box of class 0, "item"; a set of one class is returned as it is."""
    if len(data.names) == 1:
        return data
    splits = _map_records(data.splits, lambda record: replace(record, class_ids=np.zeros_like(record.class_ids)))
    return replace(data, names=(SINGLE_CLASS,), splits=splits, category_ids=None)


def _index(name: str, names: tuple[str, ...]) -> int:
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    raise RegardError(
        f"unknown class {name!r}",
        expected=f"an index from 0 to {len(names) - 1}, or one of {', '.join(names)}",
        hint=nearest(name, names),
    )


def _keep(record: Sample, kept: NDArray[np.bool_]) -> Sample:
    return replace(
        record,
        boxes_cxcywh=record.boxes_cxcywh[kept],
        class_ids=record.class_ids[kept],
        areas=None if record.areas is None else record.areas[kept],
        crowd=None if record.crowd is None else record.crowd[kept],
    )


def _map_records(
    splits: Mapping[str, tuple[Sample, ...]], change: Callable[[Sample], Sample]
) -> dict[str, tuple[Sample, ...]]:
    return {split: tuple(change(record) for record in records) for split, records in splits.items()}
