"""The folder of compiled models: entries are written whole or not at all, and the least recently used are removed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from pydantic import Field, ValidationError

from regard import __version__
from regard.config import Settings
from regard.errors import RegardError
from regard.runtimes.base import Runtime, file_digest
from regard.runtimes.header import FORMAT_VERSION
from regard.system.files import write_file
from regard.system.home import cache_folder
from regard.system.scratch import is_scratch, scratch_folder, scratch_path, sweep

LIMIT_VARIABLE = "REGARD_CACHE_MB"
DEFAULT_MEGABYTES = 2000
FACTS = "entry.json"
COMPILED = "compiled"
"""Folder in an entry where the runtime keeps what it compiled for this processor and for its own version."""
MAX_COMPILED = 4
"""Number of compiled models that are kept in an entry."""


class Entry(Settings):
    """An exported model in the cache."""

    made_from: str
    digests: dict[str, str] = Field(description="SHA-256 of each file")
    relative_deviation: float = Field(description="largest relative difference from PyTorch, measured when made")
    imgsz: int = Field(ge=1, description="side of the image, in pixels, for which the next is counted")
    mixing_flops: int = Field(ge=0, description="of attention over pairs of positions")

    def mixing_flops_at(self, imgsz: int) -> float:
        """FLOPs of attention over pairs of positions at another size, taken to grow with the square of their number."""
        return self.mixing_flops * (imgsz / self.imgsz) ** 4


def size_limit() -> int:
    """Largest size of the cache in bytes: ``$REGARD_CACHE_MB`` megabytes, or 2,000."""
    asked = os.environ.get(LIMIT_VARIABLE, "")
    return (int(asked) if asked.isdigit() else DEFAULT_MEGABYTES) * 1_000_000


def key_of(weights: Path, runtime: Runtime, *, one_to_one: bool = False) -> str:
    """Name of the entry for a weights file: its content (weights and graph), the format, what writes it; the branch."""
    converters = [version(package) for package in ("torch", *runtime.converters)]
    facts = [__version__, FORMAT_VERSION, runtime.format, *converters, *["one-to-one"] * one_to_one]
    digest = hashlib.sha256(json.dumps(facts).encode())
    digest.update(file_digest(weights).encode())
    return digest.hexdigest()[:32]


class UnusableEntryError(Exception):
    """There is an entry without a compiled model: it is damaged, or compiling failed before."""


def model_file(folder: Path, runtime: Runtime) -> Path:
    """The main file in the folder of an entry."""
    return folder / f"model{runtime.suffixes[0]}"


def look_up(key: str) -> tuple[Path, Entry] | None:
    """Find the folder and facts of an entry, and mark it as used; None where there is none.

    Raises:
        UnusableEntryError: compiling failed before; or the entry is damaged, and then it is removed, so that the next
            run makes it again.
    """
    folder = cache_folder() / key
    if (failure := _failure_file(key)).is_file():
        raise UnusableEntryError(failure.read_text(encoding="utf-8", errors="replace"))
    if not folder.is_dir():
        return None
    try:
        entry = Entry.model_validate_json((folder / FACTS).read_bytes())
        if any(file_digest(folder / name) != digest for name, digest in entry.digests.items()):
            raise ValueError("the model differs from what was written")
    except (OSError, ValidationError, ValueError) as error:
        drop(key)
        raise UnusableEntryError(f"its entry in the cache is damaged: {str(error).splitlines()[0]}") from error
    with suppress(OSError):  # a read-only cache works too
        os.utime(folder)
    return folder, entry


def drop(key: str) -> None:
    """Remove an entry, if it can be."""
    _remove(cache_folder() / key)


def _remove(entry: Path) -> None:
    """Remove a folder; if the process is killed meanwhile, the next one finds the rest under a temporary name."""
    with suppress(OSError):
        entry = entry.rename(scratch_path(entry.parent))
    shutil.rmtree(entry, ignore_errors=True)


def record_failure(key: str, reason: str) -> None:
    """Remember that a detector cannot be compiled, so that not every run tries again."""
    with suppress(OSError, RegardError):
        write_file(_failure_file(key), reason)


def _failure_file(key: str) -> Path:
    return cache_folder() / f"{key}.failed.txt"


def store(key: str, write: Callable[[Path], None]) -> Path:
    """Write an entry into a temporary folder and rename it when it is complete; then make room.

    Args:
        key: its name.
        write: fills the folder it is given.

    Raises:
        OSError: the cache cannot be written.
    """
    parent = cache_folder()
    parent.mkdir(parents=True, exist_ok=True)
    target = parent / key
    sweep(parent)
    with scratch_folder(parent) as scratch:
        made = scratch / "entry"
        made.mkdir()
        write(made)
        try:
            made.rename(target)
        except OSError:
            if not (target / FACTS).is_file():  # else another process was first
                raise
    make_room(parent, size_limit(), keep=key)
    return target


def compiled_files(entry: Path) -> list[Path]:
    """Compiled models of an entry, the oldest first."""
    files = [file for file in (entry / COMPILED).glob("*") if file.is_file()]
    return sorted(files, key=lambda file: file.stat().st_mtime_ns)


def bound(entry: Path) -> None:
    """Keep the newest compiled models of an entry that a runtime has just added to, and make room in the cache."""
    for file in compiled_files(entry)[:-MAX_COMPILED]:
        with suppress(OSError):  # another process has removed it
            file.unlink()
    make_room(entry.parent, size_limit(), keep=entry.name)


def make_room(parent: Path, limit: int, keep: str) -> None:
    """Remove the least recently used entries until ``limit`` bytes are not exceeded; ``keep`` stays in any case."""
    sweep(parent, deep=True)
    entries = [e for e in parent.iterdir() if not e.name.startswith(".") and (e / FACTS).is_file()]
    sizes = {e: _bytes_in(e) for e in entries}
    total = sum(sizes.values()) + sum(_bytes_in(e) for e in parent.iterdir() if is_scratch(e.name))
    for entry in sorted(entries, key=lambda e: e.stat().st_mtime):
        if total <= limit:
            return
        if entry.name != keep:
            _remove(entry)
            total -= sizes[entry]


def _bytes_in(folder: Path) -> int:
    """Size of all files in a folder, from which other processes may remove some meanwhile."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
