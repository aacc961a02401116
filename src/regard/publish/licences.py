"""Licences: their identifiers in any usual spelling, and whether those of a model and of its start weights agree."""

from __future__ import annotations

import re
import warnings

from regard.errors import RegardError, RegardWarning, nearest

PERMISSIVE = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "unlicense", "cc0-1.0", "0bsd", "bsl-1.0"),
    *("cc-by-4.0", "cc-by-3.0", "cc-by-2.0", "afl-3.0", "wtfpl", "pddl", "odc-by", "cdla-permissive-2.0"),
)
"""Licences under which a derived model may be published under another one, as identifiers of the Hub."""
SHARE_ALIKE = ("agpl-3.0", "gpl-3.0", "gpl-2.0", "cc-by-sa-4.0", "cc-by-sa-3.0", "cc-by-nc-sa-4.0", "odbl")
"""Licences that a derived model must have, too."""
OTHERS = (
    *("lgpl-3.0", "lgpl-2.1", "mpl-2.0", "epl-2.0", "eupl-1.2", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0"),
    *("openrail", "bigscience-openrail-m", "creativeml-openrail-m", "openrail++", "unknown", "other"),
)
"""Licences with conditions that nobody checks here."""
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
FAMILIES = (
    (r"affero|agpl", "agpl", "3.0"),
    (r"lesser.general|lgpl", "lgpl", "3.0"),
    (r"general.public|\bgpl|gnu", "gpl", "3.0"),
)
"""How families are written, their short name, and the version where none is stated."""


def identifier(licence: str) -> str:
    """The identifier of a licence in a usual spelling; another text in lower case.

    Example:
        >>> identifier("GNU AGPL v3"), identifier("GPL-2.0-only"), identifier("Apache License 2.0"), identifier("MIT")
        ('agpl-3.0', 'gpl-2.0', 'apache-2.0', 'mit')
    """
    text = re.sub(r"[\s_,]+", " ", licence.strip().lower())
    for pattern, family, usual in FAMILIES:
        if re.search(pattern, text):
            version = re.search(r"\d(\.\d)?", text)
            number = version[0] if version else usual
            return f"{family}-{number if '.' in number else f'{number}.0'}"
    plain = re.sub(r"\b(the|licen[cs]e|version)\b|\bv(?=\d)", " ", text)
    return re.sub(r"(?<=apache-2)$", ".0", "-".join(plain.split()))


def check_licences(license: str, start: str | None, start_license: str | None, *, from_scratch: bool) -> None:
    """Check what a publisher states; it warns of start weights whose licence is not known to permit another one.

    Raises:
        RegardError: a statement lacks its other part, ``license`` is no identifier of the Hub, or the licence of the
            start weights requires that of the model.
    """
    if not IDENTIFIER.fullmatch(license):
        known = (*PERMISSIVE, *SHARE_ALIKE, *OTHERS)
        near = identifier(license) if identifier(license) in known else nearest(license, known)
        raise RegardError(
            f"license {license!r:.100}", expected="an identifier of the Hub, such as apache-2.0", hint=near
        )
    if start and from_scratch:
        raise RegardError(f"the model cannot be trained from scratch and from {start}", expected="one of the two")
    if start and not start_license:
        hint = "the weights published by Ultralytics are agpl-3.0"
        raise RegardError(f"the licence of {start} is not given", expected="start_license", hint=hint)
    if start_license and not start:
        raise RegardError("start_license has no effect without start", expected="start, the weights that have it")
    if start_license:
        _check_derived(license, start_license)


def _check_derived(license: str, start_license: str) -> None:
    needed = identifier(start_license)
    if needed in (license, identifier(license)) or needed in PERMISSIVE:
        return
    what = f"a model that started from weights under {start_license} cannot be published under {license}"
    if needed in SHARE_ALIKE or needed.startswith(("agpl", "gpl")):
        raise RegardError(what, expected=f"license={needed!r}")
    if re.search(r"(^|-)n[cd](-|$)|noncommercial|non-commercial|no-?deriv", needed):
        raise RegardError(what, expected=f"license={needed!r}, or the permission of their owner")
    doubt = f"whether weights under {start_license} may become a model under {license} is not checked"
    warnings.warn(doubt, RegardWarning, stacklevel=4)
