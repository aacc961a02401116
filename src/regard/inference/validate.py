"""A detector measured on a labelled data set: the work behind ``regard val``, without what training needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regard.config import EVALUATE, DetectSettings, checked, require_positive
from regard.data.dataset import DetectionDataset, Sample
from regard.data.formats import load_data
from regard.data.validation import ValidationLoader
from regard.errors import RegardError, nearest
from regard.evaluation import Metrics, check_classes, detect, save_coco_json, score
from regard.finder import Finder
from regard.inference.choose import warn_of_suppression

if TYPE_CHECKING:
    from regard.backend import Backend


def validate(
    finder: Backend | Finder,
    data: str | Path,
    *,
    split: str = "val",
    imgsz: int = 640,
    batch: int = 16,
    workers: int = 0,
    rect: bool = True,
    single_cls: bool = False,
    classes: Sequence[str] = (),
    save_json: str | Path | None = None,
    **settings: Any,
) -> Metrics:
    """Measure a detector by the COCO protocol; see `regard.validate`, which also opens files.

    Raises:
        RegardError: no such split, or the classes of model and data differ.
    """
    require_positive(imgsz=imgsz, batch=batch)
    loaded = load_data(data, single_cls=single_cls, classes=classes)
    records = _split(loaded, split)
    kept = tuple(sorted({int(i) for record in records for i in record.class_ids})) if classes else ()
    chosen = checked(DetectSettings, {**EVALUATE.model_dump(), "classes": kept, "agnostic_nms": single_cls, **settings})
    warn_of_suppression(finder, chosen)
    loader = ValidationLoader(records, imgsz=imgsz, batch=batch, workers=workers, stride=finder.max_stride, rect=rect)
    if not single_cls:
        check_classes(finder, loaded.names)
    detections, speed = detect(finder, loader, records, settings=chosen)
    if single_cls:
        detections = [dataclasses.replace(d, class_ids=np.zeros_like(d.class_ids)) for d in detections]
    if save_json:
        save_coco_json(save_json, detections, records, loaded.category_ids)
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
