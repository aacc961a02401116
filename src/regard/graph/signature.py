"""How a layer's constructor is called, read from its signature, so that no list of class names is needed.

Three forms of constructor are understood:

* the project's: ``Class(in_channels, **options)``; an option called ``out_channels`` is its output;
* YOLOv5's, for users' own modules: ``Class(c1, c2, *args)``, with ``n`` third if the layer repeats inside;
* a class of ``torch.nn`` that has no channel argument, such as ``nn.Upsample``: its arguments as written.

A user's class that does not state which form it has is tried (``regard.graph.build``): with the input channels first,
then with the arguments as written. ``takes_channels = True`` or ``False`` in the class decides it.

A class attribute ``multi_input = True`` declares that the layer takes a list of maps, and of channels, instead of one.
``options_of = {"options": ("attention", ATTENTION)}`` declares that the argument ``options`` contains the options of
the class that the argument ``attention`` names in a table. ``list_of = {"heads": KINDS}`` declares that an item of the
argument ``heads`` is a name in a table, or a mapping of one to the options of its class.

Values are checked against the types that the constructor states: in YAML ``shortcut: Flase`` is a word, which Python
would take as true, and the network would be built differently without an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from torch import nn

from regard.config.faults import expected
from regard.errors import RegardError

OUT_NAMES = ("out_channels", "c2", "cout", "c_out", "out_ch", "oup", "out_planes", "out_dim")
CHANNEL_NAMES = frozenset(
    ("in_channels", "channels", "channel", "c1", "c", "ch", "cin", "c_in", "in_ch", "inp", "inplanes", "in_planes")
) | {"in_channel", "in_dim", "num_channels", "input_channels", "embed_dim"}
"""Names of first arguments that are channels although they have a default."""

IN_NAMES_OF_TORCH = ("in_channels", "num_features")


@dataclass(frozen=True)
class Signature:
    """How to call a layer's constructor.

    Attributes:
        takes_channels: whether the first argument is the number of input channels.
        multi_input: whether the layer reads a list of maps.
        out: name of the argument for the output channels, if any.
        repeats: name of the argument for the number of repeats inside the layer, if any.
        strides: whether it takes the strides of its inputs (the detection head).
        options: all other arguments in order, name to default (``inspect.Parameter.empty`` if required).
        by_name_only: those of ``options`` that cannot be given by position.
        variadic: whether it takes further positional arguments.
        open: whether it takes options of any name.
        hints: stated types by argument name.
        options_of: for each argument that contains the options of another class, the argument that names the class
            and the table of classes.
        list_of: for each argument that lists classes, by name or with their options, the table of classes.
    """

    takes_channels: bool
    multi_input: bool
    out: str | None
    repeats: str | None
    strides: bool
    options: dict[str, Any]
    by_name_only: frozenset[str]
    variadic: bool
    open: bool
    hints: dict[str, Any] = field(default_factory=dict)
    options_of: Mapping[str, tuple[str, Mapping[str, type[nn.Module]]]] = field(default_factory=dict)
    list_of: Mapping[str, Mapping[str, type[nn.Module]]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All options that a user may set by name."""
        return ([self.out] if self.out else []) + list(self.options)

    @property
    def positions(self) -> list[str]:
        """All options that can be given by position, after the output channels."""
        return [name for name in self.options if name not in self.by_name_only]


def signature_of(layer: type[nn.Module], *, multi_input: bool | None = None) -> Signature:
    """Read the constructor of ``layer``.

    Args:
        layer: the class.
        multi_input: whether it reads a list of maps; by default as the class states.

    Raises:
        RegardError: it has no argument for the input channels although it needs one.

    Example:
        >>> signature_of(nn.Upsample).positions
        ['size', 'scale_factor', 'mode', 'align_corners', 'recompute_scale_factor']
    """
    parameters = list(inspect.signature(layer).parameters.values())
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY, p.KEYWORD_ONLY)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    open_ = any(p.kind is p.VAR_KEYWORD for p in parameters)
    by_name_only = frozenset(p.name for p in named if p.kind is p.KEYWORD_ONLY)
    from_torch = layer.__module__.startswith("torch.nn.")
    takes_channels = not from_torch or (bool(named) and named[0].name in IN_NAMES_OF_TORCH)
    if not takes_channels:
        options = {p.name: p.default for p in named}
        return Signature(False, False, None, None, False, options, by_name_only, variadic, open_)
    if not named:
        raise RegardError(
            f"{layer.__name__} has no argument for the input channels",
            expected=f"class {layer.__name__}(in_channels, **options), or YOLOv5's (c1, c2, *args)",
        )
    rest = named[1:]
    out = None
    multi_input = getattr(layer, "multi_input", False) if multi_input is None else multi_input
    if rest and not multi_input and _is_out(rest[0]):
        out, rest = rest[0].name, rest[1:]
    repeats = next((p.name for p in rest if p.name == "repeats"), None)
    if repeats is None and out and rest and rest[0].name == "n":
        repeats = "n"
    options = {p.name: p.default for p in rest if p.name not in (repeats, "strides")}
    strides = any(p.name == "strides" for p in rest)
    hints = hints_of(layer)
    of = getattr(layer, "options_of", {})  # which a subclass with another constructor inherits
    inside = ({name: pair for name, pair in of.items() if name in options}, getattr(layer, "list_of", {}))
    return Signature(True, multi_input, out, repeats, strides, options, by_name_only, variadic, open_, hints, *inside)


def as_written(layer: type[nn.Module], *, multi_input: bool) -> Signature:
    """How to call a user's class that takes no channels: with the arguments of the row as they are.

    YOLOv5 calls classes that it does not know in this way.
    """
    parameters = inspect.signature(layer).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)}
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return Signature(False, multi_input, None, None, False, options, frozenset(), variadic, False, hints_of(layer))


def may_be_without_channels(layer: type[nn.Module]) -> bool:
    """Whether the first argument of a user's class has a default and no name that is usual for channels."""
    if hasattr(layer, "takes_channels"):
        return False
    first = next(iter(inspect.signature(layer).parameters.values()), None)
    return first is None or (first.default is not first.empty and first.name not in CHANNEL_NAMES)


def hints_of(layer: type[nn.Module]) -> dict[str, Any]:
    """Types that a constructor states, by argument name; none for torch's own classes, which check their values."""
    if layer.__module__.startswith("torch.nn."):
        return {}
    try:
        return get_type_hints(layer.__init__)
    except Exception:  # a user's annotations may contain anything
        return {}


def expected_instead(value: Any, hint: Any) -> str | None:
    """Describe what ``hint`` expects if ``value`` is of another type; None if it fits or cannot be checked.

    Example:
        >>> expected_instead("Flase", bool), expected_instead(True, bool)
        ('true or false', None)
    """
    try:
        adapter = _adapter(hint)
        adapter.validate_python(value, strict=True)
    except ValidationError as error:
        if isinstance(value, tuple) and expected_instead(list(value), hint) is None:  # ``list[int]``
            return None
        return " or ".join(dict.fromkeys(expected(fault) for fault in error.errors()))
    except (PydanticUserError, TypeError):  # a type that cannot be checked, or is not hashable
        return None
    return None


def _is_out(parameter: inspect.Parameter) -> bool:
    positional = parameter.kind is not parameter.KEYWORD_ONLY
    return positional and (parameter.name in OUT_NAMES or parameter.default is parameter.empty)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a type with its own configuration
        return TypeAdapter(hint)
