"""Boxes in one CSV file, ``boxes.csv``: image, split, class, left, top, right, bottom in pixels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from regard.data.dataset import DetectionDataset, Sample
from regard.data.images import ImageFile, image_size

EXPECTED = "a folder with boxes.csv"


def recognise(source: str) -> bool:
    """Check for ``boxes.csv``."""
    return Path(source, "boxes.csv").is_file()


def read(source: str) -> DetectionDataset:
    """Read the table; images are next to it."""
    folder = Path(source)
    with (folder / "boxes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["class"] for row in rows})
    splits: dict[str, list[Sample]] = {}
    for index, (split, name) in enumerate(dict.fromkeys((row["split"], row["image"]) for row in rows)):
        own = [row for row in rows if row["image"] == name]
        image = ImageFile(folder / name)
        height, width = image_size(image)
        corners = np.array([[float(row[side]) for side in ("left", "top", "right", "bottom")] for row in own])
        boxes = np.concatenate([corners[:, :2] + corners[:, 2:], 2 * (corners[:, 2:] - corners[:, :2])], axis=1) / 2
        sample = Sample(
            image=image,
            image_id=index,
            class_ids=np.array([names.index(row["class"]) for row in own]),
            boxes_cxcywh=(boxes / [width, height, width, height]).astype(np.float32),
        )
        splits.setdefault(split, []).append(sample)
    return DetectionDataset(tuple(names), {split: tuple(own) for split, own in splits.items()}, "csv", source)
