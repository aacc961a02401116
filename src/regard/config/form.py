"""Settings as the fields of a form, and as the words of a command line: names, bounds, defaults and help texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from regard.config.base import Settings, default_text, describe_field, fields_of, option_of, without_none
from regard.errors import RegardError

FieldKind = Literal["integer", "number", "flag", "choice", "text", "list", "lines"]

KINDS: Mapping[Any, FieldKind] = {int: "integer", float: "number", bool: "flag", dict: "lines"}


@dataclass(frozen=True)
class FormField:
    """A setting as a field of a form.

    Attributes:
        name: as in Python.
        flag: its option on the command line.
        kind: of its value; ``list`` for values separated by commas, ``lines`` for one value per line.
        default: as a user would type it; "" where there is none.
        choices: valid values, for ``choice``.
        low: smallest valid number, None without one.
        high: largest valid number, None without one.
        help: what it is, in one sentence with its bounds.
        required: whether it has no default.
    """

    name: str
    flag: str
    kind: FieldKind
    default: str
    choices: tuple[str, ...]
    low: float | None
    high: float | None
    help: str
    required: bool


def form_of(kind: type[Settings], without: tuple[str, ...] = (), words: Callable[[str], str] = str) -> list[FormField]:
    """Describe a group of settings as a form.

    Args:
        kind: the group.
        without: names of fields that are left out.
        words: translates the help texts.

    Example:
        >>> from regard.config import TrainSettings
        >>> field = form_of(TrainSettings)[0]
        >>> field.name, field.flag, field.kind, field.default, field.low
        ('epochs', '--epochs', 'integer', '100', 1)
    """
    return [_field(name, field, words) for name, field in fields_of(kind).items() if name not in without]


def _field(name: str, field: FieldInfo, words: Callable[[str], str]) -> FormField:
    kind, default = without_none(field.annotation), default_text(field)
    bounds = {type(bound): bound for bound in field.metadata}
    return FormField(
        name=name,
        flag=flags_of(name, field)[0].partition("/")[0],
        kind=_kind(field),
        default=default,
        choices=tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else (),
        low=getattr(bounds.get(Ge), "ge", None),
        high=getattr(bounds.get(Le), "le", None),
        help=describe_field(field, "", words=words),
        required=field.is_required(),
    )


def _kind(field: FieldInfo) -> FieldKind:
    kind = without_none(field.annotation)
    origin = get_origin(kind) or kind
    if origin is tuple:
        return "lines" if option_of(field).repeat else "list"
    return "choice" if origin is Literal else KINDS.get(origin, "text")


def flags_of(name: str, field: FieldInfo) -> list[str]:
    """List the spellings of a field's option."""
    flags = list(option_of(field).flags) or [f"--{name.replace('_', '-')}"]
    if without_none(field.annotation) is bool and field.default is not False:
        flags[0] += f"/--no-{flags[0].removeprefix('--')}"
    return flags


def values_of(kind: type[Settings], given: Mapping[str, Any]) -> dict[str, Any]:
    """Convert what was typed into a form to values that ``kind`` checks; empty texts are left to their defaults.

    Raises:
        RegardError: a line of a mapping is no ``name=value``.

    Example:
        >>> from regard.config import TrainSettings
        >>> values_of(TrainSettings, {"epochs": 3, "freeze": "stem, p2", "recipe": ""})
        {'epochs': 3, 'freeze': ['stem', 'p2']}
    """
    return {name: _value(kind.model_fields.get(name), name, value) for name, value in given.items() if value != ""}


def _value(field: FieldInfo | None, name: str, value: Any) -> Any:
    if field is None or not isinstance(value, str):
        return value
    form = _kind(field)
    if form == "list":
        return value.replace(",", " ").split()
    if form != "lines":
        return value
    lines = [line.strip() for line in value.splitlines() if line.strip()]
    return dict(_pair(line, name) for line in lines) if get_origin(field.annotation) is dict else lines


def _pair(line: str, name: str) -> tuple[str, Any]:
    from regard.system.loaders import parse_yaml

    key, equals, text = (part.strip() for part in line.partition("="))
    if not equals or not key.isidentifier():
        raise RegardError(f"{name}: {line!r:.200} is no setting", expected="name=value, such as precision=bf16")
    return key, parse_yaml(text, None)[0]


def words_of(kind: type[Settings], values: Mapping[str, Any]) -> list[str]:
    """Write values, other than mappings, as options of the command line.

    Example:
        >>> from regard.config import TrainSettings
        >>> words_of(TrainSettings, {"epochs": 3, "plots": False, "freeze": ["stem", "p2"], "rect": True})
        ['--epochs=3', '--no-plots', '--freeze=stem,p2', '--rect']
    """
    words: list[str] = []
    for name, value in values.items():
        field = kind.model_fields[name]
        flag, _, negative = flags_of(name, field)[0].partition("/")
        if isinstance(value, bool):
            words += [flag] if value else [negative] if negative else []
        elif isinstance(value, list | tuple):
            words += [f"{flag}={item}" for item in value] if option_of(field).repeat else [f"{flag}={_joined(value)}"]
        else:
            words.append(f"{flag}={value}")
    return words


def _joined(values: list[Any] | tuple[Any, ...]) -> str:
    return ",".join(map(str, values))
