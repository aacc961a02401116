"""Labels and detections as one COCO file, each marked as right, wrong or missed, for tools that browse such files.

The fields have the names that FiftyOne gives them: ``eval`` (tp, fp, fn), ``eval_iou`` and ``eval_id``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regard.data.dataset import Sample
from regard.evaluation.coco import pixel_boxes
from regard.evaluation.error_analysis import matched
from regard.evaluation.matching import CONFUSION_CONFIDENCE, overlaps
from regard.system.files import make_folder, write_file
from regard.types import Detections


def tagged(
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    names: Sequence[str],
    *,
    category_ids: Sequence[int] | None = None,
    conf: float = CONFUSION_CONFIDENCE,
) -> dict[str, Any]:
    """Mark labels and the detections with a score of at least ``conf``; they match as in COCO, at an IoU of 0.5.

    Args:
        detections: of each sample.
        samples: the labelled images.
        names: of the classes.
        category_ids: ids of the classes in the data set's COCO file; by default their indices.
        conf: confidence threshold.

    Returns:
        ``images`` (named relative to the deepest folder that has all) and ``categories`` of COCO, ``annotations`` (the
        labels, ``eval`` tp or fn) and ``predictions`` (the detections in the same form, with ``score``, ``eval`` tp, fp
        or, in a crowd, ignored). ``eval_id`` of a tp is the id of its counterpart, ``eval_iou`` their IoU.
    """
    categories = list(category_ids or range(len(names)))
    found: dict[str, Any] = {
        "images": [],
        "categories": [{"id": i, "name": name} for i, name in zip(categories, names, strict=True)],
        "annotations": [],
        "predictions": [],
    }
    for image, sample, name in zip(detections, samples, _file_names(samples), strict=True):
        height, width = image.image_size
        found["images"].append({"id": sample.image_id, "file_name": name, "width": int(width), "height": int(height)})
        _mark(found, image, sample, categories, conf)
    return found


def save_tagged(path: str | Path, document: dict[str, Any]) -> Path:
    """Write what `tagged` gives; an existing file is replaced.

    Raises:
        RegardError: the file cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    write_file(path, json.dumps(document, allow_nan=False))
    return path


def _file_names(samples: Sequence[Sample]) -> list[str]:
    """Names of the images, relative to the deepest folder that contains all of them."""
    paths = [Path(sample.image.name) for sample in samples]
    try:
        folder = os.path.commonpath([path.parent for path in paths]) if paths else ""
    except ValueError:  # some are on another drive, or only some are absolute
        return [path.as_posix() for path in paths]
    return [path.relative_to(folder).as_posix() for path in paths]


def _mark(found: dict[str, Any], image: Detections, sample: Sample, categories: Sequence[int], conf: float) -> None:
    """Add the labels and detections of an image."""
    labels = pixel_boxes(sample, image.image_size)
    crowd = np.zeros(len(labels), bool) if sample.crowd is None else sample.crowd
    iou = overlaps(image.boxes_xyxy.astype(np.float64), labels, crowd)
    taken = matched(image, sample, iou, crowd, conf)
    first, number = len(found["annotations"]) + 1, len(found["predictions"])
    areas = np.prod(labels[:, 2:] - labels[:, :2], axis=1) if sample.areas is None else sample.areas
    own: list[dict[str, Any]] = [
        _annotation(first + j, sample, int(sample.class_ids[j]), box, categories)
        | {"area": float(areas[j]), "iscrowd": int(crowd[j]), "eval": "ignored" if crowd[j] else "fn"}
        for j, box in enumerate(labels)
    ]
    for i in np.flatnonzero(image.scores >= conf):
        number += 1
        entry = _annotation(number, sample, int(image.class_ids[i]), image.boxes_xyxy[i], categories)
        entry |= {"score": float(image.scores[i]), "eval": "fp"}
        if taken[i] >= 0 and crowd[taken[i]]:
            entry["eval"] = "ignored"
        elif taken[i] >= 0:
            both = {"eval": "tp", "eval_iou": float(iou[i, taken[i]])}
            entry |= both | {"eval_id": first + int(taken[i])}
            own[taken[i]] |= both | {"eval_id": number}
        found["predictions"].append(entry)
    found["annotations"] += own


def _annotation(number: int, sample: Sample, class_id: int, box: Any, categories: Sequence[int]) -> dict[str, Any]:
    left, top, right, bottom = map(float, box)
    box_xywh = [left, top, right - left, bottom - top]
    return {"id": number, "image_id": sample.image_id, "category_id": categories[class_id], "bbox": box_xywh}
