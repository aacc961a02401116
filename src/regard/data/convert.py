"""Conversion of a data set of any format that can be read to YOLO or COCO: written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import yaml

from regard.data.dataset import DetectionDataset, Problem, Sample
from regard.data.files import UNDIVIDED
from regard.data.images import ImageFile, image_size
from regard.data.problems import drop_unreadable
from regard.errors import RegardError, nearest
from regard.system.files import is_folder, is_there, make_folder
from regard.system.scratch import scratch_folder


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        folder: the new data set.
        images: number of images in each split.
        boxes: number of boxes in each split.
        problems: those of the source, and what the new format cannot hold.
    """

    folder: Path
    images: Mapping[str, int]
    boxes: Mapping[str, int]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class _Written:
    """An image in the new folder: its sample, its path within the folder and its (height, width)."""

    sample: Sample
    path: str
    size: tuple[int, int]


def convert_data(data: DetectionDataset, folder: Path, to: str = "yolo") -> Conversion:
    """Write a data set with its images, splits and class names into a new folder.

    YOLO: ``data.yaml``, ``images/SPLIT`` and ``labels/SPLIT``. COCO: ``annotations/instances_SPLIT.json`` and
    ``images/SPLIT``. Images are copied byte for byte; of two with one name in a split, the second gets a number. Images
    that cannot be read are left out; damaged ones are copied and reported. YOLO has no mark for boxes around groups
    (COCO ``iscrowd``), so these are left out there. Images that belong to no split are written as ``train`` (YOLO) or
    ``default`` (COCO).

    Args:
        data: the data set.
        folder: a folder that does not exist or is empty.
        to: "yolo" or "coco".

    Raises:
        RegardError: the folder is not empty, is inside the data set or cannot be written, or the format is unknown.

    Example:
        >>> import tempfile
        >>> from regard.data.formats import load_data
        >>> folder = Path(tempfile.mkdtemp()) / "drawn"
        >>> convert_data(load_data("synthetic:local?train=3&val=2&test=0"), folder).images
        {'train': 3, 'val': 2}
        >>> load_data(folder).format
        'yolo'
    """
    if to not in WRITERS:
        expected = " or ".join(WRITERS)
        raise RegardError(f"unknown format {to!r}", expected=expected, hint=nearest(to, WRITERS))
    if is_there(folder) and not (is_folder(folder) and not any(folder.iterdir())):
        raise RegardError("this is there already", file=folder, expected="a new or empty folder")
    source = Path(data.source).resolve()
    if source.is_dir() and folder.resolve().is_relative_to(source):
        raise RegardError("this is inside the data set", file=folder, expected="a folder outside of it")
    data = drop_unreadable(data)
    problems = list(data.problems)
    try:
        make_folder(folder.parent)
        with scratch_folder(folder.parent) as scratch:
            target = scratch / "data"
            written = {split: list(_copy(samples, target, split)) for split, samples in _parts(data, to)}
            WRITERS[to](data, written, target, problems)
            if is_there(folder):
                folder.rmdir()
            os.rename(target, folder)
    except OSError as error:
        raise RegardError(f"cannot write the data set: {error.strerror or error}", file=folder) from error
    boxes = {split: sum(_counted(one.sample, to) for one in images) for split, images in written.items()}
    return Conversion(folder, {split: len(images) for split, images in written.items()}, boxes, tuple(problems))


def _parts(data: DetectionDataset, to: str) -> Iterator[tuple[str, tuple[Sample, ...]]]:
    for split, samples in data.splits.items():
        yield (split if split != UNDIVIDED else "train" if to == "yolo" else "default"), samples


def _counted(sample: Sample, to: str) -> int:
    crowds = int(sample.crowd.sum()) if sample.crowd is not None and to == "yolo" else 0
    return len(sample.class_ids) - crowds


def _copy(samples: tuple[Sample, ...], target: Path, split: str) -> Iterator[_Written]:
    """Copy the images of a split; stems are unique without regard to capitals, since labels are named by them."""
    folder = target / "images" / split
    folder.mkdir(parents=True)
    used: set[str] = set()
    for sample in samples:
        source = Path(sample.image.name) if isinstance(sample.image, ImageFile) else Path(f"{len(used):06}.png")
        stem, number = source.stem, 2
        while stem.casefold() in used:
            stem, number = f"{source.stem}_{number}", number + 1
        used.add(stem.casefold())
        file = folder / f"{stem}{source.suffix}"
        if isinstance(sample.image, ImageFile):
            shutil.copyfile(sample.image.path, file)
        else:
            pixels = cv2.cvtColor(sample.image.read(), cv2.COLOR_RGB2BGR)
            file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        yield _Written(sample, file.relative_to(target).as_posix(), image_size(sample.image))


def _write_yolo(
    data: DetectionDataset, written: Mapping[str, list[_Written]], target: Path, problems: list[Problem]
) -> None:
    for split, images in written.items():
        (target / "labels" / split).mkdir(parents=True)
        for image in images:
            sample = image.sample
            crowd = [False] * len(sample.class_ids) if sample.crowd is None else sample.crowd.tolist()
            rows = zip(sample.class_ids.tolist(), sample.boxes_cxcywh.tolist(), crowd, strict=True)
            lines = [f"{k} {' '.join(f'{value:.9g}' for value in box)}\n" for k, box, is_crowd in rows if not is_crowd]
            label = target / "labels" / split / f"{Path(image.path).stem}.txt"
            label.write_text("".join(lines), encoding="utf-8", newline="\n")
            if any(crowd):
                found = f"{sum(crowd)} boxes around groups of objects"
                done = "boxes left out: YOLO has no such mark"
                problems.append(Problem("crowd", sample.image.name, found, done, lost=True))
    config = {**{split: f"images/{split}" for split in written}, "nc": len(data.names), "names": list(data.names)}
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    (target / "data.yaml").write_text(text, encoding="utf-8", newline="\n")


def _write_coco(
    data: DetectionDataset, written: Mapping[str, list[_Written]], target: Path, _problems: list[Problem]
) -> None:
    category_ids = data.category_ids or tuple(range(1, len(data.names) + 1))
    categories = [{"id": key, "name": name} for key, name in zip(category_ids, data.names, strict=True)]
    (target / "annotations").mkdir()
    for split, images in written.items():
        stated = [image.sample.image_id for image in images]
        keys = stated if len(set(stated)) == len(stated) and data.format == "coco" else range(1, len(images) + 1)
        annotations: list[dict[str, Any]] = []
        entries = []
        for key, image in zip(keys, images, strict=True):
            height, width = image.size
            name = image.path.removeprefix(f"images/{split}/")
            entries.append({"id": key, "file_name": name, "width": width, "height": height})
            for annotation in _annotations(image, category_ids):
                annotations.append({"id": len(annotations) + 1, "image_id": key, **annotation})
        content = {"images": entries, "annotations": annotations, "categories": categories}
        file = target / "annotations" / f"instances_{split}.json"
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _annotations(image: _Written, category_ids: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    sample, (height, width) = image.sample, image.size
    for index, (class_id, (cx, cy, w, h)) in enumerate(
        zip(sample.class_ids.tolist(), sample.boxes_cxcywh.tolist(), strict=True)
    ):
        box = [(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height]
        area = float(sample.areas[index]) if sample.areas is not None else box[2] * box[3]
        crowd = int(sample.crowd[index]) if sample.crowd is not None else 0
        rounded = [round(value, 4) for value in box]
        yield {"category_id": category_ids[class_id], "bbox": rounded, "area": round(area, 4), "iscrowd": crowd}


Writer = Callable[[DetectionDataset, Mapping[str, list[_Written]], Path, list[Problem]], None]

WRITERS: dict[str, Writer] = {"yolo": _write_yolo, "coco": _write_coco}
"""Formats that can be written, by name."""
