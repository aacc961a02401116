"""The last resort of a program: one line for errors of the system that were not described where they occurred."""

from __future__ import annotations

import errno
import os
import re
import sys
from contextlib import suppress
from typing import NamedTuple

from regard.errors import first_line
from regard.system.terminal import printable

BAD_INPUT, FAILED, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141
"""Exit codes: an error that the user can correct, an error of the system, Ctrl-C, and a closed pipe (``head``)."""

_OUT_OF_MEMORY = re.compile(
    r"can.t allocate memory|not enough memory|out of memory|std::bad_alloc|Cannot allocate memory|"
    r"Insufficient memory|Failed to allocate",
    re.IGNORECASE,
)
_KILLED = re.compile(r"worker.*(killed|exited unexpectedly)|terminated with (signal|exit code)", re.IGNORECASE)


class LastWord(NamedTuple):
    """Message and exit code of a program that cannot continue; nothing is printed for an empty text."""

    text: str
    code: int


def last_word(error: BaseException) -> LastWord | None:
    """Describe an error of the system in one line: memory, disk, rights, encodings, signals, pipes, killed workers.

    None for everything else: that is a fault of the program, for which a traceback is right.

    Example:
        >>> last_word(MemoryError())
        LastWord(text='out of memory', code=1)
        >>> last_word(ValueError("a fault of ours")) is None
        True
    """
    first = printable(first_line(error))
    if isinstance(error, KeyboardInterrupt):
        return LastWord("stopped", INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        return LastWord("", BROKEN_PIPE)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _OUT_OF_MEMORY.search(first):
        detail = "" if first == "MemoryError" else f": {first}"
        return LastWord(f"out of memory{detail}", FAILED)
    if isinstance(error, OSError):
        return LastWord(describe_os_error(error), FAILED)
    if isinstance(error, UnicodeError):
        return LastWord(f"text cannot be encoded or decoded: {first}", FAILED)
    if _KILLED.search(first) or type(error).__name__ in ("BrokenProcessPool", "ProcessExitedException"):
        return LastWord(f"a worker process was killed: {first}", FAILED)
    return None


def passing_cause(error: BaseException) -> BaseException | None:
    """Find what came from the system, so that it may not come again: an error itself, or one that caused it.

    Example:
        >>> passing_cause(MemoryError()), passing_cause(ValueError("no such operator"))
        (MemoryError(), None)
    """
    cause: BaseException | None = error
    while cause is not None and not last_word(cause):
        cause = cause.__cause__
    return cause


def describe_os_error(error: OSError) -> str:
    """Describe an error of the operating system, with the file concerned.

    Example:
        >>> describe_os_error(OSError(errno.ENOSPC, "No space left on device", "runs/train"))
        'runs/train: No space left on device'
    """
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.EMFILE:
        reason += " (a limit of this process: see `ulimit -n`)"
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return printable(": ".join([" -> ".join(names), reason] if names else [reason]))


def flush_output() -> str:
    """Write what is left of standard output and error; what cannot be written is dropped, so that nothing fails later.

    Returns:
        why it could not be written; empty where it was, or where the reader, such as ``head``, has had enough.
    """
    reason = ""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError) as error:
            if not isinstance(error, BrokenPipeError):
                reason = getattr(error, "strerror", None) or str(error)
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return reason
