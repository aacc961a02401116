"""Fonts for the names in a figure: matplotlib's own, and installed ones for the letters that it lacks.

matplotlib keeps its list of installed fonts in a file and does not renew it. So where no font of the list has a letter,
fonts that were installed later are looked for in the system itself.
"""

from __future__ import annotations

import os
import time
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager, get_font
from matplotlib.ft2font import FT2Font

from regard.errors import warn

OWN_FONT = "DejaVu Sans"
CJK_FONTS = (
    *("Noto Sans CJK TC", "Noto Sans TC", "Source Han Sans TC", "Microsoft JhengHei", "PingFang TC", "Heiti TC"),
    *("Noto Sans CJK JP", "Noto Serif CJK TC", "Noto Serif CJK JP", "WenQuanYi Zen Hei", "Arial Unicode MS"),
)
"""Fonts with Chinese letters of Linux, Windows and macOS, the best first."""
WITHOUT_SHAPES = ("Last Resort", ".LastResort", "Adobe Blank", "Noto Sans NotDef")
"""How the names of fonts begin that have a box, or nothing, for every letter."""
FIRST_CJK = 0x2E80
"""First code point of Chinese, Japanese and Korean letters."""
SECONDS = 5.0
"""Longest time for looking into fonts."""
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError)
"""What matplotlib raises for a file that is no font, or one that it cannot draw."""


def fonts_for(text: str) -> tuple[list[str], str]:
    """Choose fonts for a text.

    Returns:
        Names of fonts: matplotlib's own, then others for letters that those before lack; and the letters that none of
        the installed fonts has, each once.
    """
    families, missing = [OWN_FONT], {letter for letter in text if _is_drawn(letter)}
    if all(ord(letter) < 0x80 for letter in missing):
        return families, ""
    deadline = time.monotonic() + SECONDS
    missing = _without(OWN_FONT, missing)
    for name in _candidates(missing, deadline) if missing else ():
        left = _without(name, missing)
        if left != missing:
            families.append(name)
            missing = left
        if not missing or time.monotonic() > deadline:
            break
    return families, "".join(dict.fromkeys(letter for letter in text if letter in missing))


def files_for(text: str) -> dict[str, str]:
    """Find the font file in which each letter of a text is drawn; letters that no installed font has are left out.

    In a file of several faces it is the one with the index ``face_index``, if the path has that attribute.
    """
    found: dict[str, str] = {}
    for name in fonts_for(text)[0]:
        left = {*text} - found.keys()
        lacking = _without(name, left)
        if lacking != left:
            file = _file_of(name)
            found |= dict.fromkeys(left - lacking, file)
    return found


@contextmanager
def missing_letters_reported(letters: str, figure: str) -> Iterator[None]:
    """Warn once that letters are boxes in a figure, instead of matplotlib's warning for each of them.

    Args:
        letters: those that no font has; "" if there are none.
        figure: where they are missing, such as "forest.pdf".
    """
    if not letters:
        yield
        return
    what = f"no installed font has the letters {letters:.40}: {figure} has boxes in their place"
    warn(what)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def _is_drawn(letter: str) -> bool:
    return not letter.isspace() and unicodedata.category(letter)[0] != "C"


def _candidates(missing: set[str], deadline: float) -> Iterator[str]:
    """Fonts to look into: the known ones of the list, then, with those that the list lacks, all others."""
    tried = {OWN_FONT}
    for search in (False, True):
        if search:
            _add_new_fonts(missing, deadline)
        names = {entry.name for entry in fontManager.ttflist}
        known = [name for name in CJK_FONTS if name in names]
        others = sorted(names - {*known}, key=lambda name: ("Sans" not in name, name)) if search else []
        for name in (*known, *others):
            if name not in tried and not name.startswith(WITHOUT_SHAPES):
                tried.add(name)
                yield name


def _add_new_fonts(letters: set[str], deadline: float) -> None:
    """Add those fonts of the system to matplotlib's list that it lacks and that have any of the letters."""
    listed = {entry.fname for entry in fontManager.ttflist}
    for path in sorted({*findSystemFonts()} - listed):
        if time.monotonic() > deadline:
            return
        with suppress(*UNREADABLE):
            if _lacking(FT2Font(path), letters) != letters:
                fontManager.addfont(path)


def _without(name: str, letters: set[str]) -> set[str]:
    """The letters that a font lacks, in the face that matplotlib takes; all if it cannot be read."""
    with suppress(*UNREADABLE):
        file = _file_of(name)
        if os.path.exists(file):  # both calls remember files that are gone
            return _lacking(get_font(file), letters)
    return letters


def _file_of(name: str) -> str:
    return fontManager.findfont(FontProperties(family=[name]), fallback_to_default=False, rebuild_if_missing=False)


def _lacking(font: FT2Font, letters: set[str]) -> set[str]:
    return {letter for letter in letters if not font.get_char_index(ord(letter))}
