"""Text files and paths that a data set names: reading them, finding the split in a name, hints for missing paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from regard.data.dataset import Problem, Sample
from regard.errors import RegardError, nearest

SPLITS = ("train", "val", "test")

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "minival": "val",
    "test": "test",
    "testing": "test",
}


def read_text(file: Path) -> str:
    """Read a UTF-8 file and drop the byte order mark that some editors write.

    Raises:
        RegardError: the file cannot be read or is not UTF-8; the error names the line.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RegardError(f"cannot be read: {error.strerror or error}", file=file) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RegardError(
            f"cannot be read: {content[error.start : error.start + 1]!r} is not valid UTF-8",
            file=file,
            line=content.count(b"\n", 0, error.start) + 1,
            expected="a text file saved as UTF-8",
        ) from error


def is_file(path: Path) -> bool:
    """Check for a file without raising an error for names that no file system accepts, such as 5000 letters."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def split_in(name: str) -> str | None:
    """Find the split that a file or folder name mentions.

    Example:
        >>> split_in("instances_val2017"), split_in("minitest"), split_in("Training set")
        ('val', None, 'train')
    """
    words = re.findall(r"[a-z]+", name.lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)


def undivided(samples: tuple[Sample, ...]) -> dict[str, tuple[Sample, ...]]:
    """Use the same samples for training and for validation, for sources that name no split."""
    return {"train": samples, "val": samples}


def missing_images(paths: Iterable[Path], listed_in: Path) -> list[Problem]:
    """Report each image that is listed in a file but not on disk."""
    return [Problem("missing image", str(listed_in), str(path), "image left out") for path in paths]


def nearest_path(path: Path) -> str | None:
    """Suggest a path of a similar name in the same folder as a missing ``path``; None if there is none."""
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist either"
    return nearest(path.name, (sibling.name for sibling in path.parent.iterdir()))
