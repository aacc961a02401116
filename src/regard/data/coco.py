"""COCO JSON: images, categories and boxes of a split in one file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from regard.data.dataset import DetectionDataset, Problem, Sample
from regard.data.files import is_file, read_text
from regard.data.images import ImageFile, image_size
from regard.data.labels import Label, clean, to_arrays
from regard.data.splits import missing_images, split_in, undivided
from regard.errors import RegardError

EXPECTED = "COCO JSON: images, annotations, categories"

Entry = dict[str, Any]


@dataclass(frozen=True)
class _Document:
    """One parsed JSON file: its categories by id, its images, and its annotations by image id."""

    file: Path
    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: list[Entry]
    annotations: dict[int, list[tuple[int, Entry]]]


def read_coco(source: Path) -> DetectionDataset:
    """Read one COCO JSON, or those of a folder.

    A folder gives a split for each of ``annotations/*.json`` (``instances_*`` if there are such), of its own ``*.json``
    or of ``*/*.json``, by the word train, val or test in the file's or its folder's name. One file gives the split in
    its name alone; where there is no such word, all its images are both "train" and "val".

    Classes are the categories ordered by id, ``category_ids`` the ids they have in the file. Boxes are fractions of the
    size in the JSON. Images are looked for beside the JSON and in the set's folders, those named like the JSON first.

    Raises:
        RegardError: a file is not COCO JSON, two files claim one split or differ in categories, no image is found.
    """
    files = find_json(source) if source.is_dir() else [source]
    documents: dict[str, _Document] = {}
    for file in files:
        split = split_in(file.stem) or split_in(file.parent.name) or ""
        if split in documents:
            raise RegardError(
                f"{documents[split].file.name} and {file.name} are both {split or 'without a split in their name'}",
                file=file.parent,
                hint="name the one .json to use",
            )
        documents[split] = _parse(file)
    first = next(iter(documents.values()))
    for other in documents.values():
        if (other.names, other.category_ids) != (first.names, first.category_ids):
            raise RegardError("has other categories", file=other.file, expected=f"those of {first.file}")
    splits: dict[str, tuple[Sample, ...]] = {}
    problems: list[Problem] = []
    for split, document in documents.items():
        records, found = _records(document)
        splits.update({split: records} if split else undivided(records))
        problems += found
    return DetectionDataset(first.names, splits, "coco", str(source), tuple(problems), first.category_ids)


def find_json(folder: Path) -> list[Path]:
    """Return the COCO files of a folder in its usual places; empty if there are none."""
    for pattern in ("annotations/instances_*.json", "annotations/*.json", "*.json", "*/*.json"):
        files = sorted(folder.glob(pattern))
        if files:
            return files
    return []


def _parse(file: Path) -> _Document:
    try:
        content = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise RegardError(f"not valid JSON: {error.msg}", file=file, line=error.lineno) from error
    except RecursionError as error:
        raise RegardError("lists are nested too deep", file=file, expected=EXPECTED) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise RegardError(f"has no list {key!r}", file=file, expected=EXPECTED)
    categories = {_whole(c, "id", f"categories[{i}]", file): c for i, c in enumerate(content["categories"])}
    if not categories or len(categories) < len(content["categories"]):
        raise RegardError("has no categories, or two of one id", file=file)
    annotations: dict[int, list[tuple[int, Entry]]] = {}
    for index, annotation in enumerate(content["annotations"]):
        image_id = _whole(annotation, "image_id", f"annotations[{index}]", file)
        annotations.setdefault(image_id, []).append((index, annotation))
    category_ids = tuple(sorted(categories))
    names = tuple(str(categories[category_id].get("name", category_id)) for category_id in category_ids)
    return _Document(file, names, category_ids, content["images"], annotations)


def _records(document: _Document) -> tuple[tuple[Sample, ...], list[Problem]]:
    class_ids = {category_id: index for index, category_id in enumerate(document.category_ids)}
    folder = _image_folder(document)
    records: list[Sample] = []
    absent: list[Path] = []
    problems: list[Problem] = []
    ids: set[int] = set()
    for index, entry in enumerate(document.images):
        place = f"images[{index}]"
        image_id = _whole(entry, "id", place, document.file)
        if image_id in ids:
            raise RegardError(f"{place} has the id {image_id} of another image", file=document.file)
        ids.add(image_id)
        image = folder / _file_name(entry, place, document.file)
        if not is_file(image):
            absent.append(image)
            continue
        record, found = _record(image, image_id, entry, document, class_ids)
        records.append(record)
        problems += found
    problems += missing_images(absent, document.file)
    strangers = ((image_id, entries) for image_id, entries in document.annotations.items() if image_id not in ids)
    for image_id, entries in strangers:
        place = f"{document.file}, annotations[{entries[0][0]}]"
        problems.append(Problem("unknown image", place, f"{len(entries)} boxes of image {image_id}", "boxes dropped"))
    if not records:
        raise RegardError(
            f"none of the {len(document.images)} images was found",
            file=document.file,
            expected="images beside the .json, or in images/ beside annotations/",
        )
    return tuple(records), problems


def _record(
    image: Path, image_id: int, entry: Entry, document: _Document, class_ids: dict[int, int]
) -> tuple[Sample, list[Problem]]:
    source = ImageFile(image)
    height, width = entry.get("height"), entry.get("width")
    if _is_number(height) and _is_number(width) and min(height, width) >= 1:
        size = (int(height), int(width))
    else:
        size = image_size(source)
    annotations: Sequence[tuple[int, Entry]] = document.annotations.get(image_id, ())
    labels, problems = clean([_label(a, f"annotations[{i}]", document.file, size, class_ids) for i, a in annotations])
    boxes, classes = to_arrays(labels)
    areas = np.array([label.area for label in labels], dtype=np.float64)
    crowd = np.array([label.crowd for label in labels], dtype=np.bool_)
    return Sample(source, boxes, classes, image_id, areas, crowd, size), problems


def _label(annotation: Entry, place: str, file: Path, size: tuple[int, int], class_ids: dict[int, int]) -> Label:
    category = _whole(annotation, "category_id", place, file)
    bbox = annotation.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(value) for value in bbox):
        raise RegardError(f"{place} has bbox {bbox!r}", file=file, expected="[left, top, width, height] in pixels")
    left, top, width, height = bbox
    box = ((left + width / 2) / size[1], (top + height / 2) / size[0], width / size[1], height / size[0])
    area = annotation.get("area")
    return Label(
        f"{file}, {place}",
        f"category {category}",
        class_ids.get(category),
        box,
        float(area) if _is_number(area) else float(width * height),
        bool(annotation.get("iscrowd", 0)),
    )


def _image_folder(document: _Document) -> Path:
    """Return the folder that the file names start from: of those that hold the first image, the best named."""
    base = document.file.parent
    root = base.parent if base.name == "annotations" else base
    # "images/train2017" is two folders down; looking deeper would walk through every image folder there is.
    folders = [base, root, *sorted(path for pattern in ("*/", "*/*/") for path in root.glob(pattern))]
    stem = document.file.stem
    folders.sort(key=lambda folder: (folder.name not in stem, split_in(folder.name) != split_in(stem)))
    for index, entry in enumerate(document.images[:100]):
        name = _file_name(entry, f"images[{index}]", document.file)
        for folder in folders:
            if is_file(folder / name):
                return folder
    return root / "images"


def _file_name(entry: Entry, place: str, file: Path) -> str:
    name = entry.get("file_name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise RegardError(f"{place} has no file_name", file=file)
    return name


def _whole(entry: object, key: str, place: str, file: Path) -> int:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, int):
        raise RegardError(f"{place} has {key} {value!r}", file=file, expected="a whole number")
    return value


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
