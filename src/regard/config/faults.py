"""Pydantic's validation errors in the words of this project: what was found where, what is expected, the nearest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from regard.errors import RegardError, nearest, one_of

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "int": "a whole number",
        "float": "a number",
        "finite_number": "a finite number",
        "bool": "true or false",
        "string": "a word",
        "path": "a path",
        "none_required": "nothing",
        "tuple": "a list",
        "list": "a list",
        "set": "a list",
        "frozen_set": "a list",
        "iterable": "a list",
        "sequence": "a list",
        "dict": "a mapping",
        "mapping": "a mapping",
        "model": "a mapping",
        "json": "valid JSON",
        "callable": "a function",
        "missing": "a value",
        "extra_forbidden": "the name of a field",
    }
)
"""What is expected, by the beginning of an error's type: "int_type", "int_parsing", "int_from_float", ..."""

BOUNDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = MappingProxyType(
    {
        "greater_than_equal": lambda ctx: f"at least {_plain(ctx['ge'])}",
        "greater_than": lambda ctx: f"above {_plain(ctx['gt'])}",
        "less_than_equal": lambda ctx: f"at most {_plain(ctx['le'])}",
        "less_than": lambda ctx: f"below {_plain(ctx['lt'])}",
        "multiple_of": lambda ctx: f"a multiple of {ctx['multiple_of']}",
        "too_short": lambda ctx: f"at least {ctx['min_length']} values",
        "too_long": lambda ctx: f"at most {ctx['max_length']} values",
        "string_too_short": lambda ctx: f"at least {ctx['min_length']} characters",
        "string_too_long": lambda ctx: f"at most {ctx['max_length']} characters",
        "string_pattern_mismatch": lambda ctx: f"a word of the form {ctx['pattern']}",
        "literal_error": lambda ctx: one_of(_choices(ctx)),
        "value_error": lambda ctx: str(ctx["error"]),
        "assertion_error": lambda ctx: str(ctx["error"]),
        "is_instance_of": lambda ctx: "a list" if ctx["class"] == "Sequence" else f"a {ctx['class']}",
    }
)
"""What is expected where that depends on the field, by an error's type and from its context."""


@dataclass(frozen=True)
class Fault:
    """The first error of a value that was validated.

    Attributes:
        place: name of the field, with positions and keys inside it; () where the values do not fit together.
        found: what it is: "is 7", "is missing", "is unknown".
        expected: what it should be.
        hint: the nearest valid choice, if there is one.
    """

    place: tuple[str | int, ...]
    found: str
    expected: str
    hint: str | None

    @property
    def what(self) -> str:
        """Place and value in one sentence."""
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.place).lstrip(".")
        return f"{name[:100] or 'the value'} {self.found}"

    def error(self, file: Path | None = None) -> RegardError:
        """Make the error that the user sees."""
        if not self.place:  # found by a validator of all values, which says it in its own words
            return RegardError(self.expected, file=file)
        return RegardError(self.what, file=file, expected=self.expected or None, hint=self.hint)


def first_fault(error: ValidationError, model: type[BaseModel] | None = None) -> Fault:
    """Describe the first error; where a value may be of several types, all of them are expected.

    Args:
        error: what pydantic raised.
        model: what was validated; the nearest name of its fields is suggested for an unknown one, however deep.

    Example:
        >>> from pydantic import TypeAdapter
        >>> try:
        ...     TypeAdapter(list[int]).validate_python([3, "few"])
        ... except ValidationError as error:
        ...     print(first_fault(error).error())
        [1] is 'few'
          expected: a whole number
    """
    errors = error.errors(include_url=False)
    first = errors[0]
    if isinstance(first["input"], Mapping):  # of the members of a union the one that is a group
        start = first["loc"][:-1]
        first = next((e for e in errors if len(e["loc"]) > len(start) + 1 and e["loc"][: len(start)] == start), first)
    place, depth = first["loc"], len(first["loc"]) - 1
    # The members of a union are named after the place that they share.
    same = [e for e in errors if e["input"] is first["input"] and e["loc"][:depth] == place[:depth]]
    if len(same) > 1 and place:
        place = place[:depth]
    kind = first["type"]
    value = "is empty" if first["input"] in ((), [], {}) else f"is {first['input']!r:.200}"
    found = {"missing": "is missing", "extra_forbidden": "is unknown"}.get(kind, value)
    hint = nearest(first["input"], _choices(first["ctx"])) if kind == "literal_error" else None
    if kind == "extra_forbidden" and (group := _group_at(model, place[:-1])):
        hint = nearest(place[-1], group.model_fields)
    place = tuple(part for part in place if not str(part)[:1].isupper())  # classes of a union
    return Fault(place, found, " or ".join(dict.fromkeys(filter(None, map(expected, same)))), hint)


def _group_at(model: Any, place: Iterable[str | int]) -> type[BaseModel] | None:
    """Find the group of settings at a place within a model; None where there is none."""
    for part in place:
        fields = model.model_fields if _is_group(model) else {}
        inside = fields[part].annotation if part in fields else model
        model = next(filter(_is_group, (inside, *get_args(inside))), inside)
    return model if _is_group(model) else None


def _is_group(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def expected(fault: Mapping[str, Any]) -> str:
    """Describe what one of pydantic's errors expects, from its type and context; "" where nothing is."""
    kind: str = fault["type"]
    if kind in BOUNDS:
        return BOUNDS[kind](fault.get("ctx", {}))
    return next((words for start, words in KINDS.items() if kind.startswith(start)), "")


def _plain(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _choices(context: Mapping[str, Any]) -> list[str]:
    """The choices of a literal, which pydantic lists as ``'a', 'b' or 'c'``."""
    return [a or b for a, b in re.findall(r"'([^']*)'|(\b\d+\b)", context["expected"])]
