"""Folders for results."""

from __future__ import annotations

from pathlib import Path


def next_folder(parent: Path, name: str) -> Path:
    """Return ``parent / name``, or the first of ``name-2``, ``name-3``, ... that does not exist."""
    path, k = parent / name, 2
    while path.exists():
        path, k = parent / f"{name}-{k}", k + 1
    return path
