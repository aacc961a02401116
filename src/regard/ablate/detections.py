"""Detections of runs on val: read back from their folders, and the metric on resampled images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from regard.ablate.folder import VAL, RunRecord
from regard.data.dataset import Sample
from regard.data.images import image_size
from regard.errors import RegardError
from regard.evaluation.matching import match_classes, weighted_ap
from regard.types import Detections

LEVELS = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}
"""IoU thresholds of the metrics that can be measured on resampled images."""


def image_sizes(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """(height, width) in pixels of each image file, to which detections refer."""
    return [image_size(sample.image) for sample in samples]


def read_detections(run: RunRecord, sizes: Sequence[tuple[int, int]], names: Sequence[str]) -> list[Detections]:
    """Read the detections in each val image, best score first.

    Raises:
        RegardError: the file is missing, damaged, or belongs to other images or classes.
    """
    file = run.folder / VAL
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        rows = np.array([(e["image_id"], e["category_id"], e["score"], *e["bbox"]) for e in entries], dtype=np.float64)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RegardError(
            f"the detections cannot be read ({error})", file=file, expected="a COCO results file"
        ) from error
    rows = rows.reshape(-1, 7)
    rows = rows[np.argsort(-rows[:, 2], kind="stable")]
    limits = [(0, 1, len(sizes)), (1, 0, len(names) - 1)]
    if any(rows[:, i].min(initial=low) < low or rows[:, i].max(initial=low) > high for i, low, high in limits):
        raise RegardError("detections in other images or of other classes than those of val", file=file)
    by_id, own = dict(enumerate(names)), rows[:, 0].astype(int)
    return [_detections(rows[own == i], size, by_id) for i, size in enumerate(sizes, start=1)]


def resampled_metric(
    run: RunRecord, metric: str, weights: NDArray[np.int64], samples: Sequence[Sample], names: Sequence[str]
) -> NDArray[np.float64] | None:
    """Compute AP of a run's detections on draws of val images; None for a metric that is not an AP over all sizes.

    Args:
        run: finished, with its detections in its folder.
        metric: that decides.
        weights: (draws, images) how often each image was drawn.
        samples: the val images with their labels.
        names: class names.

    Returns:
        (draws,) AP; NaN for a draw without labelled boxes.
    """
    if metric not in LEVELS:
        return None
    detections = read_detections(run, image_sizes(samples), names)
    return weighted_ap(match_classes(detections, samples, len(names)), weights, LEVELS[metric])


def _detections(rows: NDArray[np.float64], size: tuple[int, int], names: Mapping[int, str]) -> Detections:
    boxes = rows[:, 3:].copy()
    boxes[:, 2:] += boxes[:, :2]
    scores, class_ids = rows[:, 2].astype(np.float32), rows[:, 1].astype(np.int64)
    return Detections(boxes.astype(np.float32), scores, class_ids, names, size)
