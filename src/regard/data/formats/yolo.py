"""The YOLO format: a data.yaml, folders of images, and one text file of ``class cx cy w h`` lines per image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.data.dataset import DetectionDataset, Problem, Sample
from regard.data.files import SPLITS, missing_images, nearest_path
from regard.data.formats.labels import Box, Label, clean, to_arrays
from regard.data.images import IMAGE_SUFFIXES, ImageFile
from regard.errors import RegardError
from regard.system.files import is_file, is_folder, is_there
from regard.system.loaders import LineOf, read_text, read_yaml

EXPECTED = "a data.yaml or a folder with one (YOLO)"
SUFFIXES = (".yaml", ".yml")
BOX_VALUES = 5
"""Values of a line with a box; a line of seven values or more, and an odd number of them, is a polygon."""

Split = tuple[tuple[Sample, ...], list[Problem]]


def recognise(source: str) -> bool:
    """Check for a YAML file, or a folder with a data.yaml or one other YAML file that names classes and a split.

    Raises:
        RegardError: a folder contains several such files and none is called data.yaml.
    """
    path = Path(source)
    return _find_yaml(path) is not None if is_folder(path) else path.suffix.lower() in SUFFIXES and is_file(path)


def read(source: str | Path) -> DetectionDataset:
    """Read the data set that a data.yaml, or the one in a folder, describes.

    ``names`` is a list, or a map from 0, 1, 2, ... to names. ``train``, ``val`` and ``test`` are each a folder
    (searched with its subfolders), a text file of image paths, or a list of these, relative to ``path``, which is
    relative to the YAML file. The label file of an image is found by replacing the last ``images`` of its path by
    ``labels``; an image without a label file is kept as background. A polygon (segmentation) becomes its bounding box.

    Raises:
        RegardError: the YAML or a label is broken, a folder is missing or empty, or no image has a label file.
    """
    config = (_find_yaml(Path(source)) if is_folder(source) else None) or Path(source)
    options, lines = read_yaml(config)
    if not isinstance(options, dict):
        raise RegardError("there are no settings", file=config, expected="a map with names, train and val")
    names = _names(options, config, lines)
    splits: dict[str, tuple[Sample, ...]] = {}
    problems: list[Problem] = []
    read: dict[str, tuple[Sample, ...]] = {}
    for split in SPLITS:
        entry = options.get(split)
        if not entry:
            continue
        key = repr(entry)
        if key not in read:  # train and val may be the same folder
            folders = _locate_all(entry, split, options, config, lines.get((split, -1)), problems)
            if not folders:
                continue
            read[key], found = _read_split(folders, names, split)
            problems += found
        splits[split] = read[key]
    if not splits:
        raise RegardError("no images are named", file=config, expected="train: FOLDER, and the same for val and test")
    return DetectionDataset(names, splits, "yolo", str(config), tuple(problems))


def _find_yaml(folder: Path) -> Path | None:
    """Find the folder's data.yaml, or the only other YAML file in it that describes a data set."""
    for name in ("data.yaml", "data.yml"):
        if is_file(folder / name):
            return folder / name
    found = [path for path in sorted(folder.glob("*.y*ml")) if _names_a_split(path)]
    if len(found) > 1:
        raise RegardError(
            "the folder contains several data sets: " + ", ".join(path.name for path in found),
            file=folder,
            hint="name the one to use",
        )
    return found[0] if found else None


def _names_a_split(config: Path) -> bool:
    try:
        options, _ = read_yaml(config)
    except RegardError:
        return False
    return isinstance(options, dict) and "names" in options and any(split in options for split in SPLITS)


def _names(options: Mapping[str, Any], config: Path, lines: LineOf) -> tuple[str, ...]:
    """Read the class names in the order of their ids."""
    names = options.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise RegardError(
                f"the keys of names are {', '.join(map(str, names))}",
                file=config,
                line=lines.get(("names", -1)),
                expected=f"0 to {len(names) - 1}, each once",
            )
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise RegardError(
            "there are no class names", file=config, expected="names: [cat, dog], or a map {0: cat, 1: dog}"
        )
    odd = next((name for name in names if isinstance(name, bool) or not isinstance(name, str | int | float)), "")
    if odd != "":
        line = lines.get(("names", -1))
        expected = "words; without quotes YAML reads yes, no, on and off as true and false"
        raise RegardError(f"a class is called {odd!r}", file=config, line=line, expected=expected)
    if options.get("nc", len(names)) != len(names):
        raise RegardError(
            f"nc is {options['nc']}, but there are {len(names)} names", file=config, line=lines.get(("nc", -1))
        )
    return tuple(str(name) for name in names)


def _locate_all(
    entry: object, split: str, options: Mapping[str, Any], config: Path, line: int | None, problems: list[Problem]
) -> list[Path]:
    """Find the folders and lists of a split; a missing test split is only reported, since many sets lack it."""
    entries = entry if isinstance(entry, list) else [entry]
    candidates = [_candidates(str(one), str(options.get("path") or "."), config.parent) for one in entries]
    found = [next((path for path in paths if is_there(path)), None) for paths in candidates]
    for one, path, tried in zip(entries, found, candidates, strict=True):
        if path is None and split == "test":
            problems.append(Problem("missing folder", f"{config}: test", str(one), "split left out"))
        elif path is None:
            raise RegardError(
                f"{split}: {one} does not exist",
                file=config,
                line=line,
                expected="a folder of images or a text file, at one of " + ", ".join(map(str, dict.fromkeys(tried))),
                hint=nearest_path(tried[0]),
            )
    return [path for path in found if path is not None]


def _candidates(entry: str, root: str, base: Path) -> list[Path]:
    """List the paths that an entry may mean, the most likely first.

    In addition to the rules of the format, ``path`` is tried from the working directory, and the entry from the folder
    of the YAML file, with and without its leading ``../``: exported data sets are often off by one folder.
    """
    inner = entry
    while inner.startswith("../"):
        inner = inner[3:]
    here = [Path(root) / entry] if root != "." else []
    return [base / root / entry, *here, base / entry, base / inner]


def _read_split(sources: list[Path], names: tuple[str, ...], split: str) -> Split:
    images, problems = _find_images(sources)
    where = ", ".join(map(str, sources))
    if not images:
        raise RegardError(
            f"there are no images for {split}", file=where, expected="files " + " ".join(sorted(IMAGE_SUFFIXES))
        )
    samples: list[Sample] = []
    labelled = 0
    for image_id, image in zip(_image_ids(images), images, strict=True):
        label_file = label_path(image)
        labels: list[Label] = []
        if is_file(label_file):
            labelled += 1
            labels, found = clean(_read_labels(label_file, names))
            problems += found
        else:
            problems.append(Problem("missing label", str(image), f"no {label_file}", "kept as background"))
        boxes, class_ids = to_arrays(labels)
        samples.append(Sample(ImageFile(image), boxes, class_ids, image_id))
    if not labelled and split != "test":
        raise RegardError(
            f"none of the {len(images)} {split} images has a label file",
            file=where,
            expected=f"labels such as {label_path(images[0])}",
        )
    return tuple(samples), problems


def _image_ids(images: Sequence[Path]) -> list[int]:
    """Use the numbers in the file names, as in COCO, so that saved results match COCO's label file.

    If a name is not a number, or two numbers are equal, the ids are the positions in the split.
    """
    stems = [image.stem for image in images]
    ids = [int(stem) for stem in stems if stem.isascii() and stem.isdecimal()]
    return ids if len(set(ids)) == len(images) else list(range(len(images)))


def _find_images(sources: list[Path]) -> tuple[list[Path], list[Problem]]:
    images: list[Path] = []
    problems: list[Problem] = []
    for source in sources:
        if is_folder(source):
            files = (path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
            images += sorted(path for path in files if not path.name.startswith("."))
            continue
        if source.suffix.lower() != ".txt":
            raise RegardError("neither a folder nor a .txt list of images", file=source)
        listed = [line.strip() for line in read_text(source).splitlines() if line.strip()]
        # COCO's lists contain "./images/a.jpg", relative to the list; Darknet's are relative to the working directory.
        choices = [(source.parent / line, Path(line)) for line in listed]
        paths = [there if is_file(there) or not is_file(here) else here for there, here in choices]
        images += [path for path in paths if is_file(path)]
        problems += missing_images((path for path in paths if not is_file(path)), source)
    return images, problems


def label_path(image: Path) -> Path:
    """Path of the label file of an image.

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


def _read_labels(file: Path, names: tuple[str, ...]) -> list[Label]:
    lines = read_text(file).splitlines()
    return [_parse(line, number, file, names) for number, line in enumerate(lines, 1) if line.strip()]


def _parse(line: str, number: int, file: Path, names: tuple[str, ...]) -> Label:
    """Parse one line.

    Raises:
        RegardError: the line is not ``class cx cy w h`` or a polygon.
    """
    words = line.split()
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    is_polygon = len(values) > BOX_VALUES + 1 and len(values) % 2 == 1
    if not (len(values) == BOX_VALUES or is_polygon) or not all(map(math.isfinite, values)) or values[0] % 1:
        raise RegardError(
            f"broken label {line.strip()[:60]!r}",
            file=file,
            line=number,
            expected="class cx cy w h: a whole number and four fractions of the image (or class x1 y1 x2 y2 x3 y3 ...)",
        )
    stated = int(values[0])
    known = 0 <= stated < len(names)
    box = _bounding_box(values[1:]) if is_polygon else (values[1], values[2], values[3], values[4])
    name = names[stated] if known else f"{stated} of {len(names)}"
    return Label(str(file), name, stated if known else None, box, line=number)


def _bounding_box(polygon: list[float]) -> Box:
    """Bounding box of a polygon x1 y1 x2 y2 ..."""
    left, right = min(polygon[::2]), max(polygon[::2])
    top, bottom = min(polygon[1::2]), max(polygon[1::2])
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
