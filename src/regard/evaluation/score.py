"""From detections and labels to `Metrics`, fast enough for every epoch of a training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regard.data.dataset import Sample
from regard.evaluation.coco import IOU_50, IOU_75, LARGE, MEDIUM, SMALL, CocoResult, coco_evaluate
from regard.evaluation.matching import CONFIDENCE, IOU, confusion_matrix, curve, match_classes
from regard.evaluation.metrics import ClassMetrics, Curves, Metrics, Speed
from regard.types import Detections


def score(
    detections: Sequence[Detections],
    records: Sequence[Sample],
    names: Sequence[str],
    *,
    speed: Speed | None = None,
) -> Metrics:
    """Measure detections against labels.

    Args:
        detections: those of each record's image, with its ``image_size``.
        records: the labelled images, in the same order.
        names: class names by class id; no detection or label may have another class.
        speed: how long it took, to be kept with the rest.
    """
    coco = coco_evaluate(detections, records, len(names))
    matches = match_classes(detections, records, len(names), (IOU,))
    labels = np.array([own.labels.sum() for own in matches])
    curves = _curves([curve(own) for own in matches], coco)
    labelled = labels > 0
    level = int(curves.f1[labelled].mean(axis=0).argmax()) if labelled.any() else 0
    at_level = [values[:, level] for values in (curves.precision, curves.recall, curves.f1)]
    precision, recall, f1 = (float(values[labelled].mean()) if labelled.any() else float("nan") for values in at_level)
    return Metrics(
        ap=coco.ap(),
        ap50=coco.ap(IOU_50),
        ap75=coco.ap(IOU_75),
        ap_small=coco.ap(area=SMALL),
        ap_medium=coco.ap(area=MEDIUM),
        ap_large=coco.ap(area=LARGE),
        precision=precision,
        recall=recall,
        f1=f1,
        confidence=float(CONFIDENCE[level]),
        images=len(records),
        per_class=_by_class(names, labels.tolist(), coco, curves, level),
        confusion=confusion_matrix(detections, records, len(names)),
        curves=curves,
        speed=speed,
    )


def _by_class(
    names: Sequence[str], labels: Sequence[int], coco: CocoResult, curves: Curves, level: int
) -> tuple[ClassMetrics, ...]:
    return tuple(
        ClassMetrics(
            name=name,
            labels=labels[i],
            ap=coco.class_ap(i),
            ap50=coco.class_ap(i, IOU_50),
            precision=float(curves.precision[i, level]),
            recall=float(curves.recall[i, level]),
        )
        for i, name in enumerate(names)
    )


def _curves(by_class: list[tuple[np.ndarray, np.ndarray, np.ndarray]], coco: CocoResult) -> Curves:
    precision, recall, f1 = (np.stack(values) for values in zip(*by_class, strict=True))
    return Curves(
        confidence=CONFIDENCE,
        precision=precision,
        recall=recall,
        f1=f1,
        recall_levels=np.linspace(0, 1, 101),
        best_precision=coco.precision[IOU_50, :, :, 0].T,
    )
