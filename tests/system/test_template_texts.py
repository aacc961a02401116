"""Texts that are put into messages are collected for translation as the messages are."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import load_script

SUMS = """
def read(text, *, what="not a file", expected="a file that is here", other="no message"):
    pass
from src.tables import look
END = ", or later"
KINDS = (("gz", "a gzip file"),)
def where(a):
    return f"in {a} of them" if a else "in none of them"
def check(a, names):
    raise RegardError("one of " + ", ".join(names) + END[0] + ", or yours", expected=where(a), hint=END)
    raise RegardError(f"{a} images" + (f", such as {a}" if a else ""), hint=a and "is it so?")
    raise RegardError(f"this is {look(a)}", hint=f"with {', '.join(names) or 'nothing'}")
def parse(a, what="not a plan at all"):
    for start, kind in KINDS:
        raise RegardError(f"here is {kind}")
parse(1, expected="a list of plans")
def lack(names):
    lacks = [] if names else ["none of images"]
    lacks += [f"{name} was {names}" for name in names]
    raise RegardError("its columns: " + "; ".join(lacks))
"""
TABLES = """
def look(head):
    return "an empty file" if not head else f"a file of {head}"
"""


def test_texts_made_of_parts_are_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = load_script("docs/make_translations.py")
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "sums.py").write_text(SUMS)
    (folder / "tables.py").write_text(TABLES)
    for name, value in {"SOURCE": folder, "REPORTS": (), "VALUES": ()}.items():
        monkeypatch.setattr(make, name, value)
    found = {"one of {0}{1}, or yours", "in {0} of them", "in none of them", ", or later"}
    found |= {"{0} images{1}", ", such as {0}", "is it so?"}
    found |= {"this is {0}", "an empty file", "a file of {0}", "with {0}", "nothing"}
    found |= {"not a plan at all", "here is {0}", "a gzip file", "a list of plans"}
    found |= {"its columns: {0}", "none of images", "{0} was {1}"}
    found |= {"not a file", "a file that is here"}
    assert make.texts_of_code() == (set(), found)
