"""The help of every command: whole lines at any width, in both languages, in one layout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from rich.cells import cell_len

WIDTHS = (44, 80, 100, 120, 2000)
SHOW = """
import json, sys, typer
from regard.system.translation import use_language
use_language(sys.argv[1])
from regard.cli import app
from regard.cli.help import help_lines

def screens(command, parent, name):
    context = typer.Context(command, parent=parent, info_name=name)
    yield [[line.plain.rstrip() for line in help_lines(command, context, width)] for width in map(int, sys.argv[2:])]
    for child in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from screens(command.get_command(context, child), context, child)

assert "torch" not in sys.modules
sys.stdout.reconfigure(encoding="utf-8")
json.dump(list(screens(typer.main.get_command(app), None, "regard")), sys.stdout)
"""
OPTION = re.compile(r"--[a-z][a-z-]*[a-z]")
HEADING = {"en": re.compile(r"[A-Z][a-z ]+:"), "zh-TW": re.compile(r"[\u4e00-\u9fff]+：")}


@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_no_width_loses_or_breaks_anything(language: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", SHOW, language, *map(str, WIDTHS)], capture_output=True, check=True, encoding="utf-8"
    )
    screens = json.loads(shown.stdout)
    assert len(screens) > 20
    for *narrow, whole in screens:
        for width, lines in zip(WIDTHS, narrow, strict=False):
            assert max(map(cell_len, lines)) <= width
            assert "".join("".join(lines).split()) == "".join("".join(whole).split())
            if width >= 80:
                assert Counter(OPTION.findall("\n".join(lines))) == Counter(OPTION.findall("\n".join(whole)))
            assert [line for line in lines if line.lstrip().startswith(tuple("。，、；：）」"))] == []
        headings = [line for line in whole[1:] if line and not line.startswith(" ")]
        assert all(map(HEADING[language].fullmatch, headings)), headings
        assert headings[-1] in ("Options:", "選項：")


def test_arguments_are_in_capitals_and_types_in_words() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "regard", "diff", "--help"],
        capture_output=True, check=True, encoding="utf-8", env=os.environ | {"COLUMNS": "80", "REGARD_LANG": "en"},
    ).stdout.splitlines()  # fmt: skip
    assert shown[0].endswith("regard diff [OPTIONS] A B")
    assert any(line.startswith("  --imgsz, --img INTEGER  ") for line in shown)
