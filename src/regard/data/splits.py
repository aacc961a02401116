"""What the names of files and folders tell: the split they speak of, the images missing, the one that was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from regard.data.dataset import Problem, Sample
from regard.errors import nearest

SPLITS = ("train", "val", "test")

_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "minival": "val",
    "test": "test",
    "testing": "test",
}


def split_in(name: str) -> str | None:
    """Return "train", "val" or "test" if ``name`` has such a word (``instances_val2017``), else None."""
    words = re.findall(r"[a-z]+", name.lower())
    return next((_WORDS[word] for word in words if word in _WORDS), None)


def undivided(records: tuple[Sample, ...]) -> dict[str, tuple[Sample, ...]]:
    """Return the splits of a source that names none: the same records to train on and to validate on."""
    return {"train": records, "val": records}


def missing_images(paths: Iterable[Path], listed_in: Path) -> list[Problem]:
    """Return one problem for each listed image that is not on disk."""
    return [Problem("missing image", str(listed_in), str(path), "image left out") for path in paths]


def nearest_path(path: Path) -> str | None:
    """Return a hint at what lies beside a missing ``path`` under a similar name, or None."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either"
    return nearest(path.name, (sibling.name for sibling in path.parent.iterdir()))
