"""Paths that a data set names: finding the split in a name, hints for missing paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from regard.data.dataset import Problem, Sample

SPLITS = ("train", "val", "test")

UNDIVIDED = "all"
"""The only split of a data set that names none; `regard.data.split.divide` divides it for training."""

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "eval": "val",
    "evaluation": "val",
    "minival": "val",
    "test": "test",
    "testing": "test",
}


def split_in(name: str) -> str | None:
    """Find the split that a file or folder name mentions.

    Example:
        >>> split_in("instances_val2017"), split_in("minitest"), split_in("Training set")
        ('val', None, 'train')
    """
    words = re.findall(r"[a-z]+", name.lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)


def split_named(word: str) -> str | None:
    """Find the split that a word means, such as "val" for "Validation"; None if it has other parts or means none."""
    return _SPLIT_WORDS.get(word.casefold())


def undivided(samples: tuple[Sample, ...]) -> dict[str, tuple[Sample, ...]]:
    """Keep all samples as one split, for sources that name none."""
    return {UNDIVIDED: samples}


def missing_images(paths: Iterable[Path], listed_in: Path) -> list[Problem]:
    """Report each image that is listed in a file but not on disk."""
    return [Problem("missing image", str(listed_in), str(path), "image left out", lost=True) for path in paths]
