"""What the detectors of a study found on val, read back from the runs' folders and matched with the labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.ablate.bootstrap import DRAWS, draw_images, image_interval
from regard.ablate.record import RunRecord, StudyRecord
from regard.data.dataset import Sample
from regard.data.images import image_size
from regard.errors import RegardError
from regard.evaluation.reweigh import match_classes, weighted_ap
from regard.types import Detections

LEVELS = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}
"""IoU thresholds of the metrics that can be measured on drawn images."""


def val_file(run: RunRecord) -> Path:
    """Return the file that holds what a finished run found on val."""
    return run.folder / "val.json"


def image_sizes(records: Sequence[Sample]) -> list[tuple[int, int]]:
    """Return (height, width) of each image in pixels, of the image itself as detections are."""
    return [image_size(record.image) for record in records]


def read_found(run: RunRecord, sizes: Sequence[tuple[int, int]], names: Sequence[str]) -> list[Detections]:
    """Return the detections in each val image, best score first.

    Raises:
        RegardError: the file is missing, damaged, or of other images or classes.
    """
    file = val_file(run)
    try:
        entries = json.loads(file.read_text())
        rows = np.array([(e["image_id"], e["category_id"], e["score"], *e["bbox"]) for e in entries], dtype=np.float64)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RegardError(f"no detections to be read ({error})", file=file, expected="a COCO results file") from error
    rows = rows.reshape(-1, 7)
    rows = rows[np.argsort(-rows[:, 2], kind="stable")]
    limits = [(0, 1, len(sizes)), (1, 0, len(names) - 1)]
    if any(rows[:, i].min(initial=low) < low or rows[:, i].max(initial=low) > high for i, low, high in limits):
        raise RegardError("detections in other images or of other classes than val has", file=file)
    by_id, own = dict(enumerate(names)), rows[:, 0].astype(int)
    return [_detections(rows[own == i], size, by_id) for i, size in enumerate(sizes, start=1)]


def image_intervals(
    study: StudyRecord, records: Sequence[Sample], names: Sequence[str], draws: int = DRAWS
) -> dict[str, tuple[float, float]]:
    """Return for every variant the image bootstrap interval of its difference from the base, averaged over seeds.

    Args:
        study: whose finished runs have their detections in their folders; others are left out.
        records: the val images.
        names: class names.
        draws: of images.

    Returns:
        By variant; empty for a metric that is no AP over all sizes.
    """
    if study.metric not in LEVELS or not records:
        return {}
    sizes, weights = image_sizes(records), draw_images(len(records), draws)

    def measured(run: RunRecord) -> NDArray[np.float64]:
        matches = match_classes(read_found(run, sizes, names), records, len(names))
        return weighted_ap(matches, weights, LEVELS[study.metric])

    by_run = {(r.variant, r.seed): measured(r) for r in study.runs if r.status == "finished" and val_file(r).is_file()}
    intervals = {}
    for variant in study.variants[1:]:
        seeds = [s for s in study.seeds if (variant.name, s) in by_run and (study.base.name, s) in by_run]
        own, base = (
            np.reshape([by_run[name, seed] for seed in seeds], (len(seeds), draws))
            for name in (variant.name, study.base.name)
        )
        intervals[variant.name] = image_interval(own, base, 1 - study.alpha)
    return intervals


def _detections(rows: NDArray[np.float64], size: tuple[int, int], names: Mapping[int, str]) -> Detections:
    boxes = rows[:, 3:].copy()
    boxes[:, 2:] += boxes[:, :2]
    scores, class_ids = rows[:, 2].astype(np.float32), rows[:, 1].astype(np.int64)
    return Detections(boxes.astype(np.float32), scores, class_ids, names, size)
