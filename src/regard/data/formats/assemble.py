"""Data sets from what annotation files state: images are found, boxes converted, splits and problems collected."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regard.data.dataset import DetectionDataset, Problem, Sample
from regard.data.files import SPLITS, missing_images, split_in, undivided
from regard.data.formats.labels import Box, Label, clean, to_arrays
from regard.data.images import IMAGE_SUFFIXES, ImageFile, image_size
from regard.data.paths import Listings, resolve
from regard.errors import RegardError
from regard.system.files import is_file

ANNOTATION_FOLDERS = frozenset({"annotation", "annotations", "ann", "labels", "label", "json", "xml"})
"""Lower-case names of folders next to which images are searched for."""


EMBEDDED = "the images are only inside the JSON files (imageData): save them next to these, as labelme_export_json does"


class Shape(NamedTuple):
    """One object of an image as a file states it.

    Attributes:
        name: its class, as in the file.
        box_cxcywh: centre and size, in the unit of its ``Entry``.
        place: which object of the file, as in "object 3"; "" where there is a line.
        line: 1-based line in the file.
        area: object area in pixels, or None if the file does not state one.
        crowd: whether the box encloses a group of objects.
    """

    name: str
    box_cxcywh: Box
    place: str = ""
    line: int | None = None
    area: float | None = None
    crowd: bool = False


@dataclass
class Entry:
    """One image as an annotation file states it.

    Attributes:
        file: the annotation file.
        image: path of the image as stated, of any system; a name without a suffix matches an image of that stem.
        shapes: its objects.
        size: (height, width) in pixels as stated, or None.
        scale: value of one full side in the boxes: 0 for pixels, 1 for fractions, 100 for percent.
        split: its split as stated; "" if only folder names may tell.
        image_id: its id; the position in the split if it is None.
        found: path of the image where the format determines it.
        has_label: whether there is an annotation of the image; an image without is kept as background and reported.
        is_broken: whether its annotation cannot be read; the image is then left out.
        alternatives: other names that the image may have.
        embedded: whether the annotation file contains the image itself, which is not read.
    """

    file: Path
    image: str
    shapes: list[Shape] = field(default_factory=list)
    size: tuple[int, int] | None = None
    scale: float = 0.0
    split: str = ""
    image_id: int | None = None
    found: Path | None = None
    has_label: bool = True
    is_broken: bool = False
    alternatives: tuple[str, ...] = ()
    embedded: bool = False


PROBED = 100
"""Images of an annotation file by which its folder is found."""


class ImageIndex:
    """Images of a data set by the names that its files state.

    Args:
        root: folder of the data set.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # "images/train2017" is two levels down; a deeper search would visit every image folder.
        self._folders = _subfolders(root)
        self._near: dict[Path, list[Path]] = {root: self._folders}
        self._bases: dict[Path, list[Path]] = {}
        self._stems: dict[str, list[Path]] = {}
        self._listings: Listings = {}

    def find(self, entry: Entry, *, by_stem: bool = False) -> tuple[Path | None, str]:
        """Find an image and how it was found: "" if it is where the file says, None if it is nowhere."""
        if entry.found is not None:
            return entry.found, ""
        bases = self._bases[entry.file]
        for name in (entry.image, *entry.alternatives):
            located = resolve(name, bases, listings=self._listings)
            if located is not None and is_file(located.path):
                return located.path, located.note
        stems = (name.replace("\\", "/").rpartition("/")[2] for name in (entry.image, *entry.alternatives))
        plain = [_without_suffix(name) for name in stems if by_stem or _without_suffix(name) == name]
        found = (self._by_stem(stem, bases) for stem in plain)
        return next((path for path in found if path is not None), None), ""

    def elsewhere(self, entry: Entry, path: Path) -> Path | None:
        """Another image under the name of an entry, in a folder that was searched after that of ``path``."""
        if entry.found is not None:
            return None
        others = (base / entry.image for base in self._bases[entry.file])
        return next((other for other in others if is_file(other) and not other.samefile(path)), None)

    def prepare(self, file: Path, entries: Sequence[Entry]) -> None:
        """Order the folders to search for the images of an annotation file: first the one that has some of them.

        If there is such a folder, those of another split are left out, since other images may have the same names.
        """
        bases = self._by_name(file, entries[0].split)
        probed = [entry.image for entry in entries[:PROBED] if entry.found is None]
        home = next((base for base in bases if any(is_file(base / image) for image in probed)), None)
        if home is not None:
            split = self._split(file, entries[0].split)
            near = [base for base in bases if base != home and split_in(base.name) in (None, split)]
            bases = [home, *near]
        self._bases[file] = bases

    def _split(self, file: Path, stated: str) -> str | None:
        return stated or split_in(file.stem) or next(filter(None, map(split_in, _folders(file, self._root))), None)

    def _by_name(self, file: Path, stated: str) -> list[Path]:
        """All folders, first those named like the file, then those of its split, then those nearest to it."""
        outer, split = file.parent.parent, self._split(file, stated)
        nested = file.parent.name.lower() in ANNOTATION_FOLDERS
        if nested and outer not in self._near:
            self._near[outer] = _subfolders(outer)
        near = [outer, *self._near[outer]] if nested else []
        bases = list(dict.fromkeys([file.parent, *near, self._root, *self._folders]))
        return sorted(bases, key=lambda base: (base.name not in file.stem, split_in(base.name) != split))

    def _by_stem(self, stem: str, bases: Sequence[Path]) -> Path | None:
        if not self._stems:
            for folder in (self._root, *self._folders):
                for path in images_in(folder):
                    self._stems.setdefault(path.stem, []).append(path)
        order = {folder: index for index, folder in enumerate(bases)}
        candidates = (path for path in self._stems.get(stem, ()) if path.parent in order)
        return min(candidates, key=lambda path: order[path.parent], default=None)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for pattern in ("*/", "*/*/") for path in folder.glob(pattern))


def images_in(folder: Path) -> list[Path]:
    """List the images of a folder, not of its subfolders, sorted; hidden files are left out."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    return [folder / name for name in names if _is_image(name)]


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def assemble(
    entries: Sequence[Entry],
    root: Path,
    source: str,
    form: str,
    names: Sequence[str],
    *,
    ids: Mapping[str, int] | None = None,
    category_ids: tuple[int, ...] | None = None,
    problems: Iterable[Problem] = (),
    whole: bool = True,
    by_stem: bool = False,
    background: bool = False,
) -> DetectionDataset:
    """Find the images, turn boxes into fractions of them, and sort them into splits.

    An image whose split no file states belongs to that of its folders' names. If no image has a split, all are one; if
    some have, the others are "train" unless there is such a split already.

    Args:
        entries: images with their objects; an image that is not on disk is left out and reported.
        root: folder of the data set.
        source: what the user gave.
        form: name of the format.
        names: class names, by class id.
        ids, category_ids: class id of each name in the shapes, by default its position; COCO ids of the classes.
        problems: what was found before.
        whole: whether the entries are all of the data set, so that other images next to theirs are reported.
        by_stem: whether an image may have another suffix than stated.
        background: whether other images next to those of the entries are kept as background instead of left out.

    Raises:
        RegardError: no image is found.
    """
    ids = {name: index for index, name in enumerate(names)} if ids is None else ids
    located = _locate(entries, ImageIndex(root), by_stem=by_stem)
    problems = [*problems, *located.problems]
    if not located.found:
        raise _none_found(located.absent, source, entries)
    if background:
        others = (Entry(path, path.name, found=path, has_label=False) for path in _others(located.found))
        located.found += [(entry.file, entry) for entry in others]
    parts, found = _read_splits(_divide(located.found, root), ids, with_areas=form == "coco")
    problems += found
    if whole:
        problems += _unlisted(located.found)
    return DetectionDataset(tuple(names), parts, form, source, tuple(problems), category_ids)


def _none_found(absent: Sequence[str], source: str, entries: Sequence[Entry]) -> RegardError:
    return RegardError(
        f"none of the {len(absent)} images was found" + (f", such as {absent[0]}" if absent else ""),
        file=source,
        expected="images next to the annotation files, or in images/ next to their folder",
        hint=EMBEDDED if any(entry.embedded for entry in entries) else None,
    )


def _read_splits(
    divided: Mapping[str, Sequence[tuple[Path, Entry]]], ids: Mapping[str, int], *, with_areas: bool
) -> tuple[dict[str, tuple[Sample, ...]], list[Problem]]:
    splits: dict[str, list[Sample]] = defaultdict(list)
    problems: list[Problem] = []
    for split, members in divided.items():
        for path, entry in (one for one in members if not one[1].is_broken):
            sample, found = _sample(path, entry, len(splits[split]), ids, with_areas=with_areas)
            splits[split] += [sample] if sample else []
            problems += found
    ordered = {split: tuple(splits[split]) for split in SPLITS if split in splits}
    return {**ordered, **(undivided(tuple(splits[""])) if "" in splits else {})}, problems


@dataclass
class _Located:
    found: list[tuple[Path, Entry]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def _locate(entries: Sequence[Entry], index: ImageIndex, *, by_stem: bool) -> _Located:
    result = _Located()
    seen: dict[tuple[Path, str], str] = {}
    firsts: dict[tuple[Path, str, Path], Entry] = {}
    repeated: dict[Path, list[Path]] = defaultdict(list)
    notes: dict[tuple[Path, str], list[str]] = defaultdict(list)
    by_file: dict[Path, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_file[entry.file].append(entry)
    absent: dict[Path, list[Path]] = defaultdict(list)
    for file, members in by_file.items():
        index.prepare(file, members)
    for entry in entries:
        path, note = index.find(entry, by_stem=by_stem)
        key = (path or Path(), entry.split)
        if path is not None and seen.get(key, entry.image) != entry.image and (note or by_stem):
            path = None  # a second image of that name, in a folder that is not here
        if path is None:
            absent[entry.file].append(Path(entry.image))
            result.absent.append(entry.image)
            continue
        seen.setdefault(key, entry.image)
        if note:
            how = note.rpartition(" as ")[0] or note
            notes[entry.file, how].append(f"{entry.image} is {path}")
        first = firsts.setdefault((path, entry.split, entry.file), entry)
        if first is not entry and (first.size, first.scale) == (entry.size, entry.scale):
            first.shapes += entry.shapes
            repeated[entry.file].append(path)
        else:
            result.found.append((path, entry))
    result.problems += _ambiguous(result.found, index)
    for file, paths in repeated.items():
        found = f"{len(paths)} images are there again, such as {paths[0]}"
        result.problems.append(Problem("repeated image", str(file), found, "counted once, with the boxes of all"))
    for file, paths in absent.items():
        result.problems += missing_images(paths, file)
    for (file, how), images in notes.items():
        found = f"{len(images)} images, such as {images[0]}"
        result.problems.append(Problem("path of another system", str(file), found, how))
    return result


def _ambiguous(found: Sequence[tuple[Path, Entry]], index: ImageIndex) -> Iterator[Problem]:
    """Report images of a file whose names several folders have; of each file the first `PROBED` are looked for."""
    by_file: dict[Path, list[tuple[Path, Entry]]] = defaultdict(list)
    for path, entry in found:
        by_file[entry.file].append((path, entry))
    for file, members in by_file.items():
        pairs = [(path, index.elsewhere(entry, path)) for path, entry in members[:PROBED]]
        if several := [f"{path} and {other}" for path, other in pairs if other is not None]:
            what = f"in several folders: {len(several)} of {len(pairs)} images, such as {several[0]}"
            yield Problem("image in several folders", str(file), what, "the first is used")


def _folders(path: Path, root: Path) -> list[str]:
    """Names of the folders between ``root`` and a file, the innermost first."""
    return list(reversed(path.relative_to(root).parts[:-1])) if path.is_relative_to(root) else []


def _divide(found: Sequence[tuple[Path, Entry]], root: Path) -> dict[str, list[tuple[Path, Entry]]]:
    splits: dict[str, list[tuple[Path, Entry]]] = defaultdict(list)
    known: dict[Path, str] = {}
    for path, entry in found:
        for file in (entry.file, path):
            if file.parent not in known:
                known[file.parent] = next(filter(None, map(split_in, _folders(file, root))), "")
        splits[entry.split or known[entry.file.parent] or known[path.parent]].append((path, entry))
    if "" in splits and len(splits) > 1:
        splits["train"] += splits.pop("")
    return splits


def _sample(
    path: Path, entry: Entry, position: int, ids: Mapping[str, int], *, with_areas: bool
) -> tuple[Sample | None, list[Problem]]:
    source = ImageFile(path)
    image_id = position if entry.image_id is None else entry.image_id
    if not entry.has_label:
        problem = Problem("missing label", str(path), "no annotation of this image", "kept as background")
        return Sample(source, *to_arrays([]), image_id), [problem]
    scale = (entry.scale, entry.scale)
    size = entry.size
    if not entry.scale:
        try:
            size = size or image_size(source)
        except RegardError as error:
            problem = Problem("unreadable image", str(path), error.what, "image left out", lost=True)
            return None, [problem]
        scale = (float(size[0]), float(size[1]))
    labels, problems = clean([_label(shape, entry.file, scale, ids) for shape in entry.shapes])
    boxes, classes = to_arrays(labels)
    areas = np.array([label.area for label in labels], dtype=np.float64) if with_areas else None
    crowd = np.array([label.crowd for label in labels], dtype=np.bool_) if with_areas else None
    return Sample(source, boxes, classes, image_id, areas, crowd, size), problems


def _label(shape: Shape, file: Path, scale: tuple[float, float], ids: Mapping[str, int]) -> Label:
    height, width = scale
    cx, cy, w, h = shape.box_cxcywh
    place = f"{file}, {shape.place}" if shape.place else str(file)
    box = (cx / width, cy / height, w / width, h / height)
    return Label(place, shape.name, ids.get(shape.name), box, shape.area or 0.0, shape.crowd, shape.line)


def _unlisted(found: Sequence[tuple[Path, Entry]]) -> list[Problem]:
    what = "in no list or annotation file"
    return [Problem("unlisted image", str(path), what, "image left out", lost=True) for path in _others(found)]


def _others(found: Sequence[tuple[Path, Entry]]) -> list[Path]:
    """Images in the same folders that no entry is about."""
    used = {path for path, _ in found}
    return [path for folder in sorted({path.parent for path in used}) for path in images_in(folder) if path not in used]
