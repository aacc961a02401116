"""A detector measured on a labelled data set: the work behind ``regard val``, without what training needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regard.config import ValSettings, detect_settings
from regard.data.dataset import DetectionDataset, Sample
from regard.data.formats import load_data
from regard.data.validation import ValidationLoader
from regard.errors import RegardError, nearest
from regard.evaluation import Metrics, check_classes, detect, save_coco_json, score
from regard.finder import Finder
from regard.inference.choose import warn_of_suppression

if TYPE_CHECKING:
    from regard.backend import Backend


def validate(finder: Backend | Finder, data: str | Path, settings: ValSettings) -> Metrics:
    """Measure a detector by the COCO protocol; see `regard.val`, which also opens files.

    Raises:
        RegardError: no such split, or the classes of model and data differ.
    """
    single_cls = settings.single_cls
    loaded = load_data(data, single_cls=single_cls, classes=settings.classes)
    records = _split(loaded, settings.split)
    kept = tuple(sorted({int(i) for record in records for i in record.class_ids})) if settings.classes else ()
    chosen = detect_settings(settings, kept)
    chosen = chosen.model_copy(update={"agnostic_nms": settings.agnostic_nms or single_cls})
    warn_of_suppression(finder, chosen)
    loader = ValidationLoader(
        records,
        imgsz=settings.imgsz,
        batch=settings.batch,
        workers=settings.workers,
        stride=finder.max_stride,
        rect=settings.rect,
    )
    if not single_cls:
        check_classes(finder, loaded.names)
    detections, speed = detect(finder, loader, records, settings=chosen)
    if single_cls:
        detections = [dataclasses.replace(d, class_ids=np.zeros_like(d.class_ids)) for d in detections]
    if settings.save_json:
        save_coco_json(settings.save_json, detections, records, loaded.category_ids)
    return score(detections, records, loaded.names, speed=speed)


def _split(data: DetectionDataset, split: str) -> Sequence[Sample]:
    if not data.splits.get(split):
        raise RegardError(
            f"the data set has no split {split!r}",
            file=data.source,
            expected="one of " + ", ".join(data.splits),
            hint=nearest(split, data.splits),
        )
    return data.splits[split]
