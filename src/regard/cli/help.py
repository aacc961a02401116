"""The help screens: one layout for all commands, of whole lines at any width, in the language of the user."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from gettext import gettext
from pathlib import Path
from typing import Any

from rich.text import Text

from regard.system.terminal import plain_console

WIDEST = 120
"""Columns from which on wider lines are harder to read."""
INDENT, GAP = "  ", "  "
NARROWEST = 32
"""Columns that descriptions have at least."""
HEADING, NAME, VALUE = "bold", "bold cyan", "yellow"
Row = tuple[Text, str]


def print_help(command: Any, context: Any) -> None:
    """Print the help of a command or group of commands on standard output.

    Args:
        command: typer's command.
        context: typer's context of it.
    """
    console = plain_console()
    width = min(console.width, WIDEST)
    for line in help_lines(command, context, width):
        line.rstrip()
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


def usage_text(command: Any, context: Any) -> str:
    """Write the line that shows how a command is called, with its arguments in capitals, such as ``MODEL``."""
    arguments = [_usage_of(p) for p in command.get_params(context) if p.param_type_name == "argument"]
    commands = getattr(command, "subcommand_metavar", "").replace("COMMAND [ARGS]", gettext("COMMAND [ARGS]"))
    words = [context.command_path, gettext("[OPTIONS]"), *arguments, *([commands] if commands else ())]
    return gettext("Usage: {0}").format(" ".join(words))


def help_lines(command: Any, context: Any, width: int) -> Iterator[Text]:
    """Compose the lines of a help screen, none of which is wider than ``width``."""
    yield from _wrapped(Text(usage_text(command, context)), width, INDENT)
    for paragraph in _paragraphs(command.help):
        yield Text()
        yield from (Text(INDENT) + line for line in _wrapped(Text(paragraph), width - len(INDENT)))
    for heading, rows in _sections(command, context).items():
        yield Text()
        yield Text(gettext("{0}:").format(heading), HEADING)
        yield from _table(rows, width)


def _sections(command: Any, context: Any) -> dict[str, list[Row]]:
    """List arguments, then commands by their panels, then options."""
    shown = [param for param in command.get_params(context) if not getattr(param, "hidden", False)]
    sections: dict[str, list[Row]] = {
        gettext("Arguments"): [
            (Text(_argument_name(p), NAME), p.help or "") for p in shown if p.param_type_name == "argument"
        ]
    }
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        child = command.get_command(context, name)
        if not child.hidden:
            panel = child.rich_help_panel if isinstance(child.rich_help_panel, str) else gettext("Commands")
            sections.setdefault(panel, []).append((Text(name, NAME), next(iter(_paragraphs(child.help)), "")))
    options = [p for p in shown if p.param_type_name != "argument"]
    sections[gettext("Options")] = [(_option_name(p, context), _option_help(p, context)) for p in options]
    return {heading: rows for heading, rows in sections.items() if rows}


def _argument_name(param: Any) -> str:
    return f"{param.metavar}..." if param.nargs != 1 else str(param.metavar)


def _usage_of(param: Any) -> str:
    name = param.metavar if param.required else f"[{param.metavar}]"
    return f"{name}..." if param.nargs != 1 else str(name)


def _option_name(param: Any, context: Any) -> Text:
    names = ", ".join(sorted(param.opts, key=lambda flag: flag.startswith("--")))
    spelled = Text(" / ".join([names, *param.secondary_opts]), NAME)
    return spelled if param.is_flag else spelled + Text(f" {param.metavar or _value(param, context)}", VALUE)


def _value(param: Any, context: Any) -> str:
    """Describe the value of an option: its choices, or a word for its type, which each version of typer names."""
    if hasattr(param, "display_type"):
        kind = str(param.display_type(context)).strip("<>").removeprefix("list[").removesuffix("]")
    else:
        kind = "|".join(getattr(param.type, "choices", ())) or str(param.type.name)
    words = {
        "int": gettext("INTEGER"),
        "integer": gettext("INTEGER"),
        "float": gettext("NUMBER"),
        "path": gettext("PATH"),
        "str": gettext("TEXT"),
        "text": gettext("TEXT"),
    }
    return words.get(kind.removesuffix(" range"), kind)


def _option_help(param: Any, context: Any) -> str:
    """Describe an option with the values that it accepts and its default, as `from_settings.help_of` does."""
    facts = [gettext("required") if param.required else "", _bounds(param), _default(param, context)]
    inside = gettext("; ").join(filter(None, facts))
    text = " ".join((param.help or "").split())
    end = gettext("{0}.").format("")
    return gettext("{0} ({1}).").format(text.removesuffix(end), inside) if inside else text


def _bounds(param: Any) -> str:
    kind = param if hasattr(param, "display_type") else param.type  # of typer itself, or of click
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is None and high is None:
        return ""
    if high is None:
        return gettext("at least {0}").format(low)
    return gettext("at most {0}").format(high) if low is None else gettext("{0} to {1}").format(low, high)


def _default(param: Any, context: Any) -> str:
    if not getattr(param, "show_default", False):
        return ""
    default = param.get_default(context, call=False)
    if isinstance(default, bool):
        default = gettext("on") if default else ""
    shown = f"{default:g}" if isinstance(default, float) else str(default)
    is_stated = isinstance(default, str | int | float | Path) and shown != ""
    return gettext("default: {0}").format(shown) if is_stated else ""


def _paragraphs(text: str | None) -> list[str]:
    return [" ".join(part.split()) for part in inspect.cleandoc(text or "").split("\n\n") if part.strip()]


def _table(rows: list[Row], width: int) -> Iterator[Text]:
    """Write names and descriptions in two columns; a name that is too long has a line of its own."""
    longest = width // 3
    column = max((name.cell_len for name, _ in rows if name.cell_len <= longest), default=longest)
    start = len(INDENT) + column + len(GAP)
    if width - start < NARROWEST:  # there is no room for two columns
        start, column = 2 * len(INDENT), 0
    for name, text in rows:
        lines = _wrapped(Text(text), width - start)
        if name.cell_len <= column and lines:
            yield Text(INDENT) + name + Text(" " * (start - len(INDENT) - name.cell_len)) + lines.pop(0)
        else:
            yield from (Text(INDENT) + line for line in _wrapped(name, width - len(INDENT), INDENT))
        yield from (Text(" " * start) + line for line in lines)


def _wrapped(text: Text, width: int, indent: str = "") -> list[Text]:
    """Break a text into lines of at most ``width`` columns, of which all but the first begin with ``indent``."""
    console = plain_console()
    lines = list(text.wrap(console, width, overflow="fold"))
    if len(lines) > 1 and indent:
        rest = Text(text.plain[len(lines[0].plain) :].lstrip(), text.style)
        more = rest.wrap(console, width - len(indent), overflow="fold")
        return [lines[0], *(Text(indent) + line for line in more)]
    return lines
