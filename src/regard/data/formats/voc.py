"""The Pascal VOC format: one XML file of boxes per image, and text files that list the images of each split."""

from __future__ import annotations

import math
import os
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from regard.data.dataset import DetectionDataset, Problem
from regard.data.files import SPLITS
from regard.data.formats.assemble import Entry, Shape, assemble, images_in
from regard.data.formats.labels import Box, bounding_box
from regard.data.images import IMAGE_SUFFIXES
from regard.data.paths import files_below
from regard.errors import RegardError, nearest
from regard.system.files import is_file, is_folder
from regard.system.loaders import read_start, read_text
from regard.system.xml import read_xml

EXPECTED = "a folder with XML files of boxes (VOC)"
NAME_FILES = ("classes.txt", "labels.txt")

_ROOT = re.compile(rb"<annotation[\s>]")
_LISTS = {"train": "train", "trainval": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_SUFFIXES = IMAGE_SUFFIXES | {".xml"}


def recognise(source: str) -> bool:
    """Check for a folder that contains, in any subfolder, an XML file with the root element ``annotation``."""
    if not is_folder(source):
        return False
    usual = Path(source, "Annotations").glob("*.xml")
    return any(map(_is_annotation, usual)) or any(
        _is_annotation(Path(parent, name))
        for parent, _, files in os.walk(source)
        for name in [name for name in files if name.lower().endswith(".xml")][:3]
    )


def _is_annotation(file: Path) -> bool:
    return _ROOT.search(read_start(file, 1000).replace(b"\0", b"")) is not None


def read(source: str | Path) -> DetectionDataset:
    """Read the XML files of a folder and its subfolders, whatever these are called.

    The image of ``x.xml`` is the nearest one with the stem ``x``, or else the one that ``filename`` states. Splits are
    the lists ``train.txt``, ``val.txt``, ``test.txt`` in a folder ``Main``, else in any folder; ``trainval`` is used as
    "train" only if there is no ``train``. Without lists a split is found in the names of the folders. Images without
    XML in the folders of the others are background, and images in no list are left out; both are reported.

    Classes are those of ``classes.txt`` or ``labels.txt`` (one per line) if there is one, else the class names found,
    sorted. Pixel coordinates are used as they are: VOC counts pixels from 1 and includes the last one, but most tools
    that write this format do not, and the file does not tell which, so no pixel is added or removed. Objects marked
    ``difficult`` are kept.

    Raises:
        RegardError: no image is found, or a list is empty.
    """
    folder = Path(source)
    files = files_below(folder)
    images: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images[path.stem].append(path)
    entries: dict[str, list[Entry]] = defaultdict(list)
    problems: list[Problem] = []
    for file in files:
        if file.suffix.lower() == ".xml" and _is_annotation(file):
            entries[file.stem].append(_entry(file, images, problems))
    _add_unlabelled(entries)
    lists = _split_lists(files)
    listed = _from_lists(lists, entries) if lists else [entry for stem in sorted(entries) for entry in entries[stem]]
    names = _names(folder, listed)
    for entry in listed:
        entry.shapes = [_named(shape, names) for shape in entry.shapes]
    return assemble(listed, folder, str(folder), "voc", names, problems=problems)


def _entry(file: Path, images: dict[str, list[Path]], problems: list[Problem]) -> Entry:
    """Read one XML file; what is broken in it is added to ``problems``."""
    try:
        tree = read_xml(file)
    except RegardError as error:
        problems.append(
            Problem("unreadable label file", str(file), error.what, "image left out", error.line, lost=True)
        )
        found = _nearest(file, images[file.stem]) if file.stem in images else None
        return Entry(file, file.stem, found=found, is_broken=True)
    stated = (tree.findtext("filename") or "").strip()
    entry = Entry(file, stated or file.stem, size=_size(tree))
    if file.stem in images:
        entry.found = _nearest(file, images[file.stem], stated)
    for number, obj in enumerate(tree.findall("object"), 1):
        try:
            entry.shapes.append(Shape(_class_of(obj), _box(obj), f"object {number}"))
        except ValueError as error:
            problems.append(Problem("broken box", f"{file}, object {number}", str(error), "box dropped", lost=True))
    return entry


def _nearest(file: Path, candidates: Sequence[Path], stated: str = "") -> Path:
    """Choose the image with most folders in common; of these the one that is stated, else the one in JPEGImages."""

    def distance(path: Path) -> tuple[int, bool, bool]:
        common = len(Path(os.path.commonpath([path, file])).parts)
        return -common, path.name != stated, path.parent.name.lower() != "jpegimages"

    return min(candidates, key=distance)


def _add_unlabelled(entries: dict[str, list[Entry]]) -> None:
    """Add the images without XML that are in the same folders as the others."""
    used = {entry.found for members in entries.values() for entry in members if entry.found}
    for folder in dict.fromkeys(path.parent for path in sorted(used)):
        for path in images_in(folder):
            if path not in used:
                entries[path.stem].append(Entry(path, path.name, found=path, has_label=False))


def _split_lists(files: Iterable[Path]) -> dict[str, list[Path]]:
    """Find the text files that list the images of each split."""
    lists = [file for file in files if file.suffix.lower() == ".txt" and file.stem.lower() in _LISTS]
    lists = [file for file in lists if file.parent.name == "Main"] or lists
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for file in lists:
        by_stem[file.stem.lower()].append(file)
    if "train" in by_stem:
        by_stem.pop("trainval", None)
    splits: dict[str, list[Path]] = {}
    for split in SPLITS:
        found = [file for stem, own in by_stem.items() if _LISTS[stem] == split for file in own]
        splits |= {split: found} if found else {}
    return splits


def _from_lists(lists: dict[str, list[Path]], entries: dict[str, list[Entry]]) -> list[Entry]:
    """Sort the images into splits; each listed one is an entry, also if it does not exist."""
    result: list[Entry] = []
    for split, files in lists.items():
        for file in files:
            lines = [line for text in read_text(file).splitlines() if (line := text.strip()) and line[0] != "#"]
            if not lines:
                raise RegardError("the list is empty", file=file, expected="one image name per line")
            for line in lines:
                members = _listed(line, entries)
                if not members:
                    result.append(Entry(file, line, split=split, has_label=False))
                    continue
                near = _nearest(file, [entry.file for entry in members])
                entry = next(entry for entry in members if entry.file == near)
                result.append(replace(entry, split=split))
    return result


def _listed(line: str, entries: dict[str, list[Entry]]) -> list[Entry]:
    """Find what a line names; a last column, such as VOC's 1 and -1 per class or the XML's path, is ignored."""
    for text in (line, line.rsplit(None, 1)[0]):
        stem = re.split(r"[\\/]", text)[-1]
        head, suffix = os.path.splitext(stem)
        found = entries.get(head if suffix.lower() in _SUFFIXES else stem)
        if found:
            return found
    return []


def _names(folder: Path, entries: Iterable[Entry]) -> tuple[str, ...]:
    for name_file in (folder / name for name in NAME_FILES):
        if is_file(name_file):
            listed = (line.strip() for line in read_text(name_file).splitlines())
            return tuple(name for name in listed if name)
    found = {shape.name for entry in entries for shape in entry.shapes}
    if not found:
        raise RegardError("no annotation contains an object", file=folder)
    return tuple(sorted(found))


def _named(shape: Shape, names: tuple[str, ...]) -> Shape:
    """Add the most similar class to the name of an unknown one."""
    if shape.name in names:
        return shape
    hint = nearest(shape.name, names)
    return shape._replace(name=f"{shape.name!r}" + (f" ({hint})" if hint else ""))


def _class_of(obj: ET.Element) -> str:
    return (obj.findtext("name") or "").strip()


def _size(tree: ET.Element) -> tuple[int, int] | None:
    """Read (height, width) from the XML; None if it is missing or invalid, as some tools write zeros or words."""
    try:
        height, width = (int(float(tree.findtext(f"size/{side}") or 0)) for side in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _box(obj: ET.Element) -> Box:
    """Box of an object in pixels: of ``bndbox``, else around its polygon (LabelMe's ``pt``, Roboflow's ``x1``).

    Raises:
        ValueError: there are no such numbers.
    """
    polygon = obj.find("polygon") if obj.find("bndbox") is None else None
    if polygon is not None:
        xs, ys = ([_number(e.text, e.tag) for e in polygon.iter() if re.fullmatch(f"{a}\\d*", e.tag)] for a in "xy")
        if xs and ys:
            return bounding_box(xs, ys)
    left, top, right, bottom = (_number(obj.findtext(f"bndbox/{side}"), side) for side in _SIDES)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _number(text: str | None, name: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} is {text!r}, which is no number of pixels")
    return value
