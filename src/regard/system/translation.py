"""The language of what the command line prints for people: English, or one that has a catalogue of translations.

Texts are English inside the package, in files, JSON and Python; they are translated where the command line shows them.
A fixed text is translated by ``gettext.gettext``; `translate` also translates texts with values in them, by templates.
"""

from __future__ import annotations

import gettext
import locale
import os
import re
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from regard.errors import RegardError, nearest

VARIABLE = "REGARD_LANG"
"""Environment variable that names the language; the locale decides if it is not set."""
LANGUAGES = ("en", "zh-TW")
FOLDER = Path(__file__).parents[1] / "locale"
DOMAIN = "regard"
PLACEHOLDER = re.compile(r"\{(\d+)\}")
WORD = re.compile(
    r"\s*[（「《]*(?:[⺀-鿿]|[^\s⺀-鿿（「《）」》，。、；：！？…]+)[）」》，。、；：！？…]*\s*|\s*\S+\s*"
)
"""Where lines may end: as rich does, and next to each Chinese character, but not before closing marks. Rich cuts off
what has no space and is longer than a line of a table."""
_SHORTEST = 6
"""Letters of a template below which it would fit too many texts."""


def choose_language(environment: Mapping[str, str]) -> str:
    """Select a language: that of ``REGARD_LANG``, else that of the locale, where there is one for it, else English.

    Raises:
        RegardError: ``REGARD_LANG`` names another language.

    Example:
        >>> choose_language({"LANG": "zh_TW.UTF-8"}), choose_language({"LANG": "zh_TW.UTF-8", "REGARD_LANG": "en"})
        ('zh-TW', 'en')
    """
    if given := environment.get(VARIABLE):
        if found := _language_of(given):
            return found
        raise RegardError(f"{VARIABLE} is {given!r}", expected="en or zh-TW", hint=nearest(given, LANGUAGES))
    stated = (environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return _language_of(next(filter(None, stated), None) or locale.getlocale()[0] or "") or "en"


def _language_of(name: str) -> str | None:
    plain = name.lower().replace("_", "-").partition(".")[0]
    if plain.startswith(("zh-tw", "zh-hant", "chinese (traditional)")):  # the last is Windows' name
        return "zh-TW"
    return "en" if plain.startswith("en") else None


def use_language(language: str) -> None:
    """Translate what this process prints from here on, typer's texts included."""
    if language != "en":
        os.environ["LANGUAGE"] = language.replace("-", "_")  # where gettext looks
        gettext.bindtextdomain(DOMAIN, FOLDER)
        gettext.textdomain(DOMAIN)
        _break_lines_between_characters()


def _break_lines_between_characters() -> None:
    from rich import _wrap  # not needed for English
    from rich.text import Text

    def rstrip_end(self: Text, size: int) -> None:
        while self.plain[-1:].isspace() and self.cell_len > size:  # rich counts characters where it has columns
            self.right_crop(1)

    _wrap.re_word = WORD
    Text.rstrip_end = rstrip_end  # type: ignore[method-assign]


def translate(text: str) -> str:
    """Translate a text, or one that was made by filling a template of the catalogue; others are returned unchanged."""
    if gettext.textdomain() != DOMAIN or not text:
        return text
    if (found := gettext.gettext(text)) != text:
        return found
    for pattern, template in _templates(gettext.find(DOMAIN, FOLDER) or ""):
        if match := pattern.fullmatch(text):
            return PLACEHOLDER.sub(lambda place: translate(match[f"_{place[1]}"]), template)
    return text


@cache
def _templates(file: str) -> list[tuple[re.Pattern[str], str]]:
    """Read the texts with placeholders, those with the most fixed characters first."""
    found: list[tuple[int, re.Pattern[str], str]] = []
    for source, target in read_catalogue(Path(file)).items() if file else ():
        parts = PLACEHOLDER.split(source)
        fixed = "".join(parts[::2])
        if len(parts) > 1 and sum(map(str.isalpha, fixed)) >= _SHORTEST:
            pattern = "".join(f"(?P<_{part}>.+?)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
            found.append((-len(fixed), re.compile(pattern, re.DOTALL), target))
    return [(pattern, target) for _, pattern, target in sorted(found, key=lambda one: one[0])]


def read_catalogue(file: Path) -> dict[str, str]:
    """Read a file of translations in GNU's ``.mo`` form (GNU gettext manual, "The Format of GNU MO Files")."""
    content = file.read_bytes()
    _, _, count, sources, targets = struct.unpack_from("<5I", content)

    def text_at(table: int, index: int) -> str:
        length, start = struct.unpack_from("<2I", content, table + 8 * index)
        return content[start : start + length].decode()

    return {text_at(sources, i): text_at(targets, i) for i in range(count)}
