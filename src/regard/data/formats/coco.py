"""The COCO format: images, categories and boxes of a split in one JSON file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from regard.data.dataset import DetectionDataset, Problem
from regard.data.files import split_in
from regard.data.formats.assemble import Entry, Shape, assemble
from regard.data.formats.corners import corner_problems
from regard.data.formats.labels import Box, bounding_box
from regard.data.formats.masks import mask_box
from regard.errors import RegardError
from regard.system.files import is_folder
from regard.system.loaders import MOST_JSON, read_bytes, read_json

EXPECTED = "a .json or a folder with annotations/*.json (COCO)"
CONTENT = "COCO JSON: images, annotations, categories"

KEYS = ("images", "annotations", "categories")
MANY = 50
"""Files of a folder above which only those are opened whose names fit."""

Id = int | str


@dataclass(frozen=True)
class _Document:
    """One parsed JSON file: its categories by id, its images, and its annotations by image id."""

    file: Path
    split: str
    names: tuple[str, ...]
    category_ids: tuple[Id, ...]
    entries: list[Entry]


def recognise(source: str) -> bool:
    """Check for a file with the three keys of COCO, or a folder with one in a usual place."""
    path = Path(source)
    return bool(find_json(path)) if is_folder(path) else path.suffix.lower() == ".json" and is_coco(path)


def read(source: str | Path) -> DetectionDataset:
    """Read one COCO JSON file, or those of a folder.

    In a folder each of ``annotations/*.json`` (``instances_*`` if there are any), else of ``*.json``, else of those in
    subfolders is one split, found by the word train, val or test in the name of the file or of its folder, else in the
    names of the images' folders. JSON of another content is ignored. Without such a word there is no split.

    Classes are the categories ordered by id; ``category_ids`` are the ids in the file. Boxes are fractions of the
    image size in the file; without ``bbox`` they enclose the polygons or the mask of ``segmentation``. Images are
    searched for next to the file and in the folders of the data set, folders with a similar name first; paths of
    another machine are found by their ends. If a folder is read, images next to the others that no file lists are
    reported.

    Raises:
        RegardError: a file is not COCO JSON, two files are the same split or differ in categories, no image is found.
    """
    path = Path(source)
    whole = is_folder(path)
    documents: dict[str, _Document] = {}
    problems: list[Problem] = []
    for file in find_json(path) if whole else [path]:
        document = _parse(file, problems)
        split = document.split
        if split in documents:
            both = f"{documents[split].file.name} and {file.name}"
            what = f"both {both} are {split}" if split else f"neither of {both} names a split"
            raise RegardError(what, file=file.parent, hint="name the .json file to use")
        documents[split] = document
    first = next(iter(documents.values()))
    for other in documents.values():
        if (other.names, other.category_ids) != (first.names, first.category_ids):
            raise RegardError("the categories differ", file=other.file, expected=f"those of {first.file}")
    base = first.file.parent
    root = path if whole else base.parent if base.name.lower() == "annotations" else base
    entries = [entry for document in documents.values() for entry in document.entries]
    numbers = [key for key in first.category_ids if isinstance(key, int)]
    category_ids = tuple(numbers if len(numbers) == len(first.names) else range(len(first.names)))
    ids = {f"category {key}": index for index, key in enumerate(first.category_ids)}
    problems += corner_problems("coco", entries, str(source))
    options: dict[str, Any] = {"ids": ids, "category_ids": category_ids, "problems": problems, "whole": whole}
    return assemble(entries, root, str(source), "coco", first.names, **options)


def find_json(folder: Path) -> list[Path]:
    """Find the COCO files of a folder: those of the first usual place that has any."""
    for pattern in ("[aA]nnotations/instances_*.json", "[aA]nnotations/*.json", "*.json", "*/*.json", "*/*/*.json"):
        files = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
        if len(files) > MANY:  # a file per image
            files = [path for path in files if split_in(path.stem) or "coco" in path.stem or "instances" in path.stem]
        found = [file for file in files[:MANY] if is_coco(file)]
        if found:
            return found
    return []


def is_coco(file: Path) -> bool:
    """Check for the three keys of a COCO file, without parsing it."""
    try:
        content = read_bytes(file, MOST_JSON)
    except RegardError:
        return False
    return content[:100].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and all(
        f'"{key}"'.encode() in content for key in KEYS
    )


def _parse(file: Path, problems: list[Problem]) -> _Document:
    content = read_json(file)
    for key in KEYS:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise RegardError(f"there is no list {key!r}", file=file, expected=CONTENT)
    categories = {_id(category, "id"): category for category in content["categories"]}
    if not categories or None in categories or len(categories) < len(content["categories"]):
        raise RegardError("there are no categories, or two have the same id", file=file)
    category_ids = tuple(sorted((key for key in categories if key is not None), key=lambda key: (str(type(key)), key)))
    names = tuple(str(categories[key].get("name", key)) for key in category_ids)
    split = split_in(file.stem) or split_in(file.parent.name) or ""
    entries = _entries(content["images"], file, split, problems)
    strangers: dict[Id, list[int]] = {}
    for index, annotation in enumerate(content["annotations"]):
        image_id = _id(annotation, "image_id")
        if image_id is None or image_id in entries:
            try:
                size = None if image_id is None else entries[image_id].size
                shape = _shape(annotation, f"annotations[{index}]", size)
                entries[_known(image_id)].shapes.append(shape)
            except ValueError as error:
                place = f"{file}, annotations[{index}]"
                problems.append(Problem("broken annotation", place, str(error), "box dropped", lost=True))
        else:
            strangers.setdefault(image_id, []).append(index)
    for image_id, indices in strangers.items():
        found = f"{len(indices)} boxes of image {image_id}"
        place = f"{file}, annotations[{indices[0]}]"
        problems.append(Problem("unknown image", place, found, "boxes dropped", lost=True))
    return _Document(file, split, names, category_ids, list(entries.values()))


def _entries(images: Sequence[object], file: Path, split: str, problems: list[Problem]) -> dict[Id, Entry]:
    """Read the images by id. If some id is no number, all images are numbered by their position."""
    entries: dict[Id, Entry] = {}
    for index, image in enumerate(images):
        image_id = _id(image, "id")
        name = image.get("file_name") if isinstance(image, dict) else None
        if image_id is None or not isinstance(name, str) or not name:
            what = f"images[{index}] has " + ("no file_name" if image_id is not None else "no id")
            problems.append(Problem("broken image entry", str(file), what, "image left out", lost=True))
            continue
        if image_id in entries:
            raise RegardError(f"images[{index}] has the same id {image_id} as another image", file=file)
        number = image_id if isinstance(image_id, int) else None
        entries[image_id] = Entry(file, name, size=_size(image), split=split, image_id=number)
    if any(entry.image_id is None for entry in entries.values()):
        for entry in entries.values():
            entry.image_id = None
    return entries


def _size(image: Any) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    is_stated = _is_number(height) and _is_number(width) and min(height, width) >= 1
    return (int(height), int(width)) if is_stated else None


def _shape(annotation: Any, place: str, image: tuple[int, int] | None) -> Shape:
    """Read one annotation of an image of (height, width).

    Raises:
        ValueError: it has no category or no box; the text says what it has.
    """
    category = _id(annotation, "category_id")
    if category is None:
        raise ValueError(f"category_id is {_get(annotation, 'category_id')!r}, expected a number")
    box = _box(annotation, image)
    area = annotation.get("area")
    area = float(area) if _is_number(area) else float(box[2] * box[3])
    return Shape(f"category {category}", box, place, area=area, crowd=bool(annotation.get("iscrowd", 0)))


def _box(annotation: Any, image: tuple[int, int] | None) -> Box:
    bbox, polygons = annotation.get("bbox"), annotation.get("segmentation")
    if isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_number, bbox)):
        left, top, width, height = bbox
        return left + width / 2, top + height / 2, width, height
    if not bbox and isinstance(polygons, list):
        parts = [part for part in polygons if isinstance(part, list)] or [polygons]
        if any(parts) and all(_is_number(value) for part in parts for value in part):
            return bounding_box([x for part in parts for x in part[::2]], [y for part in parts for y in part[1::2]])
    if not bbox and isinstance(polygons, dict) and {"size", "counts"} <= polygons.keys():
        return mask_box(polygons, image)
    raise ValueError(f"bbox is {bbox!r}, expected [left, top, width, height] in pixels")


def _known(image_id: Id | None) -> Id:
    if image_id is None:
        raise ValueError("there is no image_id")
    return image_id


def _get(entry: object, key: str) -> object:
    return entry.get(key) if isinstance(entry, dict) else None


def _id(entry: object, key: str) -> Id | None:
    """Read an id: 7, 7.0 and "7" are the same; None if it is none."""
    value = _get(entry, key)
    if isinstance(value, str) and value.strip():
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
