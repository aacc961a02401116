"""Text from files on a terminal: control characters are shown, not executed, and square brackets are not markup."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and newline, those that reverse the direction of text, and surrogates."""


def printable(text: object) -> str:
    """Write control characters, such as the escape that begins a terminal's commands, as Python's escapes.

    Example:
        >>> printable("cat" + chr(27) + "[2J")
        'cat\\\\x1b[2J'
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], str(text))


def never_fail_to_encode() -> None:
    """Print what the encoding of standard output or error lacks as an escape, rather than raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")


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

    return _PlainConsole(**{"markup": False, "emoji": False, **options})
