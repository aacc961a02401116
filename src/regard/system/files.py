"""Files that are written whole or not at all, locks, and folders and names for results."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from regard.errors import RegardError

RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {p + i for p in ("com", "lpt") for i in "123456789¹²³"}
"""Names that Windows reserves for devices, with any suffix."""

FORBIDDEN = '<>:"/\\|?*#%'
"""Characters that a file name cannot hold on Windows, or that change the meaning of an address in a browser."""


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file in the folder of ``path`` and rename it to ``path`` when the block ends without an error.

    A process that is killed leaves the old file or the new one, never a part.

    Raises:
        RegardError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "notes.txt"
        >>> with atomic_write(path) as file:
        ...     _ = file.write(b"whole")
        >>> path.read_text()
        'whole'
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RegardError(f"cannot write the file: {error.strerror or error}", file=path) from error
    finally:
        with suppress(OSError):  # renamed, never created, or in a folder that cannot be written
            temporary.unlink()


def is_file(path: str | Path) -> bool:
    """Check for a file without raising an error for names that no file system accepts, such as 5000 letters."""
    return os.path.isfile(path)


def is_folder(path: str | Path) -> bool:
    """Check for a folder as `is_file` checks for a file."""
    return os.path.isdir(path)


def is_there(path: str | Path) -> bool:
    """Check for a file or a folder as `is_file` checks for a file."""
    return os.path.exists(path)


def increment_path(parent: Path, name: str) -> Path:
    """Find a free folder: ``parent / name``, or the first of ``name-2``, ``name-3``, ... that does not exist.

    Example:
        >>> increment_path(Path("no-such-folder"), "train").name
        'train'
    """
    path, k = parent / name, 2
    while path.exists():
        path, k = parent / f"{name}-{k}", k + 1
    return path


def portable_name(name: str) -> str:
    """Make a file name that every system accepts, by replacing what Windows does not allow with ``_``.

    Example:
        >>> portable_name("video.mp4#17"), portable_name("con.txt"), portable_name("a:b? ")
        ('video.mp4_17', '_con.txt', 'a_b_')
    """
    made = "".join("_" if character in FORBIDDEN or ord(character) < 32 else character for character in name)
    made = made.rstrip(" .") or "_"
    return f"_{made}" if made.split(".")[0].rstrip(" ").lower() in RESERVED else made


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock on the file ``path`` until the block ends; the system releases it when the process ends.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the file cannot be created.
    """
    from filelock import FileLock, Timeout  # it takes 40 ms, which a process that only predicts need not wait for

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BlockingIOError(f"{path} is locked by another process") from error
    try:
        yield
    finally:
        lock.release()
