"""Forged checkpoints."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Forge = Callable[..., Path]


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """Write a torch zip whose pickle and other members are the bytes given."""

    def write(pickle: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
        path = tmp_path / "forged.pt"
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", pickle)
            for name, data in members.items():
                archive.writestr(f"archive/{name.replace('__', '/')}", data)
            archive.writestr("archive/version", b"3\n")
        return path

    return write
