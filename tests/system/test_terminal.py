"""Names from files on a terminal."""

from __future__ import annotations

import io
import sys
import time

import pytest
from rich.table import Table
from rich.text import Text

from regard.system.terminal import never_fail_to_encode, plain_console, printable

EVIL = "cat\x1b]0;owned\x07\x9b31m[/] [red]:smile:\u202e\r"


def test_control_characters_are_shown() -> None:
    assert printable("a\tb\nç 狗") == "a\tb\nç 狗"
    assert printable(EVIL) == "cat\\x1b]0;owned\\x07\\x9b31m[/] [red]:smile:\\u202e\\r"
    assert printable("\udcff") == "\\udcff"
    assert printable("a\u061cb") == "a\\u061cb"
    assert printable("a\nb\n ::error::x") == "a\nb\\n ::error::x"


def test_many_lines_take_no_quadratic_time() -> None:
    began = time.process_time()
    assert printable("\n" * 500_000 + " \n" * 200_000 + "::") != ""
    assert time.process_time() - began < 2


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_console_obeys_neither_markup_nor_control_characters(is_terminal: bool) -> None:
    file = io.StringIO()
    colours = "standard" if is_terminal else None
    out = plain_console(file=file, force_terminal=is_terminal, width=200, color_system=colours)
    table = Table(title=EVIL)
    table.add_column(EVIL)
    table.add_row(EVIL, style="bold")
    for item in (table, EVIL, Text(EVIL)):
        out.print(item, highlight=False)
    text = file.getvalue()
    assert text.count("[red]:smile:") == 5
    assert not {"\x07", "\x9b", "\u202e", "\r"} & set(text)
    assert "\x1b]" not in text
    assert ("\x1b[1m" in text) is is_terminal  # its own styles still work


def test_streams_take_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    never_fail_to_encode()
    print("é\udcff", file=sys.stdout)
    print("é\udcff", file=sys.stderr, flush=True)
