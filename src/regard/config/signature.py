"""Settings as keyword arguments: for ``inspect.signature``, ``help`` and type checkers.

`accepts` puts the fields of a settings class into the signature and the docstring of a function that takes
``**settings``. Type checkers read `regard.config.keywords` instead, which docs/make_settings.py writes from the same
fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic.fields import FieldInfo

from regard.config.base import Settings, default_text, describe_field, fields_of
from regard.config.recipe import Recipe

F = TypeVar("F", bound=Callable[..., Any])

MARK = "settings:"
"""Start of the docstring line that the descriptions of the fields replace."""


def accepts(kind: type[Settings]) -> Callable[[F], F]:
    """Show the fields of ``kind`` as keyword arguments of a function, instead of its ``**settings``."""

    def show(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        taken = {parameter.name for parameter in own}
        fields = {name: field for name, field in fields_of(kind).items() if name not in taken}
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.is_required() else field.default,
                annotation=keyword_type(field.annotation),
            )
            for name, field in fields.items()
        ]
        function.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        function.__doc__ = _documented(function.__doc__ or "", fields)
        return function

    return show


def _documented(doc: str, fields: dict[str, FieldInfo]) -> str:
    lines = []
    for line in doc.splitlines():
        text = line.lstrip()
        indent = line[: len(line) - len(text)]
        about = [f"{indent}{name}: {describe_field(field, default_text(field))}" for name, field in fields.items()]
        lines += about if text.startswith(MARK) else [line]
    return "\n".join(lines)


def keyword_type(annotation: Any) -> str:
    """Write the type that a caller may pass for a field: any sequence for a tuple, text for a path or a recipe."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return keyword_type(arguments[0])
    if origin is tuple:
        return f"Sequence[{'str | int' if arguments[0] is str else keyword_type(arguments[0])}]"
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]".replace("'", '"')
    if arguments and origin is not dict:  # a union
        return " | ".join(keyword_type(kind) for kind in arguments)
    names = {Path: "str | Path", Recipe: "str | Path | Recipe", type(None): "None"}
    return names.get(annotation) or (str(annotation) if arguments else annotation.__name__)
