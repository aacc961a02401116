"""The COCO format: images, categories and boxes of a split in one JSON file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from regard.data.dataset import DetectionDataset, Problem, Sample
from regard.data.files import missing_images, split_in, undivided
from regard.data.formats.labels import Label, clean, to_arrays
from regard.data.images import ImageFile, image_size
from regard.errors import RegardError
from regard.system.files import is_file, is_folder
from regard.system.loaders import read_json

EXPECTED = "a .json or a folder with annotations/*.json (COCO)"
CONTENT = "COCO JSON: images, annotations, categories"

Entry = dict[str, Any]


@dataclass(frozen=True)
class _Document:
    """One parsed JSON file: its categories by id, its images, and its annotations by image id."""

    file: Path
    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: list[Entry]
    annotations: dict[int, list[tuple[int, Entry]]]


def recognise(source: str) -> bool:
    """Check for a ``.json`` file, or a folder with one in a usual place."""
    path = Path(source)
    return bool(find_json(path)) if is_folder(path) else path.suffix.lower() == ".json" and is_file(path)


def read(source: str | Path) -> DetectionDataset:
    """Read one COCO JSON file, or those of a folder.

    In a folder each of ``annotations/*.json`` (``instances_*`` if there are any), else of ``*.json``, else of
    ``*/*.json`` is one split, found by the word train, val or test in the name of the file or of its folder. A single
    file is the split in its name; without such a word all its images are both "train" and "val".

    Classes are the categories ordered by id; ``category_ids`` are the ids in the file. Boxes are fractions of the
    image size in the file. Images are searched for next to the file and in the folders of the data set, folders with
    a similar name first.

    Raises:
        RegardError: a file is not COCO JSON, two files are the same split or differ in categories, no image is found.
    """
    path = Path(source)
    files = find_json(path) if is_folder(path) else [path]
    documents: dict[str, _Document] = {}
    for file in files:
        split = split_in(file.stem) or split_in(file.parent.name) or ""
        if split in documents:
            raise RegardError(
                f"{documents[split].file.name} and {file.name} both {f'are {split}' if split else 'name no split'}",
                file=file.parent,
                hint="name the .json file to use",
            )
        documents[split] = _parse(file)
    first = next(iter(documents.values()))
    for other in documents.values():
        if (other.names, other.category_ids) != (first.names, first.category_ids):
            raise RegardError("the categories differ", file=other.file, expected=f"those of {first.file}")
    splits: dict[str, tuple[Sample, ...]] = {}
    problems: list[Problem] = []
    for split, document in documents.items():
        samples, found = _samples(document)
        splits.update({split: samples} if split else undivided(samples))
        problems += found
    return DetectionDataset(first.names, splits, "coco", str(source), tuple(problems), first.category_ids)


def find_json(folder: Path) -> list[Path]:
    """Find the COCO files in the usual places of a folder."""
    for pattern in ("annotations/instances_*.json", "annotations/*.json", "*.json", "*/*.json"):
        files = sorted(folder.glob(pattern))
        if files:
            return files
    return []


def _parse(file: Path) -> _Document:
    content = read_json(file)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise RegardError(f"there is no list {key!r}", file=file, expected=CONTENT)
    categories = {_whole(c, "id", f"categories[{i}]", file): c for i, c in enumerate(content["categories"])}
    if not categories or len(categories) < len(content["categories"]):
        raise RegardError("there are no categories, or two have the same id", file=file)
    annotations: dict[int, list[tuple[int, Entry]]] = {}
    for index, annotation in enumerate(content["annotations"]):
        image_id = _whole(annotation, "image_id", f"annotations[{index}]", file)
        annotations.setdefault(image_id, []).append((index, annotation))
    category_ids = tuple(sorted(categories))
    names = tuple(str(categories[category_id].get("name", category_id)) for category_id in category_ids)
    return _Document(file, names, category_ids, content["images"], annotations)


def _samples(document: _Document) -> tuple[tuple[Sample, ...], list[Problem]]:
    class_ids = {category_id: index for index, category_id in enumerate(document.category_ids)}
    folder = _image_folder(document)
    samples: list[Sample] = []
    absent: list[Path] = []
    problems: list[Problem] = []
    ids: set[int] = set()
    for index, entry in enumerate(document.images):
        place = f"images[{index}]"
        image_id = _whole(entry, "id", place, document.file)
        if image_id in ids:
            raise RegardError(f"{place} has the same id {image_id} as another image", file=document.file)
        ids.add(image_id)
        image = folder / _file_name(entry, place, document.file)
        if not is_file(image):
            absent.append(image)
            continue
        sample, found = _sample(image, image_id, entry, document, class_ids)
        samples.append(sample)
        problems += found
    problems += missing_images(absent, document.file)
    unknown = ((image_id, entries) for image_id, entries in document.annotations.items() if image_id not in ids)
    for image_id, entries in unknown:
        place = f"{document.file}, annotations[{entries[0][0]}]"
        problems.append(Problem("unknown image", place, f"{len(entries)} boxes of image {image_id}", "boxes dropped"))
    if not samples:
        raise RegardError(
            f"none of the {len(document.images)} images was found",
            file=document.file,
            expected="images next to the .json file, or in images/ next to annotations/",
        )
    return tuple(samples), problems


def _sample(
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
    """Find the folder that file names are relative to; of those with the first image, the one named most alike."""
    base = document.file.parent
    root = base.parent if base.name == "annotations" else base
    # "images/train2017" is two levels down; a deeper search would visit every image folder.
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
