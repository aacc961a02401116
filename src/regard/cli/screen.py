"""What commands print for people, in their language: headings, captions and lines, but no cells, which are data."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from regard.system.plain_table import is_verbatim
from regard.system.terminal import plain_console, plain_text
from regard.system.translation import translate_lines

FULL_WIDTH = ("：", "，", "；", "。", "（", "）", "、")
"""Marks after which Chinese has no blank."""


def show(value: Any, *, wide: int = 0, plain: int = 160, **options: Any) -> None:
    """Print a report with rich in a terminal of at least ``wide`` columns, else as plain text of ``plain`` columns.

    Args:
        value: a report, table or text.
        wide: columns that it needs.
        plain: columns where they are fewer.
        options: those of ``rich.console.Console.print``.
    """
    console, shown = plain_console(), localized(value)
    if console.width >= wide:
        console.print(shown, **options)
    else:
        print(plain_text(shown, plain))


def localized(value: Any) -> RenderableType:
    """Translate the texts of what rich prints."""
    if isinstance(value, str):
        return translate_lines(value)
    if isinstance(value, Text):
        ends = sorted({end for span in value.spans for end in (span.start, span.end)})
        whole = Text("", value.style, overflow=value.overflow)
        for part in value.divide(ends):
            if part.plain.strip(" ") or not whole.plain.endswith(FULL_WIDTH):  # these marks contain the blank
                style = part.spans[0].style if part.spans else ""
                whole.append(part.plain if is_verbatim(style) else translate_lines(part.plain), style)
        return whole
    if isinstance(value, Table):
        for column in value.columns:
            column.header = localized(column.header)
        value.title, value.caption = (localized(text) if text else text for text in (value.title, value.caption))  # type: ignore[assignment]
        return value
    if isinstance(value, Group):
        return Group(*map(localized, value.renderables))
    if hasattr(value, "__rich__"):
        return localized(value.__rich__())
    if hasattr(value, "__rich_console__"):
        console = plain_console()
        return Group(*map(localized, value.__rich_console__(console, console.options)))
    return value
