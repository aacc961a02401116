"""The files that a data set names: reading text with its fault placed, and looking whether something is there."""

from __future__ import annotations

from pathlib import Path

from regard.errors import RegardError


def read_text(file: Path) -> str:
    """Return the text of a UTF-8 file, without the mark that some editors put before it.

    Raises:
        RegardError: it cannot be read or is no UTF-8; the line is named.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RegardError(f"cannot be read: {error.strerror or error}", file=file) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RegardError(
            f"cannot be read: {content[error.start : error.start + 1]!r} is no UTF-8",
            file=file,
            line=content.count(b"\n", 0, error.start) + 1,
            expected="a text file saved as UTF-8",
        ) from error


def is_file(path: Path) -> bool:
    """Whether ``path`` is a file; False also for what can be no path, such as a name of 5000 letters."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
