"""Commands and groups of commands whose help and errors are in the language of the user."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from gettext import gettext
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from regard.system.translation import translate

LEGIBLE = 110
"""Columns of a terminal from which on options and their descriptions fit beside each other."""
WIDE = re.compile("[\u2e80-\uffef]")
"""Characters that take two columns."""
FILLER = "\u2060"
"""What follows them while lines are broken by the number of characters."""
UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What typer raises for a wrong command line; it comes from another package in each version of typer."""


class _Translated:
    """What commands and groups have in common; typer's class is the other base."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _translate_help(self)

    def get_params(self, ctx: Any) -> list[Any]:
        """Translate the help of the options where typer asks for them."""
        return [_translate_help(param) for param in super().get_params(ctx)]  # type: ignore[misc]

    def get_usage(self, ctx: Any) -> str:
        """Translate the first word of the line."""
        return _usage(super().get_usage(ctx))  # type: ignore[misc]


class Command(_Translated, TyperCommand):
    """A command whose help is a table only where it is legible: a narrow one has three words per line."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help as a table, or as plain text on a narrow terminal."""
        if shutil.get_terminal_size().columns < LEGIBLE:
            self.rich_markup_mode = None
            for shown in (self, *self.get_params(ctx)):
                if help := getattr(shown, "help", None):
                    shown.help = WIDE.sub(rf"\g<0>{FILLER}", help.replace("\\[", "["))
        super().format_help(ctx, formatter)
        formatter.buffer = [_usage(text.replace(FILLER, "")) for text in formatter.buffer]


class Group(_Translated, TyperGroup):
    """A group of commands."""


def _translate_help(shown: Any) -> Any:
    """Translate the help of a command or option where it is shown, not where it is written."""
    for name in ("help", "rich_help_panel"):
        if isinstance(text := getattr(shown, name, None), str) and text:
            setattr(shown, name, gettext(text))
    return shown


def _usage(line: str) -> str:
    return line.replace("Usage: ", gettext("Usage:") + " ", 1)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Let errors about the command line write their message in the language of the user."""
    try:
        yield
    except UsageError as error:
        text: str = error.format_message()  # type: ignore[attr-defined]
        error.format_message = lambda: translate(text)  # type: ignore[attr-defined]
        raise
