"""What a source that is no data set looks like, and the step that makes it one."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from regard.data.files import nearest_path, split_in
from regard.data.images import IMAGE_SUFFIXES
from regard.data.paths import files_below
from regard.errors import RegardError
from regard.system.files import is_folder, is_there, reject_special

ARCHIVES = {".zip": "zipfile", ".tar": "tarfile", ".tgz": "tarfile", ".gz": "tarfile", ".bz2": "tarfile"}
"""Suffixes of archives, and Python's modules that unpack them."""

OTHER_ARCHIVES = (".7z", ".rar", ".xz", ".zst")
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
        return _archive(path) or RegardError("not a data set in a known format", file=path, expected=expected)
    files = list(islice(files_below(path), MOST_LISTED))
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    archives = [error for error in map(_archive, files) if error]
    if archives and not images:
        return archives[0]
    classes = sorted(
        {image.parent.name for image in images if image.parent != path and not split_in(image.parent.name)}
    )
    if images and len(images) == len(files) and len(classes) > 1:
        listed = ", ".join(classes[:8]) + ", ..." * (len(classes) > 8)
        return RegardError(
            f"the folder is a classification set: images sorted into {listed}, without boxes",
            file=path,
            expected="a box for each object",
            hint="draw boxes with a labelling tool, such as CVAT or Label Studio, and export them in the YOLO format",
        )
    if images and len(images) == len(files):
        return RegardError(f"the folder contains {len(images)} images, but no labels", file=path, expected=expected)
    found = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
    return RegardError(f"the folder contains {found}, which is no known format", file=path, expected=expected)


def _archive(path: Path) -> RegardError | None:
    """Build the error for an archive; None if the file is none."""
    suffix = path.suffix.lower()
    if suffix not in ARCHIVES and suffix not in OTHER_ARCHIVES:
        return None
    target = path.with_name(path.name.split(".")[0])
    module = ARCHIVES.get(suffix)
    command = f"python -m {module} -e {path} {target}, then name {target}" if module else f"unpack it into {target}"
    return RegardError("the data set is an archive, which is not read", file=path, expected="a folder", hint=command)
