"""Files written beside their place and renamed into it: a killed process leaves the old file or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from regard.errors import RegardError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside ``path`` that takes its place when the block ends without an error.

    Raises:
        RegardError: the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise RegardError(f"cannot write the file: {error.strerror or error}", file=path) from error
    finally:
        with suppress(OSError):  # it is in place, was never made, or lies where nothing can
            beside.unlink()
