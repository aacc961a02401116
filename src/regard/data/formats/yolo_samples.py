"""Samples of YOLO data sets: images with their label files, wherever these are."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from regard.data.dataset import NoLabelsError, Problem, Sample
from regard.data.formats.labels import clean, to_arrays
from regard.data.formats.yolo_rows import RowReader, look_like_corners, look_like_keypoints, look_like_upper_left
from regard.data.images import IMAGE_SUFFIXES, ImageFile
from regard.data.paths import Listings, files_below, in_any_spelling, list_folder, plain
from regard.system.files import is_folder
from regard.system.loaders import read_first_line

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
LABEL_FOLDERS = ("labels", "label")
OTHER_LABEL_FOLDERS = ("annotations", "annotation", "txt", "txts", "yolo", "bboxes")
"""Folders that may contain labels of other formats, so that a file of theirs must begin with a row."""
UNREAD_SUFFIXES = frozenset(
    (".arw", ".cr2", ".dng", ".eps", ".heic", ".heif", ".ico", ".jxl", ".nef", ".pdf", ".psd", ".raw", ".svg", ".tga")
)
"""Images that OpenCV does not decode."""

_IMAGE_WORD = re.compile("images?|imgs?", re.IGNORECASE)

Splits = dict[str, tuple[Sample, ...]]
Boxes = list[list[float]]


def read_samples(images: Mapping[str, Sequence[Path]], reader: RowReader, source: Path) -> tuple[Splits, list[Problem]]:
    """Read the label files of the images of every split.

    Args:
        images: image files of each split; the same files give the same tuple of samples.
        reader: how their rows are read.
        source: the data set, for problems of all of it.

    Raises:
        NoLabelsError: no image has a label file.
    """
    images, repeated = _once(images, source)
    locator = LabelLocator([path for paths in images.values() for path in paths])
    splits, boxes, problems = _read_all(images, reader, locator)
    if reader.kpt_shape is None and look_like_keypoints(reader.long_rows):
        reader.has_unknown_keypoints = True
        splits, boxes, problems = _read_all(images, reader, locator)
    if not locator.has_labels:
        first = next(path for paths in images.values() for path in paths)
        count = sum(len(paths) for paths in images.values())
        which = " and ".join(images)
        raise NoLabelsError(
            f"none of the {count} images of {which} has a label file",
            file=source,
            expected=f"labels such as {label_path(first)}",
            hint=_labels_elsewhere(images, source if is_folder(source) else source.parent),
        )
    return splits, [*repeated, *_first_id(reader, source), *_other_forms(boxes, source), *problems, *locator.problems()]


def _once(images: Mapping[str, Sequence[Path]], source: Path) -> tuple[dict[str, list[Path]], list[Problem]]:
    """Leave out images that a split has already, as where lists repeat them or folders overlap."""
    kept: dict[str, list[Path]] = {}
    problems = []
    for split, paths in images.items():
        unique: dict[str, Path] = {}
        again = [path for path in paths if unique.setdefault(os.path.abspath(path), path) is not path]
        kept[split] = list(unique.values())
        if again:
            found = f"{len(again)} images of {split} are there again, such as {again[0]}"
            problems.append(Problem("repeated image", str(source), found, "counted once"))
    return kept, problems


def _labels_elsewhere(images: Mapping[str, Sequence[Path]], root: Path) -> str | None:
    """Name the folder with most of the label files, wherever in the data set it is."""
    stems = {plain(path.stem) for paths in images.values() for path in paths}
    texts = (path for path in files_below(root) if path.suffix.lower() == ".txt" and plain(path.stem) in stems)
    folders = Counter(path.parent for path in texts if _begins_with_row(path))
    return next((f"{folder} has {count} label files of these names" for folder, count in folders.most_common(1)), None)


def _read_all(
    images: Mapping[str, Sequence[Path]], reader: RowReader, locator: LabelLocator
) -> tuple[Splits, dict[str, Boxes], list[Problem]]:
    """Read the labels of every split; the boxes are some of its rows that are boxes, as they are stated."""
    splits: Splits = {}
    boxes: dict[str, Boxes] = {}
    problems: list[Problem] = []
    read: dict[tuple[Path, ...], tuple[Sample, ...]] = {}
    for split, paths in images.items():
        key = tuple(paths)
        if key not in read:  # train and val may be the same images
            samples = []
            reader.boxes = boxes[split] = []
            for image_id, image in zip(image_ids(paths), paths, strict=True):
                sample, found = _sample(image, image_id, reader, locator)
                samples.append(sample)
                problems += found
            read[key] = tuple(samples)
        splits[split] = read[key]
    return splits, boxes, problems


def _sample(image: Path, image_id: int, reader: RowReader, locator: LabelLocator) -> tuple[Sample, list[Problem]]:
    file = locator.find(image)
    if file is None:
        problem = Problem("missing label", str(image), f"no {label_path(image)}", "kept as background")
        return Sample(ImageFile(image), *to_arrays([]), image_id), [problem]
    stated, faults = reader.read(file)
    labels, problems = clean(stated)
    return Sample(ImageFile(image), *to_arrays(labels), image_id), [*faults, *problems]


def _first_id(reader: RowReader, source: Path) -> list[Problem]:
    """Report ids that begin with 1, which only all rows together show."""
    count = len(reader.names)
    if reader.first_class != 0 or reader.ids is None or reader.ids[0] != 1 or reader.ids[1] != count:
        return []
    found = f"ids 1 to {count} for {count} classes, which seem to start at 1"
    done = "read as they are, so names are wrong; --first-class 1 (in Python: first_class=1) shifts them"
    return [Problem("ids from 1", str(source), found, done, lost=True)]


def _other_forms(boxes: Mapping[str, Boxes], source: Path) -> list[Problem]:
    """Report boxes in another form, of all splits or of those that were exported in another way."""
    forms = {split: _form_of(rows) for split, rows in boxes.items() if rows}
    if not any(forms.values()):  # each may have too few
        forms = dict.fromkeys(forms, _form_of([row for rows in boxes.values() for row in rows]))
    done = "read as centre and size, which they should be"
    problems = []
    if splits := [split for split, form in forms.items() if form == "corners"]:
        found = f"boxes of {' and '.join(splits)} seem to be left, top, right, bottom"
        found = "boxes seem to be left, top, right, bottom" if len(splits) == len(forms) else found
        problems.append(Problem("corners instead of centre and size", str(source), found, done, lost=True))
    if splits := [split for split, form in forms.items() if form == "upper left"]:
        found = f"boxes of {' and '.join(splits)} seem to be left, top, width, height"
        found = "boxes seem to be left, top, width, height" if len(splits) == len(forms) else found
        problems.append(Problem("upper left corner instead of centre", str(source), found, done, lost=True))
    return problems


def _form_of(boxes: Boxes) -> str:
    """The form of boxes that are not centre and size; "" if they seem to be. Large ones may look like both others."""
    if look_like_upper_left(boxes):
        return "upper left"
    return "corners" if look_like_corners(boxes) else ""


def image_ids(images: Sequence[Path]) -> list[int]:
    """Use the numbers in the file names, as in COCO, so that saved results match COCO's label file.

    If a name is not a number, or two numbers are equal, the ids are the positions in the split.
    """
    stems = [image.stem for image in images]
    ids = [int(stem) for stem in stems if stem.isascii() and stem.isdecimal()]
    return ids if len(set(ids)) == len(images) else list(range(len(images)))


def label_path(image: Path) -> Path:
    """Path where the label file of an image should be.

    Example:
        >>> label_path(Path("coco/images/train/7.jpg")).as_posix()
        'coco/labels/train/7.txt'
    """
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


class LabelLocator:
    """Finds label files: of each folder of images the first folder of labels that contains one for any of them.

    Tried are the folder's path with ``images`` replaced by ``labels`` (the last such name first), the folder itself,
    ``labels`` in it, and ``labels`` next to it, with or without its name; then all of these without the last folders,
    folders called as those of the images with ``labels`` in place of ``images`` (``train_labels``), and the folders of
    ``OTHER_LABEL_FOLDERS`` if some of their files begin with a row. Capitals do not matter.

    Args:
        images: all images of the data set.
    """

    def __init__(self, images: Sequence[Path]) -> None:
        self._listings: Listings = {}
        self._files: dict[Path, dict[str, Path]] = {}
        self._users: dict[Path, dict[Path, None]] = {}
        stems: dict[Path, set[str]] = {}
        for image in images:
            stems.setdefault(image.parent, set()).update((plain(image.stem), plain(image.name)))
        self._chosen = {folder: self._choose(folder, names) for folder, names in stems.items()}

    @property
    def has_labels(self) -> bool:
        """Whether any image has a label file."""
        return any(folder is not None for folder in self._chosen.values())

    def find(self, image: Path) -> Path | None:
        """Label file of an image; its suffix may have capitals, or follow that of the image."""
        folder = self._chosen.get(image.parent)
        file = None if folder is None else self._in(folder, image)
        if file is not None:
            self._users.setdefault(file, {})[image] = None
        return file

    def _in(self, folder: Path, image: Path) -> Path | None:
        if f"{image.stem}.txt" in list_folder(folder, self._listings).get(plain(f"{image.stem}.txt"), ()):
            return folder / f"{image.stem}.txt"
        files = self._texts(folder)
        return files.get(plain(image.stem)) or files.get(plain(image.name))

    def problems(self) -> list[Problem]:
        """Report label files with no image or several, and images of formats that are not read."""
        stems: dict[Path, set[str]] = {}
        done = "boxes used for each, though they can be right for one only"
        problems = [
            Problem("label file of several images", str(file), ", ".join(map(str, images)), done, lost=True)
            for file, images in self._users.items()
            if len(images) > 1
        ]
        for images, labels in self._chosen.items():
            texts = self._texts(labels) if labels else {}
            for name in (name for names in list_folder(images, self._listings).values() for name in names):
                path = images / name
                suffix, stem = path.suffix.lower(), plain(path.stem)
                is_image = suffix in IMAGE_SUFFIXES
                if suffix in UNREAD_SUFFIXES and not name.startswith("."):
                    done = "image left out: convert it to JPEG or PNG"
                    problems.append(Problem("unknown image format", str(path), suffix, done, lost=stem in texts))
                if labels and (is_image or suffix in UNREAD_SUFFIXES):
                    stems.setdefault(labels, set()).update((stem, plain(name)))
        for labels, known in stems.items():
            orphans = [
                path for stem, path in self._texts(labels).items() if stem not in known and _begins_with_row(path)
            ]
            done = "not used"
            problems += [
                Problem("label without image", str(path), "no image of this name", done, lost=True) for path in orphans
            ]
        return problems

    def _choose(self, folder: Path, stems: set[str]) -> Path | None:
        own = (path for path in self._candidates(folder, LABEL_FOLDERS) if not stems.isdisjoint(self._texts(path)))
        return next(own, None) or next(
            (
                path
                for path in self._candidates(folder, OTHER_LABEL_FOLDERS)
                if any(_begins_with_row(file) for stem, file in self._texts(path).items() if stem in stems)
            ),
            None,
        )

    def _candidates(self, folder: Path, names: Sequence[str]) -> list[Path]:
        parts = folder.parts
        stated: list[tuple[Path, tuple[str, ...]]] = []
        shorter: list[tuple[Path, tuple[str, ...]]] = []
        for index in range(len(parts) - 1, -1, -1):
            base, inner = Path(*parts[:index]), parts[index + 1 :]
            if plain(parts[index]) in IMAGE_FOLDERS:
                stated += [(base, (name, *inner)) for name in names]
                shorter += [(base, (name, *inner[:end])) for end in range(len(inner) - 1, -1, -1) for name in names]
            elif _IMAGE_WORD.search(parts[index]):
                shorter += [(base, (_IMAGE_WORD.sub(name, parts[index]), *inner)) for name in names]
        stated.append((folder, ()))
        for name in names:
            stated += [(folder, (name,)), (folder.parent, (name, folder.name)), (folder.parent, (name,))]
        found = (in_any_spelling(base, inner, self._listings) for base, inner in (*stated, *shorter))
        return [path for path in found if path is not None]

    def _texts(self, folder: Path) -> dict[str, Path]:
        """Text files of a folder by their stem, in plain spelling."""
        if folder not in self._files:
            names = (name for names in list_folder(folder, self._listings).values() for name in names)
            texts = (folder / name for name in names if name.lower().endswith(".txt") and not name.startswith("."))
            self._files[folder] = {plain(path.stem): path for path in texts}
        return self._files[folder]


def _begins_with_row(file: Path) -> bool:
    """Check whether a text file begins as a label file does: with five numbers or more in a line."""
    try:
        words = read_first_line(file).split()
        return len(words) > 4 and bool([float(word) for word in words])
    except ValueError:
        return False
