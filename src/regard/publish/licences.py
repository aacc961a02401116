"""Licences: their identifiers in any usual spelling, and whether that of start weights permits that of a model."""

from __future__ import annotations

import re
import unicodedata
import warnings

from regard.errors import RegardError, RegardWarning, nearest

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

CONDITIONS = (
    (r"agpl|affero", "agpl-3.0"),
    (r"lgpl|\b(lesser|library) (gpl|general public)", "lgpl"),
    (r"gfdl|\bfree documentation\b", "gfdl"),
    (r"gpl|general public", "gpl"),
)
"""Families whose conditions hold wherever a text names them: their spellings, and what they are without a version."""
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
RESTRICTIONS = re.compile(
    r"\bnon ?commercial|\bnc\b|\bno ?deriv|\bnd\b|\b(research|academic|evaluation|personal) (use|purpose|only|licen)"
)
"""Words of a text that permits no commercial use or no derived works."""


def identifier(licence: str) -> str:
    """The identifier of a licence in a usual spelling; another text in lower case.

    Example:
        >>> identifier("GNU AGPL v3"), identifier("GPL-2.0-only"), identifier("Apache License 2.0"), identifier("MIT")
        ('agpl-3.0', 'gpl-2.0', 'apache-2.0', 'mit')
        >>> identifier("CC BY-NC 4.0"), identifier("my own terms")
        ('cc-by-nc-4.0', 'my own terms')
    """
    lower = " ".join(unicodedata.normalize("NFKC", licence).lower().split())
    if lower in IDENTIFIERS:
        return lower
    text = " ".join(re.sub(r"[^\w.+]+|_", " ", lower).split())
    for pattern, family in CONDITIONS:
        if found := re.search(pattern, text):
            return _versioned(family, text[found.start() :])
    if found := re.search(r"\bcc\b|creative commons|\battribution\b|\bby (nc|nd|sa)\b|share ?alike", text):
        parts = {"nc": r"\bnc\b|non ?commercial", "nd": r"\bnd\b|no ?deriv", "sa": r"\bsa\b|share ?alike"}
        conditions = [short for short, pattern in parts.items() if re.search(pattern, text)]
        if conditions:
            return _versioned("-".join(["cc", "by", *conditions, "4.0"]), text[found.start() :])
    plain = " ".join(re.sub(r"\b(the|licen[cs]ed?|version)\b|\bv(?=\d)", " ", text).split())
    dashed = re.sub(r"^(creative commons|cc) (attribution|by)\b", "cc by", plain).replace(" ", "-")
    named = next((name for pattern, name in NAMES if re.fullmatch(pattern, plain)), dashed)
    return named if named in IDENTIFIERS else lower


def _versioned(family: str, text: str) -> str:
    """A family with the first version that the text names after it."""
    found = re.search(r"(?<![\d.])(\d)(\.\d)?(?!\d)", text)
    name = re.sub(r"-\d\.\d$", "", family)
    return f"{name}-{found[1]}{found[2] or '.0'}" if found and name != "gfdl" else family


def hub_identifier(license: str) -> str:
    """The Hub's identifier of a licence that is given as one of the Hub or of SPDX.

    Raises:
        RegardError: it is neither; the error names the nearest.

    Example:
        >>> hub_identifier("Apache-2.0"), hub_identifier("AGPL-3.0-only"), hub_identifier("cc-by-4.0")
        ('apache-2.0', 'agpl-3.0', 'cc-by-4.0')
    """
    name = re.sub(r"^((?:a|l)?gpl-\d\.\d)-(only|or-later)$", r"\1", license.lower())
    if name in IDENTIFIERS:
        return name
    meant = identifier(license)
    raise RegardError(
        f"unknown licence {license!r:.100}",
        expected="an identifier of the Hub or of SPDX, such as apache-2.0, agpl-3.0 or other",
        hint=nearest(meant if meant in IDENTIFIERS else license, IDENTIFIERS),
    )


def permits(license: str, start_license: str) -> bool | None:
    """Whether a model that started from weights under one licence may be published under another; None if not known.

    Args:
        license: identifier of the Hub.
        start_license: of the weights, in any spelling.

    Example:
        >>> permits("apache-2.0", "MIT"), permits("apache-2.0", "GPLv3"), permits("apache-2.0", "my own terms")
        (True, False, None)
    """
    found, choices = identifier(start_license), required(start_license)
    if license in (found, *choices) or found in PERMISSIVE:
        return True
    if choices:
        return False
    return True if license == "other" and found not in IDENTIFIERS else None


def required(start_license: str) -> tuple[str, ...]:
    """The Hub's identifiers that a model may have if its start weights' licence leaves no other choice; else none."""
    found = identifier(start_license)
    family = found.rpartition("-")[0]
    if found == "gpl":
        return tuple(name for name in SHARE_ALIKE if name.startswith("gpl"))
    if family in ("cc-by-sa", "cc-by-nc-sa"):  # a later version is permitted, too
        return tuple(name for name in SHARE_ALIKE if name.rpartition("-")[0] == family and name >= found)
    if found in (*SHARE_ALIKE, *RESTRICTED):
        return (found,)
    is_restricted = found not in IDENTIFIERS and RESTRICTIONS.search(re.sub(r"\W+", " ", found))
    return ("other",) if is_restricted or family in ("agpl", "gpl") else ()  # the Hub has no identifier for it


def check_licences(license: str, start: str | None, start_license: str | None, *, from_scratch: bool) -> str:
    """Check what a publisher states; it warns of start weights whose licence is not known to permit another one.

    Returns:
        The Hub's identifier of the model's licence.

    Raises:
        RegardError: a statement lacks its other part, ``license`` is no identifier, or the licence of the start weights
            requires that of the model.
    """
    name = hub_identifier(license)
    if start and from_scratch:
        raise RegardError(f"the model cannot be trained from scratch and from {start}", expected="one of the two")
    if start and not (start_license or "").strip():
        hint = "the weights published by Ultralytics are agpl-3.0"
        raise RegardError(f"the licence of {start} is not given", expected="start_license", hint=hint)
    if start_license and not start:
        raise RegardError("start_license has no effect without start", expected="start, the weights that have it")
    permitted = permits(name, start_license) if start_license else True
    if start_license and permitted is False:
        what = f"a model that started from weights under {start_license} cannot be published under {name}"
        first, *more = required(start_license)
        expected = f"license={first!r}, or the permission of their owner"
        if more:
            expected = f"license as one of {', '.join((first, *more))}, or the permission of their owner"
        raise RegardError(what, expected=expected)
    if permitted is None:
        doubt = f"whether weights under {start_license} may become a model under {name} is not checked"
        warnings.warn(doubt, RegardWarning, stacklevel=3)
    return name
