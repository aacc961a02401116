"""The folder of prepared detectors: written whole or not at all, bounded in size, the least recently used go first."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from pydantic import Field, ValidationError

from regard.config import Settings

FOLDER_VARIABLE = "REGARD_CACHE"
LIMIT_VARIABLE = "REGARD_CACHE_MB"
DEFAULT_MEGABYTES = 2000
MODEL, HEADER = "model.onnx", "header.json"
ORT_FORMS, OPENVINO_FORMS = "onnxruntime", "openvino"
"""Folders in an entry where the model is kept as each runtime compiled it, for this processor and its own version."""
MOST_FORMS = 4
"""So many of them are kept in each folder."""

INPUT_FORM = "uint8 NCHW RGB, raw levels, 2"
"""What goes in and comes out of a prepared model; another form makes another entry."""

SIDE = 20
"""Of the image at which costs are noted, in largest strides: 640 pixels for most detectors."""

PACKAGES = ("regard", "torch", "onnx", "onnxscript")
"""Their versions decide what the conversion writes."""


class PreparedHeader(Settings):
    """What a prepared model says about itself."""

    names: dict[int, str] = Field(description="class id to name")
    max_stride: int = Field(ge=1, description="the sides of an input are multiples of this, in pixels")
    strides: tuple[int, ...] = Field(description="input pixels per cell of each level")
    anchors: tuple[tuple[tuple[float, float], ...], ...] = Field(description="(levels, A): width, height in strides")
    digest: str = Field(description="SHA-256 of the model file")
    relative_deviation: float = Field(description="largest relative difference from PyTorch, measured when made")
    made_from: str
    mixing_flops: int = Field(ge=0, description="of attention over pairs of positions, at a side of SIDE strides")

    def mixing_flops_at(self, imgsz: int) -> float:
        """Return the FLOPs of attention over pairs of positions at another size, taken to grow with their square."""
        return self.mixing_flops * (imgsz / (SIDE * self.max_stride)) ** 4


def cache_folder() -> Path:
    """Return where prepared detectors are kept: ``$REGARD_CACHE``, else ``regard`` in the user's cache folder."""
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(own).expanduser()
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "regard"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "regard" / "cache"
    return Path.home() / ".cache" / "regard"


def size_limit() -> int:
    """Return how many bytes the cache may hold: ``$REGARD_CACHE_MB`` megabytes, or 2,000."""
    asked = os.environ.get(LIMIT_VARIABLE, "")
    return (int(asked) if asked.isdigit() else DEFAULT_MEGABYTES) * 1_000_000


def key_of(weights: Path) -> str:
    """Return the name of the entry for a weights file: its content (weights and graph), versions, form of the input."""
    digest = hashlib.sha256(json.dumps([INPUT_FORM, *map(version, PACKAGES)]).encode())
    digest.update(digest_of(weights).encode())
    return digest.hexdigest()[:32]


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class UnusableEntryError(Exception):
    """There is an entry, but no prepared detector in it: it is damaged, or preparing it failed before."""


def look_up(key: str) -> tuple[Path, PreparedHeader] | None:
    """Return an entry's folder and header, and mark it as used; None where there is none.

    Raises:
        UnusableEntryError: preparing failed before; or the entry is damaged, and then it is removed, so that the next
            run makes it anew.
    """
    folder = cache_folder() / key
    if (refused := _refusal(key)).is_file():
        raise UnusableEntryError(refused.read_text(errors="replace"))
    if not folder.is_dir():
        return None
    try:
        header = PreparedHeader.model_validate_json((folder / HEADER).read_bytes())
        if digest_of(folder / MODEL) != header.digest:
            raise ValueError("the model differs from what was written")
    except (OSError, ValidationError, ValueError) as error:
        drop(key)
        raise UnusableEntryError(f"its entry in the cache is damaged: {str(error).splitlines()[0]}") from error
    with suppress(OSError):  # a cache that is only read is as good
        os.utime(folder)
    return folder, header


def drop(key: str) -> None:
    """Remove an entry, if it can be."""
    shutil.rmtree(cache_folder() / key, ignore_errors=True)


def refuse(key: str, reason: str) -> None:
    """Remember that a detector cannot be prepared, so that not every run tries again."""
    with suppress(OSError):
        _refusal(key).write_text(reason)


def _refusal(key: str) -> Path:
    return cache_folder() / f"{key}.refused.txt"


def store(key: str, write: Callable[[Path], None]) -> Path:
    """Make an entry whole: in a folder beside, renamed when it is finished; then make room.

    Args:
        key: its name.
        write: fills the folder it is given.

    Raises:
        OSError: the cache cannot be written.
    """
    parent = cache_folder()
    parent.mkdir(parents=True, exist_ok=True)
    target = parent / key
    with tempfile.TemporaryDirectory(prefix=".making-", dir=parent) as scratch:
        made = Path(scratch) / "entry"
        made.mkdir()
        write(made)
        try:
            made.rename(target)
        except OSError:
            if not (target / HEADER).is_file():  # else another process was first
                raise
    make_room(parent, size_limit(), keep=key)
    return target


def compiled_forms(entry: Path) -> list[Path]:
    """Return the compiled models of an entry, the oldest first."""
    files = [file for name in (ORT_FORMS, OPENVINO_FORMS) for file in (entry / name).glob("*") if file.is_file()]
    return sorted(files, key=lambda file: file.stat().st_mtime_ns)


def bound(entry: Path) -> None:
    """Keep the newest compiled models of an entry that a runtime has just added to, and make room in the cache."""
    forms = compiled_forms(entry)
    for name in (ORT_FORMS, OPENVINO_FORMS):
        for file in [file for file in forms if file.parent.name == name][:-MOST_FORMS]:
            with suppress(OSError):  # another process has removed it
                file.unlink()
    make_room(entry.parent, size_limit(), keep=entry.name)


def make_room(parent: Path, limit: int, keep: str) -> None:
    """Remove the least recently used entries until ``limit`` bytes are not exceeded; ``keep`` stays in any case."""
    entries = [e for e in parent.iterdir() if e.is_dir() and not e.name.startswith(".") and (e / HEADER).is_file()]
    sizes = {e: sum(f.stat().st_size for f in e.rglob("*") if f.is_file()) for e in entries}
    total = sum(sizes.values())
    for entry in sorted(entries, key=lambda e: e.stat().st_mtime):
        if total <= limit:
            return
        if entry.name != keep:
            shutil.rmtree(entry, ignore_errors=True)
            total -= sizes[entry]
