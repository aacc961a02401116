"""The YOLO format: a data.yaml, folders of images, and one text file of ``class cx cy w h`` lines per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regard.data.dataset import DetectionDataset, Problem
from regard.data.files import SPLITS, missing_images, split_in
from regard.data.formats.yolo_rows import RowReader
from regard.data.formats.yolo_samples import read_samples
from regard.data.formats.yolo_yaml import class_names, find_yaml, other_yamls, read_config
from regard.data.images import IMAGE_SUFFIXES
from regard.data.paths import Listings, Located, files_below, resolve
from regard.errors import RegardError
from regard.system.files import is_file, is_folder, nearest_path
from regard.system.loaders import LineOf, read_text

EXPECTED = "a data.yaml or a folder with one (YOLO)"
SUFFIXES = (".yaml", ".yml")


def recognise(source: str) -> bool:
    """Check for a YAML file, or a folder with a data.yaml or one other YAML file that names classes and a split.

    Raises:
        RegardError: a folder contains several such files and none is called data.yaml.
    """
    path = Path(source)
    return find_yaml(path) is not None if is_folder(path) else path.suffix.lower() in SUFFIXES and is_file(path)


def read(source: str | Path, *, first_class: int = 0) -> DetectionDataset:
    """Read the data set that a data.yaml, or the one in a folder, describes.

    ``names`` is a list, a map from 0, 1, 2, ... to names, a file of names, or text with commas; with only ``nc``
    classes are called class0, class1, ... ``train``, ``val`` and ``test`` are each a folder (searched with its
    subfolders), a text file of image paths, or a list of these, relative to ``path``, which is relative to the YAML
    file. Paths of other machines and systems are found by their end; see `regard.data.paths.resolve`. For label files
    see `regard.data.formats.yolo_samples.LabelLocator`; an image without one is kept as background. A polygon
    (segmentation) becomes its bounding box; with ``kpt_shape`` the box of a row with keypoints is used.

    Args:
        source: the YAML file or its folder.
        first_class: class id in the label files that the first name belongs to.

    Raises:
        RegardError: the YAML is broken, a folder is missing or empty, or no image has a label file.
    """
    config = (find_yaml(Path(source)) if is_folder(source) else None) or Path(source)
    options, lines, problems = read_config(config)
    names = class_names(options, config, lines, problems, first_class)
    problems += other_yamls(config, options) if is_folder(source) else []
    locator = _Locator(config, str(options.get("path") or "."), problems)
    images: dict[str, list[Path]] = {}
    read: dict[str, list[Path]] = {}
    for split in SPLITS:
        entry = options.get(split)
        if not entry:
            continue
        key = repr(entry)
        if key not in read:  # train and val may be the same folder
            folders = locator.locate_all(entry, split, lines.get((split, -1)))
            if not folders:
                continue
            read[key] = locator.find_images(folders, split)
        images[split] = read[key]
    if not images:
        raise RegardError("no images are named", file=config, expected="train: FOLDER, and the same for val and test")
    reader = RowReader(names, first_class, _kpt_shape(options, config, lines))
    splits, found = read_samples(images, reader, config)
    return DetectionDataset(names, splits, "yolo", str(config), (*problems, *found))


def _kpt_shape(options: Mapping[str, Any], config: Path, lines: LineOf) -> tuple[int, int] | None:
    """Read the number of keypoints and of the values of each."""
    shape = options.get("kpt_shape")
    if shape is None:
        return None
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and 0 < n < 1000 for n in shape):
        line = lines.get(("kpt_shape", -1))
        raise RegardError(f"kpt_shape is {shape!r:.80}", file=config, line=line, expected="[keypoints, 2 or 3]")
    return shape[0], shape[1]


@dataclass
class _Locator:
    """Finds what a YAML file names and reports what is elsewhere.

    ``path`` is tried from the folder of the YAML file, from the working directory and from the folder above the file,
    as YOLOv5 keeps its files in ``data/`` and writes paths for the folder above; the entries are tried from ``path``
    and from the folder of the YAML file: exported data sets are often off by one folder.
    """

    config: Path
    root: str
    problems: list[Problem]
    listings: Listings = field(default_factory=dict)

    def __post_init__(self) -> None:
        base = self.config.parent
        located = resolve(self.root, [base, Path(), base.parent], listings=self.listings) if self.root != "." else None
        here = [Path(self.root)] if self.root != "." else []
        self.bases = [base / self.root, *here, *([located.path] if located else []), base]

    def locate_all(self, entry: object, split: str, line: int | None) -> list[Path]:
        """Find the folders and lists of a split; a missing test split is only reported, since many sets lack it."""
        found = []
        for one in map(str, entry if isinstance(entry, list) else [entry]):
            located = self._locate(one, split)
            if located is not None:
                if located.note:
                    self.problems.append(Problem("moved path", f"{self.config}: {split}", one, located.note))
                found.append(located.path)
            elif split == "test":
                self.problems.append(Problem("missing folder", f"{self.config}: test", one, "split left out"))
            else:
                tried = [base / one for base in self.bases]
                escaped = "in double quotes YAML reads \\t, \\n and others as one character: write paths with /"
                raise RegardError(
                    f"{split}: {one if one.isprintable() else repr(one)} does not exist",
                    file=self.config,
                    line=line,
                    expected="a folder of images or a text file, at one of "
                    + ", ".join(map(str, dict.fromkeys(tried))),
                    hint=nearest_path(tried[0]) if one.isprintable() else escaped,
                )
        return found

    def _locate(self, entry: str, split: str) -> Located | None:
        """Find an entry; a generic name such as ``images`` alone is no evidence for a moved one."""
        is_generic = split_in(entry.replace("\\", "/").rpartition("/")[2]) is None
        located = resolve(entry, self.bases, shortest=1 + is_generic, listings=self.listings)
        return located or self._locate_synonym(entry, split)

    def _locate_synonym(self, entry: str, split: str) -> Located | None:
        """Find a folder with another word for the split, such as ``validate`` for ``valid``."""
        parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        for index in (i for i, part in enumerate(parts) if split_in(part) == split):
            for base in self.bases:
                above = resolve("/".join(parts[:index]) or ".", [base], listings=self.listings)
                if above is None or not is_folder(above.path):
                    continue
                for other in sorted(above.path.iterdir()):
                    path = other.joinpath(*parts[index + 1 :])
                    if split_in(other.name) == split and is_folder(path):
                        return Located(path, f"{path} used instead")
        return None

    def find_images(self, sources: list[Path], split: str) -> list[Path]:
        """List the images of a split.

        Raises:
            RegardError: there are none.
        """
        images: list[Path] = []
        for source in sources:
            images += images_below(source) if is_folder(source) else self._listed(source)
        if not images:
            where = ", ".join(map(str, sources))
            expected = "files " + " ".join(sorted(IMAGE_SUFFIXES))
            raise RegardError(f"there are no images for {split}", file=where, expected=expected)
        return images

    def _listed(self, file: Path) -> list[Path]:
        """Read a list of images: COCO's are relative to the list, Darknet's to the working directory."""
        if file.suffix.lower() != ".txt":
            raise RegardError("neither a folder nor a .txt list of images", file=file)
        images, found = listed_images(file, [file.parent, Path(), *self.bases], self.listings)
        self.problems += found
        return images


def images_below(folder: Path) -> list[Path]:
    """List the images in a folder and its subfolders, sorted."""
    return [path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def listed_images(file: Path, bases: Sequence[Path], listings: Listings) -> tuple[list[Path], list[Problem]]:
    """Find the images that a text file lists, one path per line, and report those that are missing or elsewhere.

    Lines that begin with ``#`` are comments, unless there is such a file.
    """
    lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    located = [(line, resolve(line, bases, listings=listings)) for line in lines]
    located = [(line, one) for line, one in located if one or not line.startswith("#")]
    lines, found = [line for line, _ in located], [one for _, one in located]
    images = [one.path for one in found if one and is_file(one.path)]
    missing = [Path(line) for line, one in zip(lines, found, strict=True) if not one or not is_file(one.path)]
    problems = missing_images(missing, file)
    moved = [(line, one.note) for line, one in zip(lines, found, strict=True) if one and one.note]
    if moved:
        problems.append(Problem("moved path", str(file), f"{moved[0][0]} and {len(moved) - 1} others", moved[0][1]))
    return images, problems
