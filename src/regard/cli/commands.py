"""Commands and groups of commands whose help and errors are in the language of the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from gettext import gettext
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from regard.system.translation import translate

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What typer raises for a wrong command line; it comes from another package in each version of typer."""


class _Translated:
    """What commands and groups have in common; typer's class is the other base."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _translate_help(self)

    def get_params(self, ctx: Any) -> list[Any]:
        """Translate the help of the options where typer asks for them, and write the names of arguments in capitals."""
        params = [_translate_help(param) for param in super().get_params(ctx)]  # type: ignore[misc]
        for param in params:
            if param.param_type_name == "argument" and param.metavar is None:
                param.metavar = param.name.upper()
        return params

    def get_usage(self, ctx: Any) -> str:
        """Write the line that errors about the command line show, too."""
        from regard.cli.help import usage_text

        return usage_text(self, ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Print the help itself, in the layout of all commands, as typer does in its own."""
        from regard.cli.help import print_help

        print_help(self, ctx)


class Command(_Translated, TyperCommand):
    """A command."""


class Group(_Translated, TyperGroup):
    """A group of commands."""


def _translate_help(shown: Any) -> Any:
    """Translate the help of a command or option where it is shown, not where it is written."""
    for name in ("help", "rich_help_panel"):
        if isinstance(text := getattr(shown, name, None), str) and text:
            setattr(shown, name, gettext(text))
    return shown


@contextmanager
def translated_errors() -> Iterator[None]:
    """Let errors about the command line write their message in the language of the user."""
    try:
        yield
    except UsageError as error:
        if message := _fault_of(error.__cause__):
            error.message = message  # type: ignore[attr-defined]
        text: str = error.format_message()  # type: ignore[attr-defined]
        error.format_message = lambda: translate(text)  # type: ignore[attr-defined]
        raise


def _fault_of(cause: BaseException | None) -> str:
    """Show a value and what was expected, where pydantic found the error; its own message lacks the value."""
    from pydantic import ValidationError  # slow, and needed after an error only

    from regard.config.faults import expected

    if not isinstance(cause, ValidationError):
        return ""
    fault = cause.errors(include_url=False)[0]
    if fault["type"] in ("value_error", "assertion_error"):  # typer's, which shows the value
        return ""
    return f"{fault['input']!r}; expected: {wanted}" if (wanted := expected(fault)) else ""
