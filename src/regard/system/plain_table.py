"""Tables whose texts every rich console shows as they are: class names and paths are no markup."""

from __future__ import annotations

from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.style import Style
from rich.table import Table
from rich.text import Text

from regard.system.terminal import printable

_VERBATIM = "verbatim"
"""Key in the style of a part of a line that is not translated."""


class PlainTable(Table):
    """A table in whose texts square brackets, emoji codes and control characters mean nothing."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the table."""
        self._make_plain()
        yield from super().__rich_console__(console, options)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Measure the table."""
        self._make_plain()
        return super().__rich_measure__(console, options)

    def _make_plain(self) -> None:
        for column in self.columns:
            column.header, column.footer = _plain(column.header), _plain(column.footer)
            column._cells[:] = map(_plain, column._cells)
        self.title = self.title and _plain(self.title, self.title_style or "table.title")
        self.caption = self.caption and _plain(self.caption, self.caption_style or "table.caption")


def _plain(value: Any, style: Any = "") -> Any:
    return Text(printable(value), style) if isinstance(value, str) else value


def verbatim(text: str, style: str = "") -> tuple[str, Style]:
    """A part of a line that is a path or a name, which `regard.cli.screen` does not translate.

    Args:
        text: the part.
        style: rich's words for how it looks.

    Returns:
        A part for ``Text.assemble``.
    """
    return text, Style.parse(style) + Style(meta={_VERBATIM: True})


def is_verbatim(style: str | Style) -> bool:
    """Whether a part of a line has the style of one from `verbatim`."""
    return isinstance(style, Style) and bool(style.meta.get(_VERBATIM))
