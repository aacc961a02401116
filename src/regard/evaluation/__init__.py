"""Evaluation of a detector on labelled images."""

from __future__ import annotations

from regard.evaluation.classes import align_classes
from regard.evaluation.coco import save_coco_json
from regard.evaluation.metrics import ClassMetrics, Curves, Metrics, Speed, score
from regard.evaluation.run import detect, evaluate, load_split, validate
from regard.evaluation.ultralytics import UltralyticsMetrics

__all__ = [
    "ClassMetrics",
    "Curves",
    "Metrics",
    "Speed",
    "UltralyticsMetrics",
    "align_classes",
    "detect",
    "evaluate",
    "load_split",
    "save_coco_json",
    "score",
    "validate",
]
