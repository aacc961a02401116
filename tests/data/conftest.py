"""Tiny images and data sets that the readers' tests share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from memory_images import record

from regard.data.dataset import Sample

Paint = Callable[[Path, int, int], Path]


@pytest.fixture
def coco_content() -> dict[str, Any]:
    """COCO JSON of two images (a.png is 20 wide and 10 high) with the categories 7 and 3, in that order."""
    return {
        "images": [
            {"id": 11, "file_name": "a.png", "width": 20, "height": 10},
            {"id": 5, "file_name": "b.png", "width": 7, "height": 19},
        ],
        "annotations": [
            {"id": 1, "image_id": 11, "category_id": 7, "bbox": [2, 1, 10, 4], "area": 31.5, "iscrowd": 0},
            {"id": 2, "image_id": 11, "category_id": 3, "bbox": [0, 0, 20, 10], "iscrowd": 1},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


@pytest.fixture
def coco_file(tmp_path: Path, coco_content: dict[str, Any], paint: Paint) -> Path:
    """``coco_content`` as annotations/instances_train.json, with its images in images/."""
    paint(tmp_path / "images" / "a.png", 10, 20)
    paint(tmp_path / "images" / "b.png", 19, 7)
    file = tmp_path / "annotations" / "instances_train.json"
    file.parent.mkdir()
    file.write_text(json.dumps(coco_content))
    return file


def voc_object(name: str, left: float, top: float, right: float, bottom: float) -> str:
    """One ``<object>`` of a VOC file."""
    return (
        f"<object><name>{name}</name><difficult>1</difficult><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
    )


@pytest.fixture
def voc_set(tmp_path: Path, paint: Paint) -> Path:
    """A VOC set, images of 20 x 10 pixels: ``a`` for training (a dog, a cat), ``b`` for validation (a dog)."""
    boxes = {
        "a": voc_object("dog", 2, 1, 12, 5) + voc_object("cat", 0, 0, 20, 10),
        "b": voc_object("dog", 5, 5, 10, 10),
    }
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for stem, objects in boxes.items():
        paint(tmp_path / "JPEGImages" / f"{stem}.jpg", 10, 20)
        size = "<size><width>20</width><height>10</height><depth>3</depth></size>"
        text = f"<annotation>{size}{objects}</annotation>"
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(text)
    for split, stems in {"train": "a\n", "val": "b\n", "trainval": "a\nb\n"}.items():
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text(stems)
    return tmp_path


@pytest.fixture(scope="module")
def records() -> tuple[Sample, ...]:
    """Seven images of all shapes, the fourth without boxes."""
    return tuple(record(k, boxes=k % 4 if k != 4 else 5) for k in range(7))
