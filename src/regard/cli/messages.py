"""How the command line shows log messages and warnings."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import TextIO

from regard.errors import RegardDeprecationWarning, RegardError, RegardWarning, nearest, one_of
from regard.system.terminal import printable
from regard.system.translation import translate, translate_lines

LEVEL_VARIABLE = "REGARD_LOG"
"""Environment variable with the lowest level of the messages that are shown."""
LEVELS = ("debug", "info", "warning", "error", "critical")


def show_messages() -> None:
    """Print the messages of the logger "regard" and the project's warnings on standard error.

    Raises:
        RegardError: ``REGARD_LOG`` names no level.
    """
    warnings.showwarning = _show_warning
    warnings.simplefilter("default", RegardDeprecationWarning)
    level = os.environ.get(LEVEL_VARIABLE, "info").lower()
    if level not in LEVELS:
        raise RegardError(f"{LEVEL_VARIABLE} is {level!r}", expected=one_of(LEVELS), hint=nearest(level, LEVELS))
    logger = logging.getLogger("regard")
    logger.setLevel(level.upper())
    if not any(isinstance(handler, _Handler) for handler in logger.handlers):
        logger.addHandler(_Handler())


class _Handler(logging.Handler):
    """Prints messages with rich, which keeps them above a progress bar; those of level "info" without their level."""

    def __reduce__(self) -> tuple[type[_Handler], tuple[()]]:
        return _Handler, ()  # for processes that training spawns

    def emit(self, record: logging.LogRecord) -> None:
        from regard.system.terminal import plain_console  # not needed for a command that logs nothing

        console = plain_console(stderr=True, soft_wrap=True)
        text = translate_lines(self.format(record))
        if record.levelno != logging.INFO:
            level = record.levelname.lower()
            text = translate(level + ": {0}").replace("{0}", text)
        console.print(text, markup=False, highlight=False)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print the project's own warnings as plain lines, and others as Python does."""
    if issubclass(category, RegardWarning | RegardDeprecationWarning):
        print(printable(translate("warning: {0}").replace("{0}", translate_lines(str(message)))), file=sys.stderr)
    else:
        print(
            printable(warnings.formatwarning(message, category, filename, lineno, line)),
            file=file or sys.stderr,
            end="",
        )
