"""Locks between processes, which the system releases when a process ends, however that ends."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".regard-lock"
"""File that is locked while a command works in a folder; a killed command leaves it."""


@contextmanager
def exclusive(path: Path, *, seconds: float = 0) -> Iterator[None]:
    """Hold a lock on the file ``path`` until the block ends; the system releases it when the process ends.

    The file is removed at the end. Where the file system has no locks, nothing is locked.

    Args:
        path: the file.
        seconds: how long to wait for another process that holds the lock.

    Raises:
        BlockingIOError: another process holds it, for all of that time.
        OSError: the file cannot be created.
    """
    from filelock import FileLock, Timeout  # it takes 40 ms, which a process that only predicts need not wait for

    lock = FileLock(path)
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise BlockingIOError(f"{path} is locked by another process") from error
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it only when it is released
            path.unlink()
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock on the file ``path``; the file is left as it is."""
    from filelock import FileLock, Timeout

    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except (NotImplementedError, OSError):  # no locks here, or no right to it
        return False
