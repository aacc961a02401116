"""Folders of images with YOLO label files, but without a data.yaml: as labelling tools and Darknet leave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from regard.data.dataset import DetectionDataset, Problem
from regard.data.files import SPLITS, UNDIVIDED, split_in
from regard.data.formats import yolo
from regard.data.formats.yolo import images_below, listed_images
from regard.data.formats.yolo_rows import BOX_VALUES, RowReader
from regard.data.formats.yolo_samples import LabelLocator, read_samples
from regard.data.formats.yolo_yaml import find_yaml_below, numbered_names, read_names
from regard.data.images import IMAGE_SUFFIXES
from regard.data.paths import Listings, files_below, resolve
from regard.errors import RegardError
from regard.system.files import is_file, is_folder
from regard.system.loaders import read_first_line, read_text

EXPECTED = "a folder of images with YOLO label files"
NAME_FILES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels", "predefined_classes.txt")
"""Files of class names, one per line; any other ``*.names`` comes after them."""

MOST_UNNAMED = 10_000
"""Classes that get numbers as names; a larger id is more likely a damaged row."""

MOST_PROBED = 20
"""Label files of a folder that are opened to see whether they contain labels."""


def recognise(source: str) -> bool:
    """Check for Darknet's ``obj.data``, a data.yaml further down, or images that have label files in YOLO's places.

    Raises:
        RegardError: there are several data.yaml files further down.
    """
    folder = Path(source)
    if not is_folder(folder):
        return False
    if _darknet_file(folder) or find_yaml_below(folder):
        return True
    images: dict[Path, list[Path]] = {}
    for path in images_below(folder):
        images.setdefault(path.parent, []).append(path)
    return any(_has_labels(paths) for paths in images.values())


def read(source: str | Path, *, first_class: int = 0) -> DetectionDataset:
    """Read such a folder.

    A data.yaml one or two folders down is used. Without one the splits are those of ``obj.data``, else of lists such as
    ``train.txt``, else of the words train, val and test in the names of folders, else all images are one split. Names
    are those of ``obj.data``, else of one of ``NAME_FILES`` in the folder, else class0, class1, ... with a notice.

    Args:
        source: the folder.
        first_class: class id in the label files that the first name belongs to.

    Raises:
        RegardError: a list or ``obj.data`` is broken, or there are no images.
    """
    folder = Path(source)
    below = None if _darknet_file(folder) else find_yaml_below(folder)
    if below:
        return _read_below(folder, below, first_class)
    darknet = _read_darknet(folder)
    problems: list[Problem] = []
    images = _listed_splits(folder, darknet, problems) or _splits_by_folder(folder, problems)
    if not images:
        raise RegardError("there are no images", file=folder, expected="files " + " ".join(sorted(IMAGE_SUFFIXES)))
    names = _find_names(folder, darknet.get("names"), problems)
    reader = RowReader(tuple(names), first_class)
    splits, found = read_samples(images, reader, folder)
    if not names:
        count = reader.ids[1] - first_class + 1 if reader.ids else 0
        if count > MOST_UNNAMED:
            raise RegardError(f"class ids reach {count - 1}", file=folder, expected="a classes.txt with all names")
        names = numbered_names(max(count, 1))
        what = "no data.yaml, classes.txt or obj.names"
        problems.append(Problem("no class names", str(folder), what, f"called {names[0]} to {names[-1]}"))
        splits, found = read_samples(images, RowReader(tuple(names), first_class), folder)
    return DetectionDataset(tuple(names), splits, "yolo", str(source), (*problems, *found))


def _read_below(folder: Path, config: Path, first_class: int) -> DetectionDataset:
    """Read the data set of a data.yaml further down, and report images of the folder that are not below it."""
    data = yolo.read(config, first_class=first_class)
    problems = [Problem("YAML file in a subfolder", str(folder), config.relative_to(folder).as_posix(), "used")]
    used = {sample.image.name for samples in data.splits.values() for sample in samples}
    outside = [
        path for path in images_below(folder) if not path.is_relative_to(config.parent) and str(path) not in used
    ]
    if outside:
        what = f"{len(outside)} images, such as {outside[0]}, are in no split of {config}"
        problems.append(Problem("image in no split", str(folder), what, "images left out", lost=True))
    return replace(data, problems=(*problems, *data.problems))


def _has_labels(images: list[Path]) -> bool:
    """Check that some of the images of a folder has a label file with a row."""
    locator = LabelLocator(images)
    files = (file for file in map(locator.find, images) if file is not None) if locator.has_labels else iter(())
    return any(_is_label(file) for _, file in zip(range(MOST_PROBED), files, strict=False))


def _is_label(file: Path) -> bool:
    """Check whether the first line has a class and four numbers or more, however they are separated."""
    words = read_first_line(file).replace(",", " ").split()
    return sum(word.replace(".", "", 1).lstrip("-").isdecimal() for word in words[1:]) >= BOX_VALUES


def _darknet_file(folder: Path) -> Path | None:
    """Darknet's file of settings in a folder or one below it."""
    for pattern in ("*.data", "*/*.data"):
        for file in sorted(folder.glob(pattern)):
            if is_file(file) and "train" in _settings(file):
                return file
    return None


def _settings(file: Path) -> dict[str, str]:
    """Read lines such as ``train = data/train.txt``."""
    try:
        lines = (line.partition("=") for line in read_text(file).splitlines())
    except RegardError:
        return {}
    return {key.strip(): value.strip() for key, sign, value in lines if sign}


def _read_darknet(folder: Path) -> Mapping[str, Path]:
    """Paths of the lists and names that Darknet's settings state, by split and "names".

    Raises:
        RegardError: one of them does not exist.
    """
    file = _darknet_file(folder)
    if file is None:
        return {}
    found: dict[str, Path] = {}
    for key, stated in _settings(file).items():
        name = "names" if key == "names" else split_in(key)
        if name is None:
            continue
        located = resolve(stated, [file.parent, folder, Path()])
        if located is not None and is_file(located.path):
            found[name] = located.path
        elif name != "test":
            expected = f"a file at {file.parent / stated}"
            raise RegardError(f"{key}: {stated} does not exist", file=file, expected=expected)
    return found


def _listed_splits(folder: Path, darknet: Mapping[str, Path], problems: list[Problem]) -> dict[str, list[Path]]:
    """Read the images of lists; of those in the folder itself only if they begin with the path of an image."""
    lists = {split: darknet[split] for split in SPLITS if split in darknet}
    if not lists:
        for file in sorted(folder.glob("*.txt")):
            split = split_in(file.stem)
            if split and split not in lists and _is_list(file):
                lists[split] = file
    listings: Listings = {}
    images: dict[str, list[Path]] = {}
    for split, file in ((split, lists[split]) for split in SPLITS if split in lists):
        images[split], found = listed_images(file, [file.parent, folder, Path()], listings)
        problems += found
        if not images[split]:
            raise RegardError("none of the listed images exists", file=file, expected="one path of an image per line")
    return images


def _is_list(file: Path) -> bool:
    return Path(read_first_line(file).strip()).suffix.lower() in IMAGE_SUFFIXES


def _splits_by_folder(folder: Path, problems: list[Problem]) -> dict[str, list[Path]]:
    """Assign each image to the split in the name of a folder, the innermost first."""
    found: dict[str, list[Path]] = {}
    for image in images_below(folder):
        parts = reversed(image.parent.relative_to(folder).parts)
        split = next((split for split in map(split_in, parts) if split), "")
        found.setdefault(split, []).append(image)
    outside = found.pop("", [])
    if outside and not found:
        return {UNDIVIDED: outside}
    if outside:
        what = f"{len(outside)} images, such as {outside[0].name}, are in no folder of a split"
        problems.append(Problem("image in no split", str(folder), what, "images left out", lost=True))
    return {split: found[split] for split in SPLITS if split in found}


def _find_names(folder: Path, stated: Path | None, problems: list[Problem]) -> list[str]:
    """Read the file of class names that is stated, or the one that is nearest to the folder; [] if there is none."""
    file = stated or _nearest_names(files_below(folder))
    if file is None:
        return []
    names, note = read_names(file)
    if note:
        problems.append(Problem("file in another encoding", str(file), note, "used"))
    return names


def _nearest_names(files: Iterable[Path]) -> Path | None:
    def rank(path: Path) -> tuple[int, int]:
        known = NAME_FILES.index(path.name.lower()) if path.name.lower() in NAME_FILES else len(NAME_FILES)
        return known, len(path.parts)

    named = [path for path in files if path.name.lower() in NAME_FILES or path.suffix.lower() == ".names"]
    return min(named, key=rank, default=None)
