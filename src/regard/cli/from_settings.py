"""Command-line options made from settings: names, types, defaults and help texts all come from the fields.

A command takes the fields of a settings class by `with_settings`::

    @with_settings(settings=TrainSettings)
    def train(model: Model, *, settings: Given) -> None:
        run = TrainSettings(**settings)

``settings`` then holds only what the user gave, so that a file may supply the rest.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import typer
from pydantic.fields import FieldInfo

from regard.config.base import Settings, default_text, describe_field, fields_of, option_of, without_none

Given: TypeAlias = Mapping[str, Any]
"""What the user gave for a group of settings, by field."""
Parser: TypeAlias = Callable[[Any], Any]
Command: TypeAlias = Callable[..., None]

SCALARS = (int, float, bool, str, Path)


def with_settings(
    *, without: tuple[str, ...] = (), parsers: Mapping[str, Parser] | None = None, **groups: type[Settings]
) -> Callable[[Command], Command]:
    """Give a command one option per field, instead of its parameters that are named in ``groups``.

    Args:
        without: fields that get no option.
        parsers: by field, what turns the text of an option (a list of texts where it may be repeated) into a value.
        groups: by parameter of the command, the settings class; the parameter receives a `Given`.
    """
    own_parsers = parsers or {}

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        parameters: list[inspect.Parameter] = []
        owner: dict[str, tuple[str, str]] = {}
        old: dict[str, list[str]] = {}
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name not in groups:
                parameters.append(parameter.replace(annotation=hints[parameter.name]))
                continue
            for name, field in fields_of(groups[parameter.name]).items():
                if name not in without:
                    parameters.append(_parameter(name, field, name in own_parsers))
                    owner[name] = (parameter.name, name)
                    for flag in option_of(field).old:
                        old.setdefault(flag, []).append(name)
        fields = {name: field for kind in groups.values() for name, field in fields_of(kind).items()}
        parameters += [_old_parameter(flag, fields[names[0]]) for flag, names in old.items()]

        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            given: dict[str, dict[str, Any]] = {group: {} for group in groups}
            for flag, names in old.items():
                value = arguments.pop(_old_name(flag))
                if value is not None:
                    now = ", ".join(f"--{name.replace('_', '-')}" for name in names)
                    warnings.warn(f"{flag} is now called {now}", DeprecationWarning, stacklevel=1)
                    arguments |= {name: value for name in names if arguments[name] is None}
            for name, (group, field) in owner.items():
                value = arguments.pop(name)
                if value is not None:
                    parse = own_parsers.get(name) or _parser(fields[name])
                    given[group][field] = parse(value)
            command(**arguments, **given)

        ordered = sorted(parameters, key=lambda p: p.default is not p.empty)
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [p.replace(kind=p.KEYWORD_ONLY) for p in ordered]
        )
        run.__annotations__ = {p.name: p.annotation for p in ordered}
        return run

    return decorate


def flags_of(name: str, field: FieldInfo) -> list[str]:
    """List the spellings of a field's option."""
    flags = list(option_of(field).flags) or [f"--{name.replace('_', '-')}"]
    if without_none(field.annotation) is bool and field.default is not False:
        flags[0] += f"/--no-{flags[0].removeprefix('--')}"
    return flags


def help_of(field: FieldInfo) -> str:
    """Write the help text of a field's option: its description, the numbers that it accepts, and its default."""
    default = default_text(field)
    if without_none(field.annotation) is bool:
        default = "on" if field.default is True else ""
    text = describe_field(field, default, choices=False)  # typer lists the choices
    return text.replace("[", "\\[") + (" May be given several times." if option_of(field).repeat else "")


def _parameter(name: str, field: FieldInfo, has_parser: bool) -> inspect.Parameter:
    option = typer.Option(*flags_of(name, field), help=help_of(field), show_default=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_text_type(field, has_parser) | None, option],
    )


def _old_name(flag: str) -> str:
    return "old_" + flag.removeprefix("--").replace("-", "_")


def _old_parameter(flag: str, field: FieldInfo) -> inspect.Parameter:
    is_flag = without_none(field.annotation) is bool
    spelled = f"{flag}/--no-{flag.removeprefix('--')}" if is_flag else flag
    annotation: Any = Annotated[_text_type(field, False) | None, typer.Option(spelled, hidden=True)]
    return inspect.Parameter(_old_name(flag), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _text_type(field: FieldInfo, has_parser: bool) -> Any:
    """Choose the type that typer parses: the field's own where it is simple, else text."""
    kind = without_none(field.annotation)
    if option_of(field).repeat:
        return list[str]
    if not has_parser and (kind in SCALARS or get_origin(kind) is Literal):
        return kind
    return str


def _parser(field: FieldInfo) -> Parser:
    """Choose what turns the value of an option into the value of its field."""
    kind = without_none(field.annotation)
    if get_origin(kind) is tuple and not option_of(field).repeat:
        item = get_args(kind)[0]
        return lambda text: tuple(item(part) for part in text.replace(",", " ").split())
    return lambda value: value
