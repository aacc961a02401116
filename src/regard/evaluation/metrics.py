"""Results of an evaluation, as plain values that print as a table, and their computation from detections and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group

from regard.data.dataset import Sample
from regard.evaluation.coco import IOU_50, IOU_75, LARGE, MEDIUM, SMALL, CocoResult, coco_evaluate
from regard.evaluation.matching import CONFIDENCE, IOU, confusion_matrix, curve, match_classes
from regard.evaluation.ultralytics import UltralyticsMetrics, ultralytics_metrics
from regard.system.notebook import ShownInNotebooks
from regard.system.plain_table import PlainTable
from regard.types import Detections

HEADLINE = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "precision", "recall", "f1")


@dataclass(frozen=True)
class ClassMetrics:
    """The measures of one class; NaN where the data have no box of it.

    Attributes:
        name: of the class.
        labels: its labelled boxes, crowds left out.
        ap: mean over IoU 0.50, 0.55 ... 0.95.
        ap50: at IoU 0.5.
        precision: at IoU 0.5 and the confidence of best F1 over all classes.
        recall: likewise.
    """

    name: str
    labels: int
    ap: float
    ap50: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Curves:
    """Data for plots, at IoU 0.5, one row per class; NaN where the data have no box of it.

    Attributes:
        confidence: (T,) thresholds from 0 to 1.
        precision: (classes, T) of the detections that score at least the threshold; 0 where there is none.
        recall: (classes, T).
        f1: (classes, T).
        recall_levels: (101,) 0, 0.01 ... 1.
        best_precision: (classes, 101) the best precision at that or a greater recall, by the COCO protocol.
    """

    confidence: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    recall_levels: NDArray[np.float64]
    best_precision: NDArray[np.float64]


@dataclass(frozen=True)
class Speed:
    """Average milliseconds per image.

    Attributes:
        preprocess: waiting for the loader, moving to the device, scaling to 0..1.
        network: the forward pass with the decoding of boxes.
        nms: suppression, and moving the boxes back to the original image.
    """

    preprocess: float
    network: float
    nms: float


@dataclass(frozen=True)
class Metrics(ShownInNotebooks):
    """Metrics of a detector on a set of labelled images.

    AP follows the COCO protocol (101 recall levels, 100 best detections per image and class). Precision, recall and F1
    are means over the classes that the data have, at IoU 0.5 and at the one confidence, of 0, 0.001 ... 1, where the
    mean F1 is greatest. Metrics without any labelled box are NaN.

    Attributes:
        ap: mean over IoU 0.50, 0.55 ... 0.95, the headline number of COCO.
        ap50: at IoU 0.5.
        ap75: at IoU 0.75.
        ap_small: `ap` of objects below 32 x 32 pixels of area.
        ap_medium: from 32 x 32 to 96 x 96.
        ap_large: above.
        precision: fraction of the detections that are correct.
        recall: fraction of the labelled boxes that are detected.
        f1: mean of the harmonic means of the two, class by class.
        confidence: threshold at which these three are computed.
        images: number of images.
        per_class: one entry per class, in the order of their indices.
        confusion: (classes + 1, classes + 1) counts at confidence 0.25 and IoU 0.5; rows are what is labelled,
            columns the detected class; the last row and column are background.
        curves: precision and recall against confidence and each other.
        speed: None where no network ran.
        ultralytics: mAP of the same detections by Ultralytics' protocol, where that was asked for.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    precision: float
    recall: float
    f1: float
    confidence: float
    images: int
    per_class: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]
    curves: Curves
    speed: Speed | None = None
    ultralytics: UltralyticsMetrics | None = None

    @property
    def fitness(self) -> float:
        """0.1 AP50 + 0.9 AP, by which YOLOv5 chooses the best checkpoint; 0 where AP is undefined."""
        return 0.0 if math.isnan(self.ap) else 0.1 * self.ap50 + 0.9 * self.ap

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={getattr(self, name):.4g}" for name in HEADLINE[:3])
        return f"Metrics({numbers}, images={self.images}, classes={len(self.per_class)})"

    def to_dict(self) -> dict[str, Any]:
        """Convert all metrics except the curves to values for JSON; NaN becomes None."""
        values: dict[str, Any] = {name: _number(getattr(self, name)) for name in (*HEADLINE, "confidence", "images")}
        values["per_class"] = [{k: _number(v) for k, v in asdict(entry).items()} for entry in self.per_class]
        values["confusion"] = self.confusion.tolist()
        values["speed"] = asdict(self.speed) if self.speed else None
        if self.ultralytics:
            own = asdict(self.ultralytics).items()
            values["ultralytics"] = {k: [*map(_number, v)] if isinstance(v, tuple) else _number(v) for k, v in own}
        return values

    def __rich__(self) -> Group:
        table = PlainTable(caption=self._caption(), caption_justify="left")
        table.add_column("class")
        for title in ("labels", "AP", "AP50", "AP75", "precision", "recall", "F1"):
            table.add_column(title, justify="right")
        labels = sum(entry.labels for entry in self.per_class)
        whole = (self.ap, self.ap50, self.ap75, self.precision, self.recall, self.f1)
        table.add_row("all", str(labels), *map(_text, whole), style="bold", end_section=True)
        for entry in self.per_class:
            if entry.labels:
                f1 = _harmonic_mean(entry.precision, entry.recall)
                numbers = (_text(entry.ap), _text(entry.ap50), "", *map(_text, (entry.precision, entry.recall, f1)))
                table.add_row(entry.name, str(entry.labels), *numbers)
        return Group(table)

    def _caption(self) -> str:
        small, medium, large = map(_text, (self.ap_small, self.ap_medium, self.ap_large))
        text = (
            f"{self.images} images. AP of small objects {small}, medium objects {medium}, large objects {large}. "
            f"Precision, recall and F1 at confidence {self.confidence:.3f}."
        )
        if self.ultralytics:
            u = self.ultralytics
            text += (
                f"\nBy Ultralytics' protocol: mAP50-95 {_text(u.map)}, mAP50 {_text(u.map50)}, precision "
                f"{_text(u.precision)} and recall {_text(u.recall)} at confidence {_text(u.confidence)}."
            )
        if self.speed:
            s = self.speed
            text += f"\nms per image: preprocess {s.preprocess:.1f}, network {s.network:.1f}, NMS {s.nms:.1f}"
        return text


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


def score(
    detections: Sequence[Detections],
    records: Sequence[Sample],
    names: Sequence[str],
    *,
    speed: Speed | None = None,
    by_ultralytics: bool = False,
) -> Metrics:
    """Measure detections against labels.

    Args:
        detections: those of each record's image, with its ``image_size``.
        records: the labelled images, in the same order.
        names: class names by class id; no detection or label may have another class.
        speed: how long it took, to be kept with the rest.
        by_ultralytics: measure mAP by Ultralytics' protocol too.
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
        ultralytics=ultralytics_metrics(detections, records, len(names)) if by_ultralytics else None,
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
