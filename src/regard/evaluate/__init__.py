"""What a detector is worth on labelled images."""

from __future__ import annotations

from regard.evaluate.coco import save_coco_json
from regard.evaluate.metrics import ClassMetrics, Curves, Metrics, Speed
from regard.evaluate.run import check_classes, detect, evaluate
from regard.evaluate.score import score

__all__ = [
    "ClassMetrics",
    "Curves",
    "Metrics",
    "Speed",
    "check_classes",
    "detect",
    "evaluate",
    "save_coco_json",
    "score",
]
