"""The server answers in the language of the page."""

from __future__ import annotations

import re
from typing import Any

CHINESE = {"accept-language": "zh-Hant-TW"}


def test_errors_and_help_texts_are_in_the_language_of_the_page(studio: Any) -> None:
    studio.post("open", source="odd-one-out")

    def ask(path: str, language: dict[str, str], **question: Any) -> Any:
        headers = {**studio.headers, **language}
        if question:
            return studio.client.post(f"/api/{path}", headers=headers, json=question).json()
        return studio.client.get(f"/api/{path}", headers=headers).json()

    for path, question in (
        ("open", {"source": "../x"}),
        ("edit", {"kind": "insert", "layer": "nowhere", "module": "SE"}),
        ("edit", {"kind": "insert", "layer": "p4", "module": "Nothing"}),
        ("train", {"name": "a", "settings": {"epochs": 0}, "data": "synthetic:context"}),
        ("data/open", {"data": "nowhere"}),
    ):
        english, chinese = (ask(path, language, **question)["what"] for language in ({}, CHINESE))
        assert not re.search("[⺀-鿿]", english)
        assert re.search("[⺀-鿿]", chinese), english
    for path in ("settings/train", "settings/study"):
        fields = ask(path, CHINESE)
        assert all(re.search("[⺀-鿿]", field["help"]) for field in fields)
        assert [field["name"] for field in fields] == [field["name"] for field in ask(path, {})]
