"""Temporary names that no other process can guess and that say who owns them, so that those of the dead are removed.

A name holds the machine, the process and the time: its owner is dead where no process of that number was there by then.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path

from regard.system.locks import exclusive

PREFIX = ".regard-"
"""Start of the names of all temporary files, folders and locks that a killed process may leave."""
LOCK_SUFFIX = ".lock"
CLOCK_SECONDS = 60
"""Largest difference of two readings of the clock that is put down to its correction."""
FOREIGN_SECONDS = 24 * 3600
"""Age from which the files of another machine, whose processes cannot be seen, are those of a dead one."""

_NAME = re.compile(re.escape(PREFIX) + r"([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{16}\.tmp")


def scratch_path(folder: Path) -> Path:
    """Make up a name in ``folder`` for a temporary file, which is to be opened with mode "x"; nothing is made yet.

    The first call for a folder also removes what dead processes left in it.
    """
    _sweep_once(os.getpid(), os.path.abspath(folder))
    return folder / f"{PREFIX}{machine()}-{os.getpid()}-{int(time.time())}-{secrets.token_hex(8)}.tmp"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Make a temporary folder that only this user can enter; it is removed when the block ends.

    Raises:
        OSError: it cannot be made.

    Example:
        >>> import tempfile
        >>> with scratch_folder(Path(tempfile.mkdtemp())) as folder:
        ...     folder.is_dir()
        True
        >>> folder.exists()
        False
    """
    path = scratch_path(parent)
    path.mkdir(0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def plain_path(path: Path) -> Iterator[Path]:
    """Give a path of plain letters to the same file, by a link where its own has others.

    FFmpeg takes some names for protocols, patterns and numbers; OpenCV's bindings crash on those that are not UTF-8.
    """
    if os.name != "posix" or re.fullmatch(r"[\w./ -]+", str(path), re.ASCII):
        yield path
        return
    with scratch_folder(Path(tempfile.gettempdir())) as folder:
        link = folder / f"file{path.suffix.lower() if path.suffix.isascii() else ''}"
        link.symlink_to(path.absolute())
        yield link


def sweep(folder: Path, *, deep: bool = False) -> None:
    """Remove the temporary files and folders of dead processes of this user from a folder, or also from those in it."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.name.startswith(".") and _is_left(entry):
                    _remove(Path(entry.path))
                elif deep and entry.is_dir(follow_symlinks=False):
                    sweep(Path(entry.path), deep=True)


def is_scratch(name: str) -> bool:
    """Whether a name is that of a temporary file or folder of this package."""
    return _NAME.fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _sweep_once(pid: int, folder: str) -> None:  # noqa: ARG001 - a forked process sweeps by itself
    sweep(Path(folder))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif path.suffix == LOCK_SUFFIX:
        with suppress(BlockingIOError), exclusive(path):  # removes it
            pass
    else:
        path.unlink()


def _is_left(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is that of a dead process of this user; a lock says so itself when it is taken."""
    name = _NAME.fullmatch(entry.name)
    is_lock = entry.name.startswith(PREFIX) and entry.name.endswith(LOCK_SUFFIX)
    if not (name or is_lock):
        return False
    facts = entry.stat(follow_symlinks=False)
    if hasattr(os, "geteuid") and facts.st_uid != os.geteuid():
        return False
    if is_lock:
        return True
    if name is None or name[1] != machine():
        return time.time() - facts.st_mtime > FOREIGN_SECONDS
    return _is_dead(int(name[2]), int(name[3]))


def _is_dead(pid: int, seen: int) -> bool:
    """Whether the process that had this number at the time ``seen`` has ended."""
    import psutil  # it takes 15 ms, and is needed only where something was left

    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE or process.create_time() > seen + CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


@cache
def machine() -> str:
    """Hash of the machine or container in which the numbers of processes are unique."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:8]
