"""What a source that is no data set looks like, and the step that makes it one."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from regard.data.dataset import NoLabelsError
from regard.data.files import split_in
from regard.data.formats import coco, foreign_text
from regard.data.images import IMAGE_SUFFIXES
from regard.data.paths import files_below
from regard.errors import RegardError, first_names
from regard.system.files import is_folder, is_there, nearest_path, reject_special
from regard.system.loaders import MOST_JSON, read_bytes, read_first_line

ARCHIVES = {".zip": "zipfile", ".tar": "tarfile", ".tgz": "tarfile", ".gz": "tarfile", ".bz2": "tarfile"}
"""Suffixes of archives, and Python's modules that unpack them."""

OTHER_ARCHIVES = (".7z", ".rar", ".xz", ".zst")
MASKS = ("mask", "segm", "annot", "label")
"""Parts of names of folders in which images are masks of other images."""

MOST_LISTED = 1000
"""Files of a folder that are considered."""


def unknown_source(source: str, expected: str) -> RegardError:
    """Build the error for a source in no known format: what it looks like, and what to do.

    Args:
        source: the path that the user gave.
        expected: the sources that can be read.
    """
    path = Path(source)
    if not is_there(path):
        return RegardError(f"there is no data set {source!r}", expected=expected, hint=nearest_path(path))
    reject_special(path)
    if not is_folder(path):
        what = _near_format(path) or "not a data set in a known format"
        return _archive(path) or RegardError(what, file=path, expected=expected)
    files = list(islice(files_below(path), MOST_LISTED))
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    archives = [error for error in map(_archive, files) if error]
    if archives and not images:
        return archives[0]
    classes = sorted(
        {image.parent.name for image in images if image.parent != path and not split_in(image.parent.name)}
    )
    masks = [name for name in classes if any(word in name.lower() for word in MASKS)]
    if images and len(images) == len(files) and masks:
        return RegardError(
            f"the folder is a segmentation set: images with masks in {', '.join(masks)}, without boxes",
            file=path,
            expected="a box for each object",
            hint="convert the masks to polygons or boxes, as COCO or YOLO",
        )
    if images and len(images) == len(files) and len(classes) > 1:
        listed = first_names(classes, 8)
        return RegardError(
            f"the folder is a classification set: images sorted into {listed}, without boxes",
            file=path,
            expected="a box for each object",
            hint="draw boxes with a labelling tool, such as CVAT or Label Studio, and export them in the YOLO format",
        )
    if images and len(images) == len(files):
        return NoLabelsError(f"the folder contains {len(images)} images, but no labels", file=path, expected=expected)
    for file in files:
        if near := _near_format(file):
            return RegardError(near, file=file, expected=expected)
    names = sorted(entry.name for entry in path.iterdir())[:10]
    if not names:
        return RegardError("the folder is empty", file=path, expected=expected)
    found = ", ".join(names)
    return RegardError(f"the folder contains {found}, which is no known format", file=path, expected=expected)


def _near_format(file: Path) -> str | None:
    """What a table or JSON file lacks to be labels; None for other files."""
    if file.suffix.lower() == ".csv":
        line = read_first_line(file).strip()
        lacks = foreign_text.missing_columns(line)
        return f"its columns are {line:.200}: {lacks}" if lacks and line else None
    if file.suffix.lower() != ".json":
        return None
    try:
        content = read_bytes(file, MOST_JSON)
    except RegardError:
        return None
    missing = [key for key in coco.KEYS if f'"{key}"'.encode() not in content]
    if len(missing) == 1 and b'"bbox"' in content:
        return f"COCO JSON without {missing[0]!r}"
    is_result = all(f'"{key}"'.encode() in content for key in ("image_id", "category_id", "bbox", "score"))
    return "results of a detector, not labels" if is_result else None


def _archive(path: Path) -> RegardError | None:
    """Build the error for an archive; None if the file is none."""
    suffix = path.suffix.lower()
    if suffix not in ARCHIVES and suffix not in OTHER_ARCHIVES:
        return None
    target = path.with_name(path.name.split(".")[0])
    module = ARCHIVES.get(suffix)
    command = f"python -m {module} -e {path} {target}, then name {target}" if module else f"unpack it into {target}"
    return RegardError("the data set is an archive, which is not read", file=path, expected="a folder", hint=command)
