"""Formats of labelling tools and of public data sets, recognised by their content: one row of ``FOREIGN`` each."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from regard.data.dataset import DetectionDataset, Problem
from regard.data.files import split_in
from regard.data.formats import foreign_json, foreign_text
from regard.data.formats.assemble import Entry, assemble
from regard.data.formats.corners import corner_problems
from regard.data.formats.reading import Reading, class_list
from regard.errors import RegardError
from regard.system.files import is_file, is_folder
from regard.system.loaders import read_start

EXPECTED = (
    "labels of another tool: labelme, VIA, Label Studio, CVAT, CreateML, Supervisely, CSV, DOTA, KITTI and others"
)

MOST_SNIFFED = 4 * 2**20
"""Bytes of a file that are searched for the marks of a format."""


class Foreign(NamedTuple):
    """A format of another tool.

    Attributes:
        name: its name.
        suffix: lower-case suffix of its files.
        matches: whether the text of a file, or its first part, is of this format.
        parse: adds the images and objects of one file to what was read.
        per_image: whether each file describes one image, so that an image without one has no objects.
    """

    name: str
    suffix: str
    matches: Callable[[str], bool]
    parse: Callable[[Path, Reading], None]
    per_image: bool = False


def _words(*words: str, start: str = "") -> Callable[[str], bool]:
    return lambda text: text.lstrip().startswith(start) and all(word in text for word in words)


def _lines(pattern: str) -> Callable[[str], bool]:
    """Search the first lines only, so that no text can make it slow."""
    compiled = re.compile(pattern)
    return lambda text: compiled.search(text[:4096]) is not None


_N = r"[-+]?[\d.]+(?:[eE][-+]?\d+)?"
_IMAGE = r"\.(jpe?g|png|bmp|tiff?|webp|gif)"

FOREIGN: tuple[Foreign, ...] = (
    Foreign("labelme", ".json", _words('"shapes"', '"imagePath"'), foreign_json.labelme, per_image=True),
    Foreign("via", ".json", _words('"regions"', '"filename"', '"region_attributes"'), foreign_json.via),
    Foreign("label-studio", ".json", _words('"rectanglelabels"', start="["), foreign_json.label_studio),
    Foreign("label-studio", ".json", _words('"polygonlabels"', start="["), foreign_json.label_studio),
    Foreign("createml", ".json", _words('"coordinates"', '"label"', start="["), foreign_json.create_ml),
    Foreign("supervisely", ".json", _words('"objects"', '"classTitle"'), foreign_json.supervisely, per_image=True),
    Foreign("hugging-face", ".jsonl", _words('"file_name"', '"bbox"'), foreign_json.image_folder),
    Foreign("cvat", ".xml", _words("<annotations>"), foreign_text.cvat),
    Foreign("csv", ".csv", foreign_text.is_table, foreign_text.table),
    Foreign("keras-yolo", ".txt", _lines(rf"\A[^\n]+{_IMAGE}[ \t]+{_N}(,{_N}){{3}},\d+\s"), foreign_text.keras_yolo),
    Foreign(
        "dota", ".txt", _lines(rf"(?m)^[ ]*({_N}[ ]+){{8}}[^\s\d]\S*([ ]+\d)?[ ]*$"), foreign_text.dota, per_image=True
    ),
    Foreign("kitti", ".txt", _lines(rf"\A[^\W\d]\S*( {_N}){{14,15}} *(\n|\Z)"), foreign_text.kitti, per_image=True),
    Foreign("visdrone", ".txt", _lines(r"\A(-?\d+,){7}-?\d+,?\s*(\n|\Z)"), foreign_text.vis_drone, per_image=True),
)
"""Formats in the order in which they are tried."""

UNREADABLE = {
    ".tfrecord": "TFRecord",
    ".record": "TFRecord",
    ".parquet": "Parquet (Hugging Face)",
    ".lst": "an MXNet list",
    ".mat": "a MATLAB file",
}
"""Formats that are only named, by suffix: they need the tool that wrote them."""


def recognise(source: str) -> bool:
    """Check for a file of such a format, or a folder that contains some."""
    return _find(Path(source)) is not None


def read(source: str) -> DetectionDataset:
    """Read the files of the first format that is found in a folder or its subfolders, or one file.

    The split of an image is that in the name of its file or folders. Names of classes are those found, sorted; where
    the files state numbers, they are those of ``classes.txt`` or ``_classes.txt``, else class0, class1 and so on.
    Objects that are not boxes become their bounding boxes.

    Raises:
        RegardError: no image is found, or no object.
    """
    path = Path(source)
    found = _find(path)
    if found is None:
        raise RegardError("not a data set in a known format", file=source, expected=EXPECTED)
    form, files = found
    root = path if is_folder(path) else path.parent
    reading = Reading(root)
    for file in files:
        before = len(reading.entries)
        try:
            form.parse(file, reading)
        except RegardError as error:
            done = "its images left out"
            problem = Problem("unreadable label file", str(file), error.what, done, error.line, lost=True)
            reading.problems.append(problem)
            reading.entries += [Entry(file, file.stem, is_broken=True)] if form.per_image else []
        split = "" if form.per_image else split_in(file.stem) or ""
        for entry in reading.entries[before:]:
            entry.split = entry.split or split
    names, ids = _names(reading)
    reading.problems += corner_problems(form.name, reading.entries, source)
    return assemble(
        reading.entries,
        root,
        source,
        form.name,
        names,
        ids=ids,
        problems=reading.problems,
        whole=is_folder(path) and not form.per_image,
        by_stem=True,
        background=form.per_image,
    )


def name_unreadable(folder: Path) -> str | None:
    """What the files of a folder are that only another tool can read; None if there are none."""
    suffixes = {os.path.splitext(name)[1].lower() for _, names in _walk(folder) for name in names}
    return next((what for suffix, what in UNREADABLE.items() if suffix in suffixes), None)


def _names(reading: Reading) -> tuple[tuple[str, ...], dict[str, int] | None]:
    stated = dict.fromkeys(shape.name for entry in reading.entries for shape in entry.shapes)
    if not stated:
        hint = next((f"{problem.where}: {problem.found}" for problem in reading.problems), None)
        raise RegardError("no annotation contains an object", file=reading.root, hint=hint)
    if not all(name.isascii() and name.isdecimal() and len(name) < 6 for name in stated):
        return tuple(sorted(stated)), None
    names = class_list(reading)
    if not names:
        names = tuple(f"class{i}" for i in range(max(map(int, stated)) + 1))
        what = f"the labels have numbers only, and there is no classes.txt: {len(names)} classes"
        reading.problems.append(Problem("no class names", str(reading.root), what, "named class0, class1, ..."))
    return names, {str(i): i for i in range(len(names))}


def _find(path: Path) -> tuple[Foreign, list[Path]] | None:
    if not is_folder(path):
        form = next((form for form in FOREIGN if is_file(path) and _matches(form, path)), None)
        return (form, [path]) if form else None
    by_suffix: dict[str, dict[Path, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for folder, names in _walk(path):
        for name in sorted(names):
            by_suffix[os.path.splitext(name)[1].lower()][folder].append(folder / name)
    for form in FOREIGN:
        folders = by_suffix.get(form.suffix, {})
        if form.per_image:  # an empty file is an image without objects, so the folder decides
            chosen = [files for files in folders.values() if any(_matches(form, file) for file in _first_filled(files))]
            files = [file for own in chosen for file in own if file.stem.lower() not in ("classes", "labels", "readme")]
        else:
            files = [file for own in folders.values() for file in own[:50] if _matches(form, file)]
        if files:
            return form, files
    return None


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(parent), [name for name in names if not name.startswith(".")]


def _first_filled(files: list[Path]) -> Iterator[Path]:
    """The first three files that are not empty."""
    return islice((file for file in files if file.stat().st_size), 3)


def _matches(form: Foreign, file: Path) -> bool:
    if file.suffix.lower() != form.suffix:
        return False
    return form.matches(read_start(file, MOST_SNIFFED).decode("utf-8-sig", errors="replace").replace("\r\n", "\n"))
