"""Licences: their spellings, and what a model that started from other weights may be published under."""

from __future__ import annotations

import pytest

import regard
from regard.errors import RegardError
from regard.publish.card import model_card
from regard.publish.licences import IDENTIFIERS, PERMISSIVE, check_licences, hub_identifier, identifier, permits, terms


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
        ("agpl-3.0", "AGPL-3.0 and CC-BY-NC-4.0", "other"),
        ("agpl-3.0", "AGPL-3.0, CC BY-NC 4.0", "other"),
        ("mit", "(MIT OR Apache-2.0) AND GPL-3.0-only", "gpl-3.0"),
        ("gpl-3.0", "GPL-2.0-only", "gpl-2.0"),
        ("apache-2.0", "ODbL-1.0", "odbl"),
        ("apache-2.0", "CC BY 4.0 and CC BY-SA 4.0", "cc-by-sa-4.0"),
        ("apache-2.0", "CC BY-NC", "cc-by-nc-4.0"),
        ("apache-2.0", "cc-by-sa-2.0", "cc-by-sa-3.0"),
        ("mit", "cdla-sharing-1.0", "cdla-sharing-1.0"),
        ("mit", "AGPL 1.0", "other"),
    ],
)
def test_copyleft_and_restricted_licences_are_kept(license: str, started: str, needed: str) -> None:
    with pytest.raises(RegardError, match=rf"cannot be published(.|\n)*license: .*{needed}\b(.|\n)*permission"):
        check_licences(license, "x.pt", started, from_scratch=False)
    assert check_licences(needed, "x.pt", started, from_scratch=False) == needed


UNKNOWN = (
    *("unknown", "other", "lgpl-3.0", "openrail", "my own", "G.P.L.", "EUPL-1.2", "CeCILL-2.1", "SSPL-1.0", "academic"),
    *("Open Database License v1.0", "Open Software License 3.0", "not for commercial use", "commercial use prohibited"),
    *(
        "非商業使用",
        "research use only",
        "MIT with no commercial use",
        "MIT, trained on non-commercial data",
        "((",
    ),
    *("AGPL-3.0 or Enterprise", "AGPL-3.0 with Commons Clause", "MIT or GPL, non-commercial"),
)


@pytest.mark.parametrize("started", UNKNOWN)
def test_a_licence_that_is_not_known_to_permit_another_needs_a_statement(started: str) -> None:
    with pytest.raises(RegardError, match=r"not known to permit(.|\n)*permission=True \(--permission\)"):
        check_licences("apache-2.0", "x.pt", started, from_scratch=False)
    assert check_licences("apache-2.0", "x.pt", started, from_scratch=False, permission=True) == "apache-2.0"


def test_a_permission_without_weights_has_no_effect() -> None:
    with pytest.raises(RegardError, match="no effect without start"):
        check_licences("mit", None, None, from_scratch=True, permission=True)


@pytest.mark.parametrize(
    ("license", "started"),
    [
        *(("Apache-2.0", "MIT License"), ("gpl-2.0", "GNU GPL"), ("cc-by-sa-4.0", "cc-by-sa-3.0"), ("other", "my own")),
        *(("gpl-3.0", "GPL-2.0-or-later"), ("gpl-3.0", "GPLv2+"), ("GPL-3.0-or-later", "GPL v2 or any later version")),
        *(("mit", "MIT or GPL-2.0"), ("gpl", "gpl-3.0"), ("agpl-3.0", "AGPL-3.0 or Enterprise"), ("mit", "0BSD")),
        *(("gpl-3.0", "LGPL-2.1"), ("cc-by-nc-sa-4.0", "cc-by-nc-4.0"), ("ODbL-1.0", "odbl"), ("eupl-1.2", "EUPL-1.1")),
        *(("mit", "MIT OR GPL-2.0 AND CC-BY-NC-4.0"), ("cc-by-nc-4.0", "(MIT OR GPL-2.0) AND CC-BY-NC-4.0")),
    ],
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


def test_terms_of_a_text_without_a_licence_permit_nothing_else() -> None:
    for text in ("", " ", ",", "or", "()"):
        assert terms(text).choices == {"other"}


def test_the_card_names_the_start_weights_as_a_whole_and_states_a_permission() -> None:
    model = regard.load("odd-one-out")
    model.origin = "yolov5n.pt"
    licences = {"license": "apache-2.0", "start_license": "my own"}
    for other in ("yolov5n6.pt", "my-yolov5n", None):
        with pytest.raises(RegardError, match=r"start='yolov5n\.pt'"):
            model_card(model, "me/x", start=other, permission=True, **licences)
    stated = "Start weights: YOLOv5N.pt of v7.0, licence my own. yolov5n.pt was published under agpl-3.0. The publisher"
    assert stated in model_card(model, "me/x", start="YOLOv5N.pt of v7.0", permission=True, **licences)
