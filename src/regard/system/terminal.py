"""Text from files, shown as it is: on a terminal, control characters are shown, not executed, and square brackets are
not markup; in a table, nothing is a formula.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\n(?=[^\\S\n]*::)"
)
"""Control characters but tab and newline, those that reverse the direction of text, surrogates, and the newline before
what GitHub takes for a command."""


def printable(text: object) -> str:
    """Write control characters, such as the escape that begins a terminal's commands, as Python's escapes.

    Example:
        >>> printable("cat" + chr(27) + "[2J")
        'cat\\\\x1b[2J'
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], str(text))


def printable_line(text: object) -> str:
    """As `printable`, on one line: a name that contains a newline is no line of its own, which a CI could obey.

    Example:
        >>> printable_line("cat" + chr(10) + "::error::")
        'cat\\\\n::error::'
    """
    return printable(text).replace("\n", "\\n")


def table_text(text: str) -> str:
    """Write text for a cell of a CSV file, so that no spreadsheet takes it for a formula.

    Example:
        >>> table_text("=1+1"), table_text("cat"), table_text("-0.5")
        ("'=1+1", 'cat', '-0.5')
    """
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def never_fail_to_encode() -> None:
    """Print what the encoding of standard output or error lacks as an escape, rather than raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, such as Jupyter, Colab or VS Code."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def plain_console(**options: Any) -> Console:
    """Make a rich console that shows text as it is: no markup, no emoji codes, no control characters.

    Args:
        options: those of ``rich.console.Console``.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class _PlainConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text), **options)

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                # One character for one, as the width of a column has been decided.
                text = segment.text if segment.control else _UNPRINTABLE.sub("\ufffd", segment.text)
                yield segment if text == segment.text else Segment(text, segment.style)

    # In a notebook it prints lines of text: rich would make an HTML block of each, or, as FORCE_COLOR is set there,
    # move the cursor as in a terminal, which a notebook does not do.
    notebook = {"force_terminal": False} if in_notebook() else {}
    return _PlainConsole(**{"markup": False, "emoji": False, "force_jupyter": False, **notebook, **options})


def plain_text(value: Any, width: int) -> str:
    """Write what rich prints of a value as plain text, at most ``width`` characters wide.

    Example:
        >>> plain_text("[b]cat", 40)
        '[b]cat'
    """
    file = io.StringIO()
    plain_console(file=file, width=width, color_system=None).print(value)
    return file.getvalue().rstrip("\n")


def print_error(text: str) -> None:
    """Print a line on standard error, if anybody reads it."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
