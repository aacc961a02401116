"""Command-line options made from settings: names, types, defaults and help texts all come from the fields.

A command takes the fields of a settings class by `with_settings`::

    @with_settings(settings=TrainSettings)
    def train(model: Model, *, settings: Given) -> None:
        run = TrainSettings(**settings)

``settings`` then contains only what the user gave, so that a file may supply the other values.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from gettext import gettext as _
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import typer
from pydantic.fields import FieldInfo

from regard.config.base import Settings, default_text, describe_field, fields_of, option_of, without_none
from regard.config.form import flags_of
from regard.errors import RegardDeprecationWarning, warn

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

    def decorate(command: Command) -> Command:
        options = _Options(groups, without, parsers or {})

        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            given = {group: options.take(group, arguments) for group in groups}
            command(**arguments, **given)

        parameters = sorted(options.parameters(command), key=lambda p: p.default is not p.empty)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


class _Options:
    """The options of one command."""

    def __init__(
        self, groups: Mapping[str, type[Settings]], without: Sequence[str], parsers: Mapping[str, Parser]
    ) -> None:
        self.parsers = parsers
        self.fields = {
            group: {name: field for name, field in fields_of(kind).items() if name not in without}
            for group, kind in groups.items()
        }

    def parameters(self, command: Command) -> Iterator[inspect.Parameter]:
        """Yield the command's own parameters, the options in the place of each group, and the former options."""
        hints = get_type_hints(command, include_extras=True)
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name in self.fields:
                for name, field in self.fields[parameter.name].items():
                    yield _parameter(name, field, name in self.parsers)
            else:
                yield parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY)
        for fields in self.fields.values():
            for flag, names in _former(fields).items():
                yield _former_parameter(flag, fields[names[0]])

    def take(self, group: str, arguments: dict[str, Any]) -> Given:
        """Remove the options of a group from the arguments of a call, and parse those that the user gave."""
        fields = self.fields[group]
        for flag, names in _former(fields).items():
            value = arguments.pop(_former_name(flag))
            if value is not None:
                now = ", ".join(f"--{name.replace('_', '-')}" for name in names)
                warn(f"{flag} is now called {now}", RegardDeprecationWarning)
                arguments |= {name: value for name in names if arguments[name] is None}
        values = {name: arguments.pop(name) for name in fields}
        return {
            name: (self.parsers.get(name) or _parser(fields[name]))(value)
            for name, value in values.items()
            if value is not None
        }


def _former(fields: Mapping[str, FieldInfo]) -> dict[str, list[str]]:
    """List the former options, each with the fields that it sets."""
    found: dict[str, list[str]] = {}
    for name, field in fields.items():
        for flag in option_of(field).old:
            found.setdefault(flag, []).append(name)
    return found


def help_of(field: FieldInfo) -> str:
    """Write the help text of a field's option: its description, the numbers that it accepts, and its default."""
    default = default_text(field)
    if without_none(field.annotation) is bool:
        default = _("on") if field.default is True else ""
    text = describe_field(field, default, choices=False, words=_)  # typer lists the choices
    return _("{0} May be given several times.").format(text) if option_of(field).repeat else text


def _parameter(name: str, field: FieldInfo, has_parser: bool) -> inspect.Parameter:
    option = typer.Option(*flags_of(name, field), help=help_of(field), show_default=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_text_type(field, has_parser) | None, option],
    )


def _former_name(flag: str) -> str:
    return "former_" + flag.removeprefix("--").replace("-", "_")


def _former_parameter(flag: str, field: FieldInfo) -> inspect.Parameter:
    is_flag = without_none(field.annotation) is bool
    spelled = f"{flag}/--no-{flag.removeprefix('--')}" if is_flag else flag
    annotation: Any = Annotated[_text_type(field, False) | None, typer.Option(spelled, hidden=True)]
    return inspect.Parameter(_former_name(flag), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


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
