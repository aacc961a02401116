"""Evaluation of a detector on a whole set of labelled images."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regard.config import EVALUATE, DetectSettings, ValSettings, detect_settings
from regard.data.dataset import DetectionDataset, Sample
from regard.data.files import UNDIVIDED
from regard.data.formats import load_data
from regard.data.letterbox import to_detections
from regard.data.problems import drop_unreadable, report_problems
from regard.data.validation import ValidationLoader
from regard.errors import RegardError, nearest, one_of, warn
from regard.evaluation.classes import align_classes
from regard.evaluation.coco import save_coco_json
from regard.evaluation.metrics import Metrics, Speed, score
from regard.evaluation.tagged import save_tagged, tagged
from regard.geometry.nms import nms_for, suppress, warn_of_nms_inside
from regard.system.files import check_file
from regard.system.prefetch import prefetch
from regard.types import Detections, LetterboxedBatch, Predictor


class LabelledSplit(NamedTuple):
    """A data set, and the name of its split that is measured on."""

    data: DetectionDataset
    split: str


def load_split(data: str | Path, settings: ValSettings) -> LabelledSplit:
    """Load what a detector is measured on, and check what the results are written to, before a model is opened.

    Raises:
        RegardError: no such data set or split, or a file of results that cannot be written.
    """
    for file in (settings.save_json, settings.save_errors):
        if file is not None:
            check_file(file)
    single_cls = settings.single_cls
    loaded = load_data(data, single_cls=single_cls, classes=settings.classes, first_class=settings.first_class)
    return LabelledSplit(loaded, _split(loaded, settings.split))


def validate(predictor: Predictor, data: LabelledSplit, settings: ValSettings) -> Metrics:
    """Measure a detector on a data set by the COCO protocol; see `regard.val`, which also opens files.

    Raises:
        RegardError: model and data have no class in common.
    """
    single_cls, (loaded, split) = settings.single_cls, data
    records = loaded.splits[split]
    opened = drop_unreadable(replace(loaded, splits={split: records}))
    report_problems(replace(loaded, problems=opened.problems))
    records = opened.splits[split]
    if not any(len(record.class_ids) for record in records):
        warn(f"{settings.split} has no boxes, so AP is undefined")
    kept = tuple(sorted({int(i) for record in records for i in record.class_ids})) if settings.classes else ()
    chosen = detect_settings(settings, kept)
    chosen = chosen.model_copy(update={"agnostic_nms": settings.agnostic_nms or single_cls})
    warn_of_nms_inside(predictor, chosen)
    side = getattr(predictor, "static_side", None)
    if side is not None and settings.imgsz < side:
        what = f"the file was exported for {side} pixels: images of {settings.imgsz} are padded to it"
        warn(f"{what}, and are smaller than those that it expects")
    loader = ValidationLoader(
        records,
        imgsz=settings.imgsz,
        batch=settings.batch,
        workers=settings.workers,
        stride=predictor.max_stride,
        rect=settings.rect and side is None,
        size=getattr(predictor, "input_size", None),
    )
    if not single_cls:
        predictor = align_classes(predictor, loaded.names)
    detections, speed = detect(predictor, loader, records, settings=chosen)
    if single_cls:
        detections = [replace(d, class_ids=np.zeros_like(d.class_ids)) for d in detections]
    if settings.save_json:
        save_coco_json(settings.save_json, detections, records, loaded.category_ids)
    if settings.save_errors:
        marked = tagged(detections, records, loaded.names, category_ids=loaded.category_ids)
        save_tagged(settings.save_errors, marked)
    return score(detections, records, loaded.names, speed=speed, by_ultralytics=settings.protocol == "ultralytics")


def evaluate(
    predictor: Predictor,
    loader: Iterable[LetterboxedBatch],
    records: Sequence[Sample],
    names: Sequence[str],
    *,
    settings: DetectSettings = EVALUATE,
) -> Metrics:
    """Run a detector over labelled images and measure it; see `Metrics`.

    Args:
        predictor: such as a detector, which is left in the mode that it was in.
        loader: the images, with their letterbox transforms, as `regard.data.validation.ValidationLoader` gives them.
        records: what the loader's indices refer to.
        names: class names of the data, which need not have the detector's order; see `align_classes`.
        settings: by default those with which YOLOv5 measures AP.

    Raises:
        RegardError: the detector and the data have no class in common.
    """
    detections, speed = detect(align_classes(predictor, names), loader, records, settings=settings)
    return score(detections, records, names, speed=speed)


def detect(
    predictor: Predictor,
    loader: Iterable[LetterboxedBatch],
    records: Sequence[Sample],
    *,
    settings: DetectSettings = EVALUATE,
) -> tuple[list[Detections], Speed]:
    """Detect objects in each record's image, and measure how long that takes; arguments as for `evaluate`."""
    settings = nms_for(predictor, settings)
    found: dict[int, Detections] = {}
    spent = np.zeros(3)
    start = time.perf_counter()
    for batch in prefetch(loader, depth=1):  # the next is read while the detector computes
        loaded = time.perf_counter()
        predictions = predictor.predict(batch.images, settings.conf)
        predicted = time.perf_counter()
        for index, rows, transform in zip(batch.indices, predictions, batch.placements, strict=True):
            kept = suppress(rows, settings)
            found[index] = to_detections(kept, transform, predictor.names, records[index].image.name)
        ended = time.perf_counter()
        spent += np.subtract((loaded, predicted, ended), (start, loaded, predicted))
        start = ended
    per_image = 1000 * spent / max(len(found), 1)
    return [found[i] for i in range(len(records))], Speed(*per_image.tolist())


def _split(data: DetectionDataset, split: str) -> str:
    if split == "val" and UNDIVIDED in data.splits:
        count = len(data.splits[UNDIVIDED])
        what = f"the data set has no split, so all {count} images are measured, also those that a model was trained on"
        warn(what)
        return UNDIVIDED
    if not data.splits.get(split):
        raise RegardError(
            f"the data set has no split {split!r}",
            file=data.source,
            expected=one_of(data.splits),
            hint=nearest(split, data.splits),
        )
    return split
