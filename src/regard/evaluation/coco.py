"""Average precision by the COCO protocol, through faster-coco-eval, and detections as a COCO results file.

Lin et al., Microsoft COCO, arXiv:1405.0312; the protocol is that of pycocotools: greedy matching by score, crowds
neither correct nor wrong, 10 IoU thresholds, 101 recall levels, the 100 best detections per image and class.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from regard.data.dataset import Sample
from regard.geometry.boxes import cxcywh_to_xyxy
from regard.system.files import make_folder, write_file
from regard.types import Detections

ALL_AREAS, SMALL, MEDIUM, LARGE = range(4)
IOU_50, IOU_75 = 0, 5


@dataclass(frozen=True)
class CocoResult:
    """Precision of every class at every level.

    Attributes:
        precision: (10 IoU thresholds, 101 recall levels, classes, 4 area ranges), NaN where there are no labels.
    """

    precision: NDArray[np.float64]

    def ap(self, iou: int | None = None, area: int = ALL_AREAS) -> float:
        """Mean over the classes that have labels; NaN without any."""
        return _mean(self.precision[:, :, :, area] if iou is None else self.precision[iou, :, :, area])

    def class_ap(self, class_id: int, iou: int | None = None) -> float:
        """Mean for one class; NaN without labels."""
        own = self.precision[:, :, class_id, ALL_AREAS]
        return _mean(own if iou is None else own[iou])


def coco_evaluate(detections: Sequence[Detections], records: Sequence[Sample], classes: int) -> CocoResult:
    """Compute precision by the COCO protocol from the detections of each sample."""
    truth = COCO(_ground_truth(detections, records, classes), print_function=_silence)
    image_ids = range(1, len(records) + 1)
    found = truth.loadRes(coco_rows(detections, image_ids, range(classes)))
    evaluation = COCOeval_faster(truth, found, "bbox", print_function=_silence)
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"], dtype=np.float64)[..., -1]
    return CocoResult(np.where(precision < 0, np.nan, precision))


def coco_rows(
    detections: Sequence[Detections], image_ids: Sequence[int], category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Convert detections to the entries of a COCO results file: boxes are left, top, width, height in pixels."""
    rows = []
    for image_id, image in zip(image_ids, detections, strict=True):
        boxes = image.boxes_xyxy.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        values = zip(boxes.tolist(), image.scores.tolist(), image.class_ids.tolist(), strict=True)
        for box, score, class_id in values:
            rows.append({"image_id": image_id, "category_id": category_ids[class_id], "bbox": box, "score": score})
    return rows


def save_coco_json(
    path: str | Path,
    detections: Sequence[Detections],
    records: Sequence[Sample],
    category_ids: Sequence[int] | None = None,
) -> Path:
    """Write a COCO results file with the data set's own image ids.

    Args:
        path: the file; an existing one is replaced.
        detections: of each record.
        records: give the image ids.
        category_ids: the ids of the classes in the data set's COCO file; by default their indices.

    Raises:
        RegardError: the file cannot be written.
    """
    classes = 1 + max((int(d.class_ids.max()) for d in detections if len(d)), default=0)
    rows = coco_rows(detections, [r.image_id for r in records], category_ids or range(classes))
    path = Path(path)
    make_folder(path.parent)
    write_file(path, json.dumps(rows))
    return path


def _ground_truth(detections: Sequence[Detections], records: Sequence[Sample], classes: int) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image_id, (record, image) in enumerate(zip(records, detections, strict=True), start=1):
        boxes = pixel_boxes(record, image.image_size)
        boxes[:, 2:] -= boxes[:, :2]
        areas = boxes[:, 2] * boxes[:, 3] if record.areas is None else record.areas
        crowd = np.zeros(len(boxes), dtype=bool) if record.crowd is None else record.crowd
        for box, area, is_crowd, class_id in zip(boxes, areas, crowd, record.class_ids, strict=True):
            ids = {"id": len(annotations) + 1, "image_id": image_id, "category_id": int(class_id)}
            annotations.append(ids | {"bbox": box.tolist(), "area": float(area), "iscrowd": int(is_crowd)})
    return {
        "images": [{"id": i} for i in range(1, len(records) + 1)],
        "categories": [{"id": i, "name": str(i)} for i in range(classes)],
        "annotations": annotations,
    }


def pixel_boxes(record: Sample, image_size: tuple[int, int]) -> NDArray[np.float64]:
    """Convert the labelled boxes to (N, 4) left, top, right, bottom in pixels."""
    height, width = image_size
    return cxcywh_to_xyxy(record.boxes_cxcywh) * (width, height, width, height)


def _mean(precision: NDArray[np.float64]) -> float:
    known = precision[~np.isnan(precision)]
    return float(known.mean()) if known.size else float("nan")


def _silence(*_: object) -> None:
    """Print nothing."""
