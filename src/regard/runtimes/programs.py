"""Exported files that are programs, which run while they are opened: which of them regard wrote for this user.

A hash inside a file proves nothing against the one who writes the file. So the SHA-256 of each such file that is
written is kept in the user's cache folder, as the name of an empty file, which is whole or not there.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from regard.errors import RegardError, warn
from regard.system.home import cache_folder
from regard.system.loaders import read_bytes

MOST_BYTES = 4 * 2**30
"""Largest program that is opened."""
MOST_RECORDS = 1000
"""Number of programs that are remembered; those that were not opened for the longest time are forgotten."""
FOLDER = "written"


def record(content: bytes, path: Path) -> None:
    """Remember that regard wrote a file with this content; ``path`` is for the warning if that cannot be kept."""
    try:
        folder = cache_folder() / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / hashlib.sha256(content).hexdigest()).touch(mode=0o600)
        if not _is_private(folder):
            raise PermissionError(0, f"other users can write into {folder}")
        _forget_oldest(folder)
    except OSError as error:
        warn(
            f"{path}: opening it will take --trust (in Python: trust=True), as it cannot be recorded: "
            f"{error.strerror or error}"
        )


def read_program(path: Path, kind: str, *, trust: bool) -> bytes:
    """Read a file that is a program, if it may be opened; to be opened from memory, where nobody exchanges it.

    Args:
        path: the file.
        kind: of the file, for messages, such as "TorchScript".
        trust: whether the user trusts the file.

    Raises:
        RegardError: it cannot be read, or this user's regard did not write it and the user does not trust it.
    """
    content = read_bytes(path, MOST_BYTES)
    if not trust and not _is_recorded(content):
        raise RegardError(
            f"a {kind} file is a program that runs while it is opened, and this one is not known",
            file=path,
            expected="a file that `regard export` wrote for you on this machine",
            hint="if you trust the one who made it: --trust (in Python: trust=True)",
        )
    return content


def _is_recorded(content: bytes) -> bool:
    try:
        folder = cache_folder() / FOLDER
        entry = folder / hashlib.sha256(content).hexdigest()
        state = entry.lstat()
        found = _is_private(folder) and _is_own(state) and stat.S_ISREG(state.st_mode)
    except OSError:
        return False
    with suppress(OSError):  # a read-only cache works too
        os.utime(entry)
    return found


def _is_private(folder: Path) -> bool:
    """Whether only this user can have written into the folder."""
    state = folder.lstat()
    return stat.S_ISDIR(state.st_mode) and _is_own(state)


def _is_own(state: os.stat_result) -> bool:
    if not hasattr(os, "getuid"):  # Windows: the folder lies in the user's profile
        return True
    return state.st_uid == os.getuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _forget_oldest(folder: Path) -> None:
    entries = [(entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(folder)]
    for _, entry in sorted(entries)[:-MOST_RECORDS]:
        with suppress(OSError):  # another process has removed it
            os.unlink(entry)
