"""Licences: their identifiers in any usual spelling, and whether that of start weights permits that of a model.

A text may state several conditions, which all count, or a choice by "or". What is not understood permits nothing but a
model under the same text (``other``), unless the publisher states that the owner of the weights permits more.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from regard.errors import RegardError, nearest

PERMISSIVE = (
    *("apache-2.0", "mit", "afl-3.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "isc"),
    *("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cdla-permissive-1.0", "cdla-permissive-2.0"),
    *("ecl-2.0", "etalab-2.0", "ncsa", "odc-by", "pddl", "postgresql", "unlicense", "wtfpl", "zlib"),
)
"""Licences under which a derived model may be published under another one."""
SHARE_ALIKE = (
    *("agpl-3.0", "gpl", "gpl-2.0", "gpl-3.0", "gfdl", "osl-3.0", "odbl", "cdla-sharing-1.0"),
    *("cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
)
"""Licences that a derived model must have, too."""
RESTRICTED = (
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
    *("deepfloyd-if-license", "apple-amlr", "fair-noncommercial-research-license", "intel-research"),
)
"""Licences without commercial use or without derived works."""
OTHERS = (
    *("artistic-2.0", "c-uda", "cc", "epl-1.0", "epl-2.0", "eupl-1.1", "eupl-1.2", "gemma", "lgpl", "lgpl-2.1"),
    *("lgpl-3.0", "lgpl-lr", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "lppl-1.3c", "mpl-2.0"),
    *("ms-pl", "ofl-1.1", "openrail", "openrail++", "bigcode-openrail-m", "bigscience-bloom-rail-1.0", "apple-ascl"),
    *("bigscience-openrail-m", "creativeml-openrail-m", "unknown", "other"),
)
"""Licences with conditions that are not compared here."""
IDENTIFIERS = (*PERMISSIVE, *SHARE_ALIKE, *RESTRICTED, *OTHERS)
"""Identifiers of the Hub (https://huggingface.co/docs/hub/repositories-licenses)."""

PERMISSION = "permission=True (--permission) states that the owner of the weights permits it"
ULTRALYTICS = re.compile(r"yolo(v5[nsmlx]6?u?|v8[nsmlx]|v10[nsmblx]|v?1[12][nsmlx]|26[nsmlx])(\.pt)?")
"""Names of weights that were published under the AGPL-3.0."""

FAMILIES = re.compile(
    r"(?P<agpl>agpl|affero( (gpl|general public))?)|(?P<lgpl>lgpl|\b(lesser|library) (gpl|general public))"
    r"|(?P<gfdl>gfdl|\bfree documentation\b)|(?P<gpl>gpl|general public)"
    r"|(?P<cc>\b(cc|creative commons)\b(?! (0|zero)))|(?P<part>\battribution\b|\bby (nc|nd|sa)\b|share ?alike)"
)
"""Families whose conditions hold wherever a text names them."""
CC_PARTS = {"nc": r"\bnc\b|non ?commercial", "nd": r"\bnd\b|no ?deriv", "sa": r"\bsa\b|share ?alike"}
VERSION = re.compile(r"(?<![\d.])(\d)(\.\d)?(?!\d)")
LATER = re.compile(r"\d\s?\+|\bor (at your option )?(any )?(later|newer)\b")
"""Words that permit later versions."""
OPEN_ENDED = ("cc-by-sa", "cc-by-nc-sa", "eupl")
"""Families that permit later versions by themselves."""
SPDX = {"odbl-1.0": "odbl", "pddl-1.0": "pddl", "odc-by-1.0": "odc-by", "mit-0": "mit", "0bsd": "bsd"}
"""Identifiers of SPDX that the Hub writes otherwise, or has under the name of a licence with the same conditions."""
NAMES = (
    (r"(apache|apache\ssoftware|asl)(\sfoundation)?\s?2(\.0)?", "apache-2.0"),
    (r"mit|expat|mit\smit|mit\sexpat", "mit"),
    (r"(new|modified|revised|3\sclause)\sbsd(\s3\sclause)?|bsd\s?3(\sclause)?(\s(new|revised).*)?", "bsd-3-clause"),
    (r"(simplified|freebsd|2\sclause)\s?(bsd)?(\s2\sclause)?|bsd\s?2(\sclause)?(\ssimplified)?", "bsd-2-clause"),
    (r"cc\s?0(\s1(\.0)?)?(\suniversal)?|creative\scommons\szero.*", "cc0-1.0"),
    (r"(cc|creative\scommons)\s(by|attribution)(\s4\.0)?(\sinternational)?", "cc-by-4.0"),
    (r"(mozilla\spublic|mpl)\s?2(\.0)?", "mpl-2.0"),
    (r"unlicense|unlicence", "unlicense"),
)
"""Names that are the whole text, and their identifiers; a text with more words may state more conditions."""
RESTRICTIONS = re.compile(r"commerc|\bnc\b|deriv|\bnd\b|research|academic|evaluation|personal|clause|商業|學術|研究")
"""Words next to the name of a family that may restrict it further."""


def identifier(licence: str) -> str:
    """The identifier of a licence in a usual spelling; another text in lower case.

    Example:
        >>> identifier("GNU AGPL v3"), identifier("GPL-2.0-only"), identifier("Apache License 2.0"), identifier("MIT")
        ('agpl-3.0', 'gpl-2.0', 'apache-2.0', 'mit')
        >>> identifier("CC BY-NC 4.0"), identifier("my own terms")
        ('cc-by-nc-4.0', 'my own terms')
    """
    lower = _lower(licence)
    if lower in IDENTIFIERS:
        return lower
    text = _words(lower)
    if found := next((_versioned(name, rest) for name, rest in _families(text)), None):
        return found
    plain = " ".join(re.sub(r"\b(the|licen[cs]ed?|version)\b|\bv(?=\d)", " ", text).split())
    dashed = re.sub(r"^(creative commons|cc) (attribution|by)\b", "cc by", plain).replace(" ", "-")
    named = next((name for pattern, name in NAMES if re.fullmatch(pattern, plain)), dashed)
    return named if named in IDENTIFIERS else lower


def _lower(licence: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", licence).lower().split())


def _words(text: str) -> str:
    return " ".join(re.sub(r"[^\w.+]+|_", " ", text).split())


def _families(text: str) -> list[tuple[str, str]]:
    """The families that a text of words names, each with the text up to the next one."""
    marks: list[re.Match[str]] = []
    for mark in FAMILIES.finditer(text):
        if mark.lastgroup != "part" or not marks or marks[-1].lastgroup not in ("cc", "part"):
            marks.append(mark)
    ends = [*(mark.start() for mark in marks[1:]), len(text)][: len(marks)]
    found = []
    for mark, end in zip(marks, ends, strict=True):
        rest = text[mark.start() : end]
        parts = [short for short, pattern in CC_PARTS.items() if re.search(pattern, rest)]
        if mark.lastgroup not in ("cc", "part"):
            found.append((mark.lastgroup or "", rest))
        elif parts:
            found.append(("-".join(["cc", "by", *parts]), rest))
    return found


def _versioned(family: str, text: str) -> str:
    """A family with the first version that the text names after it; without one, what it is usually meant to be."""
    found = VERSION.search(text)
    if found and family != "gfdl":
        return f"{family}-{found[1]}{found[2] or '.0'}"
    return {"agpl": "agpl-3.0"}.get(family, f"{family}-4.0" if family.startswith("cc-") else family)


def hub_identifier(license: str) -> str:
    """The Hub's identifier of a licence that is given as one of the Hub or of SPDX.

    Raises:
        RegardError: it is neither; the error names the nearest.

    Example:
        >>> hub_identifier("Apache-2.0"), hub_identifier("AGPL-3.0-only"), hub_identifier("cc-by-4.0")
        ('apache-2.0', 'agpl-3.0', 'cc-by-4.0')
    """
    name = re.sub(r"^((?:a|l)?gpl-\d\.\d|gfdl)(-1\.\d)?(-only|-or-later|\+)$", r"\1", license.lower())
    name = SPDX.get(name, name)
    if name in IDENTIFIERS:
        return name
    meant = identifier(license)
    raise RegardError(
        f"unknown licence {license!r:.100}",
        expected="an identifier of the Hub or of SPDX, such as apache-2.0, agpl-3.0 or other",
        hint=nearest(meant if meant in IDENTIFIERS else license, IDENTIFIERS),
    )


@dataclass(frozen=True)
class Terms:
    """What weights permit.

    Attributes:
        choices: identifiers that a model may have; None for all.
        is_known: whether all others are certainly excluded.
    """

    choices: frozenset[str] | None = None
    is_known: bool = True

    def __and__(self, other: Terms) -> Terms:
        """Terms of both; two licences that must both be kept have no identifier of the Hub."""
        known = self.is_known and other.is_known
        if self.choices is None or other.choices is None:
            return Terms(other.choices if self.choices is None else self.choices, known)
        return Terms(self.choices & other.choices or frozenset(["other"]), known)

    def __or__(self, other: Terms) -> Terms:
        """Terms of either, by choice."""
        known = self.is_known and other.is_known
        if self.choices is None or other.choices is None:
            return Terms(None, known)
        return Terms(self.choices | other.choices, known)


def terms(licence: str) -> Terms:
    """What a licence permits, in any spelling, or several that are joined by words, marks and brackets.

    Example:
        >>> terms("MIT OR GPL-2.0-only").choices is None
        True
        >>> sorted(terms("GPL-2.0-or-later").choices), sorted(terms("AGPL-3.0 AND CC-BY-NC-4.0").choices)
        (['gpl', 'gpl-2.0', 'gpl-3.0'], ['other'])
    """
    text = _lower(licence)
    while text.startswith("(") and _depths(text).index(0) == len(text) - 1:
        text = text[1:-1].strip()
    if text not in IDENTIFIERS:
        for separator, is_choice in SEPARATORS:
            parts = _split(text, separator)
            if len(parts) > 1:
                first, *rest = map(terms, parts)
                for other in rest:
                    first = first | other if is_choice else first & other
                return first
    return _terms_of_one(text)


SEPARATORS = (
    (re.compile(r"[,;、；&]| \+ "), False),
    (re.compile(r"(?<![\w-])or(?![\w-])(?!\s+(\(?at your option\)?,?\s+)?(any\s+)?(later|newer))|\|+"), True),
    (re.compile(r"(?<![\w-])and(?![\w-])"), False),
)
"""Marks, "or" and "and" between licences, the loosest first; and whether they permit a choice."""


def _depths(text: str) -> list[int]:
    """Number of open brackets after each letter; a text whose brackets do not match has none."""
    depth, found = 0, []
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        found.append(depth)
    return found if depth == 0 and min(found, default=0) >= 0 else [1] * len(text) + [0]


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Parts of a text between separators outside brackets."""
    depths, parts, begin = _depths(text), [], 0
    for mark in separator.finditer(text):
        if depths[mark.start()] == 0:
            parts.append(text[begin : mark.start()])
            begin = mark.end()
    return [part.strip() for part in (*parts, text[begin:]) if part.strip()]


def _terms_of_one(text: str) -> Terms:
    """What one licence permits; a text that names several families must keep all of them."""
    found, words = Terms(), _words(text)
    families = _families(words)
    if text in IDENTIFIERS or not families:
        return _terms_of(SPDX.get(text) or identifier(text))
    for family, rest in families:
        at_least = LATER.search(rest) is not None or (not family.startswith("cc-") and not VERSION.search(rest))
        found &= _terms_of(_versioned(family, rest), at_least=at_least)
    more = FAMILIES.sub(" ", words)
    restricted = RESTRICTIONS.search(more) and not any(family.startswith("cc-") for family, _ in families)
    return found & Terms(frozenset(["other"]), is_known=False) if restricted else found


def _terms_of(name: str, *, at_least: bool = False) -> Terms:
    """What a licence permits that is an identifier, or one of a family; any other text permits only ``other``."""
    if name in PERMISSIVE:
        return Terms()
    if not name:
        return Terms(frozenset(["other"]), is_known=False)
    family, _, version = name.rpartition("-") if re.search(r"-\d\.\d$", name) else (name, "", "")
    later = at_least or not version or family in OPEN_ENDED
    alike = [one for one in IDENTIFIERS if one == family or one.rpartition("-")[0] == family]
    kept = {one for one in alike if one in (name, family) or (later and one.rpartition("-")[2] >= version)}
    if family == "cc-by-nc":  # an adaptation may also ask for the same of others
        kept |= _terms_of(f"cc-by-nc-sa-{version}").choices or set()
    if family == "lgpl":  # its section 3 permits the GPL
        kept |= _terms_of(f"gpl-{'2.0' if version < '3' else version}", at_least=True).choices or set()
    is_known = name in (*SHARE_ALIKE, *RESTRICTED) or family in ("agpl", "gpl", "cc-by-sa", "cc-by-nc-sa", "gfdl")
    return Terms(frozenset(kept or {"other"}), is_known)


def permits(license: str, start_license: str) -> bool | None:
    """Whether a model that started from weights under one licence may be published under another; None if not known.

    Args:
        license: identifier of the Hub.
        start_license: of the weights, in any spelling.

    Example:
        >>> permits("apache-2.0", "MIT"), permits("apache-2.0", "GPLv3"), permits("apache-2.0", "my own terms")
        (True, False, None)
    """
    found = terms(start_license)
    if found.choices is None or license in found.choices:
        return True
    return False if found.is_known else None


def names_licence(text: str, licence: str) -> bool:
    """Whether a text in any spelling, alone or together with others, names a licence.

    Example:
        >>> names_licence("GNU AGPL v3", "agpl-3.0"), names_licence("MIT and AGPL-3.0", "mit")
        (True, True)
        >>> names_licence("MIT", "agpl-3.0")
        False
    """
    parts = [_lower(text)]
    for separator, _ in SEPARATORS:
        parts += [one for part in parts for one in _split(part, separator)]
    return licence in {*map(identifier, parts), *(terms(text).choices or ())}


def published_licence(name: str) -> str | None:
    """Licence of the published weights of a name, by the table in docs/models.md; None for others.

    Example:
        >>> published_licence("yolov5n6.pt"), published_licence("best.pt")
        ('agpl-3.0', None)
    """
    return "agpl-3.0" if ULTRALYTICS.fullmatch(name.lower()) else None


def check_licences(
    license: str, start: str | None, start_license: str | None, *, from_scratch: bool, permission: bool = False
) -> str:
    """Check what a publisher states.

    Returns:
        The Hub's identifier of the model's licence.

    Raises:
        RegardError: a statement lacks its other part, ``license`` is no identifier, or the licence of the start weights
            is not known to permit that of the model, and no ``permission`` of their owner is stated.
    """
    name = hub_identifier(license)
    if start and from_scratch:
        raise RegardError(f"the model cannot be trained from scratch and from {start}", expected="one of the two")
    if start and not (start_license or "").strip():
        hint = "the weights published by Ultralytics are agpl-3.0"
        raise RegardError(f"the licence of {start} is not given", expected="start_license", hint=hint)
    if start_license and not start:
        raise RegardError("start_license has no effect without start", expected="start, the weights that have it")
    if permission and not start:
        raise RegardError("permission has no effect without start", expected="start, the weights")
    if start_license and not permission and not permits(name, start_license):
        found = terms(start_license)
        what = f"a model that started from weights under {start_license} cannot be published under {name}"
        if not found.is_known:
            what = f"weights under {start_license} are not known to permit a model under {name}"
        choices = " or ".join(sorted(found.choices or ()))
        raise RegardError(what, expected=f"license: {choices}", hint=PERMISSION)
    return name
