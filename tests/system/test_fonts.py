"""Fonts for the letters of names: also those that were installed after matplotlib made its list."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib import get_data_path
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

from regard.errors import RegardWarning
from regard.system import fonts
from regard.system.fonts import fonts_for
from regard.visualize.plots import saved_figure

FONTS = Path(get_data_path()) / "fonts" / "ttf"
LATER = "STIXGeneral"
"""A font that comes with matplotlib, and that the list of these tests lacks."""


def chars(name: str) -> set[int]:
    return {*FT2Font(str(FONTS / f"{name}.ttf")).get_charmap()}


@pytest.fixture
def letter() -> str:
    """A letter that only the later font has."""
    return next(chr(code) for code in sorted(chars(LATER) - chars("DejaVuSans")) if code > 0xFF and chr(code).isalpha())


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a font that is installed, with one that is no font, but is not in matplotlib's list."""
    own = [entry for entry in fontManager.ttflist if entry.name == fonts.OWN_FONT]
    monkeypatch.setattr(fontManager, "ttflist", own)
    font, damaged = tmp_path / "later.ttf", tmp_path / "damaged.ttf"
    shutil.copyfile(FONTS / f"{LATER}.ttf", font)
    damaged.write_bytes(b"no font")
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [str(damaged), str(font)])
    return font


def test_a_font_that_was_installed_later_is_found(later: Path, letter: str) -> None:
    assert fonts_for(f"SE@{letter}") == ([fonts.OWN_FONT, LATER], "")
    assert str(later) in {entry.fname for entry in fontManager.ttflist}


def test_names_are_drawn_without_a_warning(later: Path, letter: str, tmp_path: Path) -> None:
    """Warnings are errors here, matplotlib's of a missing glyph too."""
    assert later.exists()
    with saved_figure(tmp_path / "a.png", (1, 1), letter) as figure:
        figure.add_subplot().set_title(letter)


def test_letters_that_no_font_has_are_reported(
    later: Path, letter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later.unlink()
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [str(later)])
    assert fonts_for(f"a{letter} {letter}") == ([fonts.OWN_FONT], letter)
    with (
        pytest.warns(RegardWarning, match=rf"{letter}: a\.png has boxes") as caught,
        saved_figure(tmp_path / "a.png", (1, 1), letter) as figure,
    ):
        figure.add_subplot().set_title(letter)
    assert len(caught) == 1


def test_a_font_that_is_gone_is_not_chosen(later: Path, letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fontManager.addfont(later)
    monkeypatch.setattr(fonts, "findSystemFonts", list)
    assert fonts_for(letter) == ([fonts.OWN_FONT, LATER], "")
    later.unlink()
    assert fonts_for(letter) == ([fonts.OWN_FONT], letter)


def test_looking_into_fonts_ends_in_time(later: Path, letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "SECONDS", -1.0)
    assert fonts_for(letter) == ([fonts.OWN_FONT], letter)
    assert str(later) not in {entry.fname for entry in fontManager.ttflist}


def test_latin_letters_need_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: pytest.fail("searched"))
    assert fonts_for("SE@sppf, é, αβ, Ж") == ([fonts.OWN_FONT], "")
