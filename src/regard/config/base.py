"""What all settings share: strict pydantic models whose fields also describe options, signatures and documentation."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from regard.config.faults import first_fault
from regard.errors import RegardDeprecationWarning, RegardError, nearest, warn

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

BOUNDS = ("ge", "gt", "le", "lt", "min_length")


@dataclass(frozen=True)
class Option:
    """How a field appears on the command line, where that is not just ``--its-name``.

    Attributes:
        flags: all spellings, such as ``("--imgsz", "--img")``; derived from the field's name if empty.
        old: former spellings, which still work, hidden, with a ``DeprecationWarning``.
        repeat: give one value per occurrence of the option instead of one list separated by commas.
    """

    flags: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    repeat: bool = False


class _Explained(ModelMetaclass):
    """Turns pydantic's errors into ``RegardError`` where a group of settings is made by a call."""

    def __call__(self, *args: Any, **values: Any) -> Any:
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            raise first_fault(error, cast(type[BaseModel], self)).error() from error


class Settings(BaseModel, metaclass=_Explained):
    """A group of settings: unknown names raise an error, values are validated, instances are immutable.

    Attributes:
        renamed: former names of fields and what they are called now; they are accepted with a ``DeprecationWarning``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    renamed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, values: Any) -> Any:
        return current_names(cls, values) if isinstance(values, Mapping) else values


S = TypeVar("S", bound=Settings)


def current_names(kind: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace former names of fields in ``values`` by the current ones, with a warning for each.

    Raises:
        RegardError: a field is given by its former name and its current one.
    """
    found = dict(values)
    for old in found.keys() & kind.renamed.keys():
        new = kind.renamed[old]
        if new in found:
            raise RegardError(f"{old!r} and {new!r} are the same", expected=f"{new!r} alone")
        warn(f"{old} is now called {new}", RegardDeprecationWarning)
        found[new] = found.pop(old)
    return found


def checked(kind: type[S], values: Mapping[str, Any]) -> S:
    """Validate what a user gave.

    Raises:
        RegardError: an unknown name (the nearest is suggested) or a bad value.
    """
    values = current_names(kind, values)
    for name in values:
        if name not in kind.model_fields:
            known = ", ".join(kind.model_fields)
            raise RegardError(f"unknown setting {name!r}", expected=known, hint=nearest(name, kind.model_fields))
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise first_fault(error, kind).error() from error


def part_of(settings: Settings, base: type[Settings]) -> dict[str, Any]:
    """Select the fields of ``settings`` that it inherits from ``base``, as arguments by name."""
    return {name: getattr(settings, name) for name in base.model_fields}


def describe(settings: Settings) -> dict[str, Any]:
    """Convert ``settings`` to plain, JSON-ready values."""
    return settings.model_dump(mode="json")


def require_positive(**values: int) -> None:
    """Check numbers that count something.

    Raises:
        RegardError: one is below 1.
    """
    for name, value in values.items():
        if value < 1:
            raise RegardError(f"{name} is {value}", expected="a positive whole number")


def fields_of(kind: type[Settings]) -> dict[str, FieldInfo]:
    """List the fields of a group by name, its own before those that it inherits."""
    names = dict.fromkeys(name for base in kind.__mro__ for name in inspect.get_annotations(base))
    return {name: kind.model_fields[name] for name in names if name in kind.model_fields}


def option_of(field: FieldInfo) -> Option:
    """Look up how a field appears on the command line."""
    return next((extra for extra in field.metadata if isinstance(extra, Option)), Option())


def range_of(field: FieldInfo, words: Callable[[str], str] = str) -> str:
    """Write the values that a field accepts in words: "at least 1", "0 to 1", "one of sgd, adamw", or ""."""
    kind = without_none(field.annotation)
    if get_origin(kind) is Literal:
        return words(f"one of {', '.join(map(str, get_args(kind)))}")  # lists are translated, too
    bounds: dict[type, Any] = {type(b): getattr(b, name) for b in field.metadata for name in BOUNDS if hasattr(b, name)}
    if Ge in bounds and Le in bounds:
        return words("{0} to {1}").format(_number(bounds[Ge]), _number(bounds[Le]))
    forms = {
        Ge: words("at least {0}"),
        Gt: words("above {0}"),
        Le: words("at most {0}"),
        Lt: words("below {0}"),
        MinLen: words("at least {0}"),
    }
    return words(", ").join(forms[kind].format(_number(value)) for kind, value in bounds.items())


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def default_text(field: FieldInfo) -> str:
    """Write the default of a field as a user would type it; "" where it is required, None or empty."""
    default = field.default
    if field.is_required() or default is None or default in ("", (), {}):
        return ""
    if isinstance(default, Settings):
        return str(getattr(default, "name", ""))
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted names.

    Example:
        >>> flattened({"epochs": 3, "recipe": {"optim": {"lr": 0.1}}})
        {'epochs': 3, 'recipe.optim.lr': 0.1}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def describe_field(field: FieldInfo, default: str, *, choices: bool = True, words: Callable[[str], str] = str) -> str:
    """Describe a field in one sentence: what it is, the values that it accepts (``choices`` included), its default.

    ``words`` translates the sentence and its parts.
    """
    is_choice = get_origin(without_none(field.annotation)) is Literal
    facts = [
        "" if is_choice and not choices else range_of(field, words),
        words("default: {0}").format(default) if default else "",
    ]
    inside = words("; ").join(filter(None, facts))
    sentence = words("{0} ({1}).") if inside else words("{0}.")
    return sentence.format(words(field.description or ""), inside)


def without_none(annotation: Any) -> Any:
    """Strip ``None`` from an optional type."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    rest = tuple(kind for kind in get_args(annotation) if kind is not type(None))
    return rest[0] if len(rest) == 1 else Union[rest]  # noqa: UP007
