"""Settings as keyword arguments: for ``inspect.signature``, ``help`` and type checkers.

`accepts` puts the fields of a settings class into the signature and the docstring of a function that takes
``**settings``. Type checkers read `regard.config.keywords` instead, which docs/make_settings.py writes from the same
fields.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from regard.config.base import Settings, default_text, describe_field, fields_of, option_of
from regard.config.recipe import Recipe
from regard.errors import RegardError, nearest

F = TypeVar("F", bound=Callable[..., Any])

MARK = "settings:"
"""Start of the docstring line that the descriptions of the fields replace."""
COMMAND_LINE: Mapping[str, str] = MappingProxyType({"output": "folder", "callback": "callbacks", "module": "modules"})
"""Arguments by the name of the option that does the same."""
FORMER = ("settings",)
"""Former arguments, which the function itself looks after."""


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

        @functools.wraps(function)
        def call(*arguments: Any, **given: Any) -> Any:
            check_names(kind, [parameter.name for parameter in own], given)
            return function(*arguments, **given)

        call.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        call.__doc__ = _documented(function.__doc__ or "", fields)
        return cast(F, call)

    return show


def check_names(kind: type[Settings], own: Iterable[str], given: Mapping[str, Any]) -> None:
    """Check the names of the keyword arguments of a function that takes the fields of ``kind``.

    Args:
        kind: the settings.
        own: names of the function's other arguments.
        given: the arguments.

    Raises:
        RegardError: an unknown name; what the command line calls so, or the nearest, is suggested.
    """
    known = [*own, *kind.model_fields]
    flags = {flag: name for name, field in kind.model_fields.items() for flag in option_of(field).flags}
    for name in given:
        if name in known or name in kind.renamed or name in FORMER:
            continue
        meant = flags.get("--" + name.replace("_", "-")) or COMMAND_LINE.get(name)
        hint = f"did you mean {meant!r}?" if meant in known else nearest(name, known)
        raise RegardError(f"unknown argument {name!r}", expected=", ".join(known), hint=hint)


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
