"""Whether an option's value is of the type that its layer's constructor states, so that a slip is named as such.

``shortcut: Flase`` is a word to YAML and true to Python; without a check the network would build, and be another one.
"""

from __future__ import annotations

from functools import cache
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from torch import nn

PLAIN = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "a word",
    "a valid tuple": "a list",
    "a valid list": "a list",
    "an instance of Sequence": "a list",
}
"""What pydantic says, in the words of a YAML file."""


def hints_of(layer: type[nn.Module]) -> dict[str, Any]:
    """Return the types that a constructor states, name to type; of torch's own classes none, as they check theirs."""
    if layer.__module__.startswith("torch.nn."):
        return {}
    try:
        return get_type_hints(layer.__init__)
    except Exception:  # annotations of a user's own class may name anything
        return {}


def expected_instead(value: Any, hint: Any) -> str | None:
    """Return what ``hint`` expects where ``value`` is not of that type; None where it is, or no one can tell."""
    try:
        adapter = _adapter(hint)
        adapter.validate_python(value, strict=True)
    except ValidationError as error:
        if isinstance(value, tuple) and expected_instead(list(value), hint) is None:  # ``list[int]``
            return None
        found = (fault["msg"].removeprefix("Input should be ") for fault in error.errors())
        return " or ".join(dict.fromkeys(PLAIN.get(words, words) for words in found))
    except (PydanticUserError, TypeError):  # no type that could be checked, or not hashable
        return None
    return None


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a type that brings its own configuration
        return TypeAdapter(hint)
