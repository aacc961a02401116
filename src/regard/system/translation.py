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
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial, reduce
from pathlib import Path
from typing import TypeAlias

from regard.errors import warn, with_singulars

VARIABLE = "REGARD_LANG"
"""Environment variable that names the language; the locale decides if it is not set."""
LANGUAGES = ("en", "zh-TW")
TRADITIONAL = ("zh-tw", "zh-hk", "zh-mo", "zh-hant", "chinese (traditional)")
"""How the names of locales begin in which Chinese is written in traditional characters; the last is Windows'."""
SAMPLES = {"zh-TW": "繁體中文"}
"""Characters that an encoding must have for a language to be printed."""
FOLDER = Path(__file__).parents[1] / "locale"
DOMAIN = "regard"
PLACEHOLDER = re.compile(r"\{(\d+)([=+]?)\}")
"""A value; with ``=``, in a translation, one that is left as it is, such as the name of a setting or a path; with
``+`` names in a row, of which only the marks between them change."""
WORD = re.compile(
    r"\s*[（「《]*(?:[⺀-鿿]|[^\s⺀-鿿（「《）」》，。、；：！？…]+)[）」》，。、；：！？…]*\s*|\s*\S+\s*"
)
"""Where lines may end: as rich does, and next to each Chinese character, but not before closing marks. Rich cuts off
what has no space and is longer than a line of a table."""
AFTER_NAME = re.compile(r"[,;] |(?:[+~-] )?[^\s:]+(?::\d+)?(?: \([^\s()]+\))?: (?=\S)")
"""What may come before a text: a comma, or the name of a layer, file or split, with its module or line, and a colon."""
NAMES = re.compile(r"'?[A-Za-z_.][\w.-]*'?(?:, '?[A-Za-z_.][\w.-]*'?(?: and [a-z]+)?)+(?:, \.\.\.)?")
"""Names in a row, such as valid choices."""
NUMBERS = re.compile(r"-?\d[\d.]*(?:, -?\d[\d.]*)+(?:, \.\.\.)?")
"""Numbers in a row."""
NOUNS = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)?")
"""A part of a list of nouns, such as causes of a low AP."""
SENTENCES = re.compile(r"(?<=\.) (?=[A-Z])")
ENDS = re.compile(r"([^\n;]+) \(([^()\n]+)\)")
"""A text that ends with another in parentheses, such as what is done about what was found."""
LAYER = re.compile(r"layer (\S+)(?: \(([^\s()]+)\))?: ")
LAYERS, LAYERS_OF = (re.escape("layer ") + "(?P<_0>[^\n]*?)" + after for after in (":", re.escape(" (")))
"""How a text about a layer begins, and the templates of such texts, which go before those that begin with a value."""
LIST = re.compile(r"[^,]+(?:, [^, ]+)* (?:or|and) [^, ]+|one of [^;\n]+")
"""A text that ends with a list of words, or begins with one, whose commas separate no texts."""
SPACED = re.compile(r"( ?)\{(\d+)([=+]?)\}( ?)")
"""A value with the spaces around it, which there are none of between Chinese characters."""
CHINESE = re.compile("[\u2e80-\u9fff\uff01-\uff60]")
"""A Chinese character or mark, next to which there are no spaces."""
PHRASE = re.compile(r"(?:^|[ (：；，（])[a-z]{2,} [a-z]{2,}")
"""A part of a sentence, which a value is where another template fits better."""
FEW = 7
"""Fixed characters of a template below which its values have no spaces: it would fit too many texts."""
LONG, LONGEST, DEEPEST = 300, 5000, 6
"""Texts, which files may make as long as they like, are matched in a time that grows as they do: longer than the first
they fit no template with several values, longer than the second none; and so many texts lie one in another."""
MOST_PARTS = 12
"""Commas that a text of the catalogue may have where it is part of an enumeration."""
Templates: TypeAlias = list[tuple[re.Pattern[str], str]]
Catalogue: TypeAlias = tuple[dict[str, str], Templates]


def choose_language(environment: Mapping[str, str]) -> str:
    """Select a language: that of ``REGARD_LANG``, else that of the locale, where there is one for it, else English.

    The locale is the first of ``LC_ALL``, ``LC_MESSAGES`` and ``LANG`` that is set, else that of the system. Unless it
    is ``C``, the list in ``LANGUAGE``, such as ``zh_TW:en``, precedes it, as in GNU gettext.
    Traditional Chinese of any region is 繁體中文; simplified Chinese, which differs in characters and terms, is not.

    Example:
        >>> choose_language({"LANG": "zh_TW.UTF-8"}), choose_language({"LANG": "zh_TW.UTF-8", "REGARD_LANG": "en"})
        ('zh-TW', 'en')
    """
    if given := environment.get(VARIABLE):
        return _language_of(given) or "en"
    stated = (environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    name = next(filter(None, stated), None) or _locale()
    if re.split(r"[.@]", name)[0] in ("", "C", "POSIX"):  # as in gettext, where these are not translated
        return "en"
    preferred = filter(None, (environment.get("LANGUAGE") or name).split(":"))
    return next(filter(None, map(_language_of, preferred)), "en")


def printable_language(language: str) -> str:
    """The language, or English where standard output or error lacks its characters, as pipes of Windows may."""
    return "en" if _lacking(language) else language


def _lacking(language: str) -> list[str]:
    """Encodings of standard output and error that lack the characters of a language."""
    encodings = [getattr(stream, "encoding", None) or "utf-8" for stream in (sys.stdout, sys.stderr)]
    return [encoding for encoding in encodings if not _encodes(SAMPLES.get(language, ""), encoding)]


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def warn_of_unused_language(environment: Mapping[str, str]) -> None:
    """Warn where messages are not in the language of ``REGARD_LANG``; a locale of another language is no mistake."""
    if not (given := environment.get(VARIABLE)):
        return
    language = _language_of(given)
    if not language:
        why = f"{VARIABLE} is {given!r}, which is none of {', '.join(LANGUAGES)}: messages are in English"
    elif lacking := _lacking(language):
        why = f"the encoding {lacking[0]} lacks the characters of {given}: messages are in English; set PYTHONUTF8=1"
    else:
        return
    warn(why)


def _locale() -> str:
    with suppress(ValueError):  # an unknown name, such as macOS' "UTF-8"
        return locale.getlocale()[0] or ""
    return ""


def _language_of(name: str) -> str | None:
    plain = re.split(r"[.@]", name.lower().replace("_", "-"))[0]
    if plain == "zh" or plain.startswith(TRADITIONAL):
        return "zh-TW"
    return "en" if re.match("en(-|$|glish)", plain) or plain in ("c", "posix") else None


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
    """Translate a text, one that was made by filling templates of the catalogue, or an enumeration of such texts.

    Others are returned unchanged; in English, too, a text made for any number is in the singular where that is 1.
    """
    if not text or gettext.textdomain() != DOMAIN:
        return with_singulars(text)
    found = _find(text, _catalogue(gettext.find(DOMAIN, FOLDER) or ""))
    return text if found is None else found


def translate_into(text: str, language: str) -> str:
    """Translate a text as `translate` does, but into a language of ``LANGUAGES`` that this process need not use.

    Example:
        >>> translate_into("[required]", "zh-TW"), translate_into("[required]", "en")
        ('[必填]', '[required]')
    """
    file = FOLDER / language.replace("-", "_") / "LC_MESSAGES" / f"{DOMAIN}.mo"
    found = _find(text, _catalogue(str(file))) if text and language != "en" else None
    return text if found is None else found


def translate_lines(text: str) -> str:
    """Translate a text as a whole or, where that has no translation, line by line."""
    if (whole := translate(text)) != text:
        return whole
    lines = text.split("\n")
    return "\n".join(line.replace(line.strip(), translate(line.strip()), 1) if line.strip() else line for line in lines)


def _find(text: str, catalogue: Catalogue, depth: int = 0) -> str | None:
    known = catalogue[0]
    if text in known:
        return known[text]
    if depth > DEEPEST or len(text) > LONGEST:
        return None
    if len(sentences := SENTENCES.split(text)) > 1:
        parts = [_find(sentence, catalogue, depth + 1) for sentence in sentences[:MOST_PARTS]]
        if len(sentences) <= MOST_PARTS and all(parts):
            return "".join(map(str, parts))
    if (layer := LAYER.match(text)) and (of_layer := _after_layer(layer, catalogue, depth)):
        return of_layer
    name = AFTER_NAME.match(text)
    if name and (rest := _find(text[name.end() :], catalogue, depth + 1)) is not None:
        before, _, after = known.get(f"{name[0]}{{0}}", _before(name[0], known) + "{0}").partition("{0}")
        return f"{before}{rest}{after}"
    ends = ENDS.fullmatch(text)
    if ends and not NUMBERS.fullmatch(ends[2]) and (done := _find(ends[2], catalogue, depth + 1)) is not None:
        return _whole_or(f"{_or_same(ends[1], catalogue, depth)}（{done}）", text, catalogue, depth)
    before, colon, after = text.partition(": ")
    if colon and before in known:
        return _whole_or(f"{known[before]}：{_or_same(after, catalogue, depth)}", text, catalogue, depth)
    if NUMBERS.fullmatch(text):
        return text.replace(", ", _between_names(known))
    if ", " in text and LIST.fullmatch(text) and (whole := _fill(text, catalogue, depth)):
        return whole
    for separator in ("; ", ", "):
        if separator in text and (found := _enumeration(text.split(separator), separator, catalogue, depth)):
            return _whole_or(found, text, catalogue, depth)
    if " or " in text and ", " not in text and (found := _enumeration(text.split(" or "), " or ", catalogue, depth)):
        return found
    return _fill(text, catalogue, depth)


def _whole_or(made: str, text: str, catalogue: Catalogue, depth: int) -> str:
    """The translation of a text as a whole, if one made of its parts has more English phrases."""
    whole = _fill(text, catalogue, depth) if PHRASE.search(made) else None
    return whole if whole and len(PHRASE.findall(whole)) < len(PHRASE.findall(made)) else made


def _after_layer(layer: re.Match[str], catalogue: Catalogue, depth: int) -> str:
    """Translate a text about a layer by that without the layer; "" if that is not possible, or only in part."""
    rest = _find(layer.string[layer.end() :], catalogue, depth + 1)
    if rest is None or PHRASE.search(rest):
        return ""
    values = [layer[1], layer[2], rest] if layer[2] else [layer[1], rest]
    template = catalogue[0].get("layer {0} ({1}): {2}" if layer[2] else "layer {0}: {1}", "")
    return PLACEHOLDER.sub(lambda place: values[int(place[1])], template)


def _before(name: str, known: Mapping[str, str]) -> str:
    """Write what comes before a text, a comma or the name of something, with the marks of the language."""
    if name in known or not name.endswith(": "):
        return known.get(name, name)
    place, bracket, kind = name.removesuffix(": ").partition(" (")
    return place + (f"（{kind.removesuffix(')')}）" if bracket else "") + known.get(": ", ": ")


def _enumeration(parts: list[str], separator: str, catalogue: Catalogue, depth: int) -> str:
    """Translate all parts, each of which may contain the separator itself; "" if that is not possible."""
    known = catalogue[0]
    found: list[str] = []
    start = 0
    while start < len(parts):
        ends = range(min(start + MOST_PARTS, len(parts)), start + 1, -1)
        end = next((end for end in ends if separator.join(parts[start:end]) in known), start + 1)
        part = known.get(separator.join(parts[start:end])) or _find(parts[start], catalogue, depth + 1)
        if part is None:
            return ""
        found.append(part)
        start = end
    if separator == ", " and all(map(NOUNS.fullmatch, parts)):
        return _between_names(known).join(found)
    if separator == " or ":
        either = known.get("{0} or {1}", "{0} or {1}")
        return reduce(lambda a, b: SPACED.sub(partial(_spaced, {"0": a, "1": b}), either), found)
    return known.get(separator, separator).join(found)


def _fill(text: str, catalogue: Catalogue, depth: int) -> str | None:
    """Translate a text that fits a template, and the values in it; None if it fits none.

    Of several templates the first whose values are no phrases without a translation, if there is one.
    """
    first: str | None = None
    templates = catalogue[1]
    if "; " in text:  # what comes before it is a text of its own, and no value reaches over it where it need not
        templates = sorted(templates, key=lambda one: ";" not in one[0].pattern)
    elif layer := LAYER.match(text):
        begin = LAYERS_OF if layer[2] else LAYERS
        templates = sorted(templates, key=lambda one: not one[0].pattern.startswith(begin))
    for pattern, template in templates:
        if len(text) > LONG and pattern.groups > 1:
            continue
        if match := pattern.fullmatch(text):
            values = {
                name: _value(match[f"_{name}"], kept, catalogue, depth) for name, kept in PLACEHOLDER.findall(template)
            }
            filled = SPACED.sub(partial(_spaced, values), template)
            if not any(map(PHRASE.search, values.values())):
                return filled
            first = first or filled
    return first


def _spaced(values: Mapping[str, str], place: re.Match[str]) -> str:
    """Write a value into a template, without spaces between Chinese characters."""
    value = values[place[2]]
    before, after = place.string[: place.start()][-1:], place.string[place.end() :][:1]
    joins_before = CHINESE.match(before) and CHINESE.match(value)
    joins_after = CHINESE.match(after) and CHINESE.match(value[-1:])
    return ("" if joins_before else place[1]) + value + ("" if joins_after else place[4])


def _value(text: str, kept: str, catalogue: Catalogue, depth: int) -> str:
    """Translate a value in a template, unless it is kept, see `PLACEHOLDER`."""
    if not kept:
        return _or_same(text, catalogue, depth)
    return text if kept == "=" else text.replace(", ", _between_names(catalogue[0]))


def _or_same(text: str, catalogue: Catalogue, depth: int) -> str:
    found = _find(text, catalogue, depth + 1) if text else None
    if found is None and NAMES.fullmatch(text):
        return text.replace(", ", _between_names(catalogue[0]))
    return text if found is None else found


def _between_names(known: Mapping[str, str]) -> str:
    """The mark between names in a row, which in Chinese is another one than between sentences."""
    return PLACEHOLDER.sub("", known.get("{0}, {1}", ", "))


@cache
def _catalogue(file: str) -> Catalogue:
    """Read all texts, and those with placeholders as patterns, those with the most letters, then characters, first."""
    known = read_catalogue(Path(file)) if file else {}
    known.pop("", None)  # facts about the file
    found: list[tuple[int, int, re.Pattern[str], str]] = []
    for source, target in known.items():
        parts = re.split(r"\{(\d+)\}", source)
        fixed = "".join(parts[::2])
        letters = sum(map(str.isalpha, fixed))
        if len(parts) > 1 and letters:
            value = "[^\n]*?" if len(fixed) >= FEW else "\\S+"
            pattern = "".join(f"(?P<_{part}>{value})" if i % 2 else re.escape(part) for i, part in enumerate(parts))
            found.append((letters, len(fixed), re.compile(pattern), target))
    found.sort(key=lambda one: one[:2], reverse=True)
    return known, [(pattern, target) for _, _, pattern, target in found]


def read_catalogue(file: Path) -> dict[str, str]:
    """Read a file of translations in GNU's ``.mo`` form (GNU gettext manual, "The Format of GNU MO Files")."""
    content = file.read_bytes()
    _, _, count, sources, targets = struct.unpack_from("<5I", content)

    def text_at(table: int, index: int) -> str:
        length, start = struct.unpack_from("<2I", content, table + 8 * index)
        return content[start : start + length].decode()

    return {text_at(sources, i): text_at(targets, i) for i in range(count)}
