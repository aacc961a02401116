"""How values look in a notebook: rich's tables and texts as HTML, images, and a progress bar.

The HTML has no colours of its own, so that it is readable on a dark background and on a light one, and all text is
escaped. Only what IPython provides is used: no widgets, which Colab and VS Code show in different ways or not at all.
"""

from __future__ import annotations

import html
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from regard.system.interrupts import interrupts_deferred
from regard.system.terminal import plain_console, printable

if TYPE_CHECKING:
    from rich.table import Table

MOST_ROWS = 300
"""Most rows of a table that a notebook shows; the others are only counted."""
UPDATE_SECONDS = 0.5
"""Least time between two updates of the bar: each is a message that the notebook keeps."""


class ShownInNotebooks:
    """A value that rich can print, which a notebook shows as HTML."""

    @interrupts_deferred()
    def _repr_html_(self) -> str:
        return to_html(self)


def to_html(value: Any) -> str:
    """Write what rich would print as HTML: tables as tables, everything else as text.

    Args:
        value: a text, a table, a group of them, or a value with ``__rich__`` or ``__rich_console__``.

    Example:
        >>> to_html("a < b")
        '<div style="white-space:pre-wrap">a &lt; b</div>'
    """
    return "".join(_parts(value))


def image_html(data: bytes, kind: str, alt: str) -> str:
    """Write an encoded image, of a kind such as "jpeg", as an HTML element that contains it."""
    source = f"data:image/{kind};base64,{b64encode(data).decode()}"
    return f'<img src="{source}" alt="{_escaped(alt)}" style="max-width:100%">'


def _parts(value: Any) -> Iterator[str]:
    from rich.console import Group
    from rich.table import Table

    if isinstance(value, Table):
        yield _table(value)
    elif isinstance(value, Group):
        yield from (part for one in value.renderables for part in _parts(one))
    elif hasattr(value, "plain") or isinstance(value, str):
        yield f'<div style="white-space:pre-wrap">{_escaped(value)}</div>'
    elif hasattr(value, "__rich__"):
        yield from _parts(value.__rich__())
    else:
        console = plain_console()
        yield from (part for one in value.__rich_console__(console, console.options) for part in _parts(one))


def _table(table: Table) -> str:
    """Write a table with its title and caption; a row that is emphasised in a terminal is bold."""
    heads = "".join(_cell("th", column.header, column.justify) for column in table.columns)
    columns = [list(column.cells) for column in table.columns]
    rows = []
    for row, *cells in zip(table.rows[:MOST_ROWS], *columns, strict=False):
        weight = ' style="font-weight:bold"' if row.style else ""
        justified = zip(cells, table.columns, strict=True)
        rows.append(f"<tr{weight}>{''.join(_cell('td', cell, column.justify) for cell, column in justified)}</tr>")
    title = f"<caption>{_escaped(table.title)}</caption>" if table.title else ""
    more = f"... and {table.row_count - MOST_ROWS} more rows" if table.row_count > MOST_ROWS else ""
    below = "".join(_parts("\n".join(filter(None, (more, str(table.caption or ""))))) if more or table.caption else ())
    head = f"<thead><tr>{heads}</tr></thead>" if table.show_header else ""
    return f'<div style="overflow-x:auto"><table>{title}{head}<tbody>{"".join(rows)}</tbody></table></div>{below}'


def _cell(tag: str, content: Any, justify: str) -> str:
    side = "right" if justify == "right" else "left"
    return f'<{tag} style="text-align:{side};white-space:pre-line">{_escaped(content)}</{tag}>'


def _escaped(content: Any) -> str:
    return html.escape(printable(getattr(content, "plain", content)))


class NotebookBar:
    """A progress bar in the output of a cell, as one display that is updated."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = 0.0

    def show(self, completed: int, total: int, before: str, after: str = "") -> None:
        """Show the bar, at most once per `UPDATE_SECONDS`, with a text on each side."""
        from IPython.display import HTML, display

        if time.monotonic() - self._shown < UPDATE_SECONDS and self._handle is not None:
            return
        self._shown = time.monotonic()
        bar = f'<progress value="{completed}" max="{total}" style="vertical-align:middle;width:40%"></progress>'
        shown = HTML(f"<div>{_escaped(before)} {bar} {completed}/{total} {_escaped(after)}</div>")
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)

    def close(self) -> None:
        """Remove the bar from the output."""
        if self._handle is not None:
            from IPython.display import HTML

            self._handle.update(HTML(""))
            self._handle = None
