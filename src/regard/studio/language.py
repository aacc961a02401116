"""The language of the page, in which the server answers what is shown as text."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from regard.system.translation import translate_into


def words_of(request: Request) -> Callable[[str], str]:
    """What translates texts into the language that a request prefers."""
    preferred = request.headers.get("accept-language", "").lower()
    return partial(translate_into, language="zh-TW" if preferred.startswith("zh") else "en")


Words: TypeAlias = Annotated[Callable[[str], str], Depends(words_of)]
