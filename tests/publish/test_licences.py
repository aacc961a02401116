"""Licences: their spellings, and what a model that started from other weights may be published under."""

from __future__ import annotations

import pytest

from regard.errors import RegardError, RegardWarning
from regard.publish.licences import IDENTIFIERS, PERMISSIVE, check_licences, hub_identifier, identifier, permits


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_an_identifier_is_itself_in_any_case(name: str) -> None:
    assert identifier(name) == hub_identifier(name.upper()) == name
    assert permits(name, name)
    assert IDENTIFIERS.count(name) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((text, "agpl-3.0") for text in ("GNU AGPL v3", "Affero GPL", "agpl3", "AGPL-3.0-only", "\uff41gpl-3.0")),
        ("GNU Affero General Public License v3.0", "agpl-3.0"),
        ("AGPL-3.0 or Enterprise", "agpl-3.0"),
        ("GPLv3", "gpl-3.0"),
        ("GPL-2.0-or-later", "gpl-2.0"),
        ("MIT and GPL", "gpl"),
        ("GNU Lesser GPL 2.1", "lgpl-2.1"),
        ("GNU Free Documentation License 1.3", "gfdl"),
        ("CC BY-SA", "cc-by-sa-4.0"),
        ("Creative Commons Attribution-NonCommercial 4.0", "cc-by-nc-4.0"),
        ("apache-2.0 (code), cc-by-nc-4.0 (weights)", "cc-by-nc-4.0"),
        *((text, "apache-2.0") for text in ("Apache License, Version 2.0", "Apache2", "ASL 2.0")),
        *((text, "mit") for text in ("The MIT License (MIT)", "MIT-licensed")),
        ("New BSD License", "bsd-3-clause"),
        ("Creative Commons Attribution 4.0 International", "cc-by-4.0"),
        ("Academic Free License only for research use", "academic free license only for research use"),
        ("MIT with no commercial use", "mit with no commercial use"),
    ],
)
def test_usual_spellings(text: str, name: str) -> None:
    assert identifier(text) == name


@pytest.mark.parametrize(
    ("license", "started", "needed"),
    [
        ("apache-2.0", "GNU AGPL v3", "agpl-3.0"),
        ("apache-2.0", "Affero GPL", "agpl-3.0"),
        ("agpl-3.0", "gpl-3.0", "gpl-3.0"),
        ("apache-2.0", "CC BY-NC", "cc-by-nc-4.0"),
        ("apache-2.0", "cc-by-sa-2.0", "cc-by-sa-3.0"),
        ("mit", "cdla-sharing-1.0", "cdla-sharing-1.0"),
        ("mit", "research use only", "other"),
        ("mit", "AGPL 1.0", "other"),
    ],
)
def test_copyleft_and_restricted_licences_are_kept(license: str, started: str, needed: str) -> None:
    with pytest.raises(RegardError, match=rf"{needed}\b.*permission"):
        check_licences(license, "x.pt", started, from_scratch=False)
    assert check_licences(needed, "x.pt", started, from_scratch=False) == needed


@pytest.mark.parametrize("started", ["unknown", "other", "lgpl-3.0", "openrail", "my own", "G.P.L."])
def test_a_licence_that_is_not_known_to_permit_another_is_warned_of(started: str) -> None:
    with pytest.warns(RegardWarning, match="is not checked"):
        check_licences("apache-2.0", "x.pt", started, from_scratch=False)


@pytest.mark.parametrize(
    ("license", "started"),
    [("Apache-2.0", "MIT License"), ("gpl-2.0", "GNU GPL"), ("cc-by-sa-4.0", "cc-by-sa-3.0"), ("other", "my own")],
)
def test_what_is_permitted_is_silent(license: str, started: str) -> None:
    check_licences(license, "x.pt", started, from_scratch=False)  # warnings are errors


def test_no_copyleft_or_restricted_licence_counts_as_permissive() -> None:
    assert not [name for name in PERMISSIVE if any(part in name for part in ("gpl", "-sa", "-nc", "-nd"))]


@pytest.mark.parametrize(
    ("license", "nearest"),
    [
        ("apache2", "apache-2.0"),
        ("Apache License 2.0", "apache-2.0"),
        ("GNU AGPL v3", "agpl-3.0"),
        ("agpl-1.0", "agpl"),
    ],
)
def test_a_licence_that_is_no_identifier_is_rejected_with_the_nearest(license: str, nearest: str) -> None:
    with pytest.raises(RegardError, match=f"identifier of the Hub(.|\n)*did you mean '{nearest}"):
        hub_identifier(license)


@pytest.mark.parametrize("license", ["", "x", "mit\n\n# <script>", "mit "])
def test_no_other_text_becomes_a_licence(license: str) -> None:
    with pytest.raises(RegardError, match="unknown licence"):
        check_licences(license, None, None, from_scratch=True)


def test_a_blank_start_licence_is_none() -> None:
    with pytest.raises(RegardError, match="is not given"):
        check_licences("mit", "x.pt", " ", from_scratch=False)
