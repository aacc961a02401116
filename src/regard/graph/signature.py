"""What a layer's constructor wants, read from its signature, so that no list of class names is needed.

Three forms of constructor are understood:

* the project's: ``Class(in_channels, **options)``; an option called ``out_channels`` is its output;
* YOLOv5's, for users' own modules: ``Class(c1, c2, *args)``, ``n`` as third if it repeats inside;
* a class of ``torch.nn`` that has no channel argument, such as ``nn.Upsample``: its arguments as written.

A class attribute ``multi_input = True`` says that it takes a list of maps, and of channels, instead of one.
``options_of = {"options": ("attention", ATTENTION)}`` says that its argument ``options`` holds those of the class that
its argument ``attention`` names in a table.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from regard.errors import RegardError
from regard.graph.hints import hints_of

OUT_NAMES = ("out_channels", "c2", "cout", "c_out", "out_ch", "oup", "out_planes", "out_dim")
IN_NAMES_OF_TORCH = ("in_channels", "num_features")


@dataclass(frozen=True)
class Signature:
    """How to call a layer's constructor.

    Attributes:
        takes_channels: whether the first argument is the input's channels.
        multi_input: whether it reads a list of maps.
        out: name of the argument that sets the output's channels, if any.
        repeats: name of the argument that takes the number of repeats inside, if any.
        strides: whether it wants the strides of its inputs (the detection head).
        options: all other arguments in order, name to default (``inspect.Parameter.empty`` if required).
        by_name_only: those of ``options`` that cannot be given by position.
        variadic: whether it takes further positional arguments.
        open: whether it takes options of any name.
        hints: the types that it states, name to type.
        options_of: arguments that hold the options of another class -> the argument that names it, and the table.
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

    @property
    def names(self) -> list[str]:
        """Every option that a user may set by name."""
        return ([self.out] if self.out else []) + list(self.options)

    @property
    def positions(self) -> list[str]:
        """Every option that can be given by position, after the output's channels."""
        return [name for name in self.options if name not in self.by_name_only]


def signature_of(layer: type[nn.Module]) -> Signature:
    """Read the constructor of ``layer``.

    Raises:
        RegardError: it takes no argument for the channels where one is needed.
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
            f"{layer.__name__} takes no channels",
            expected=f"class {layer.__name__}(in_channels, **options), or YOLOv5's (c1, c2, *args)",
        )
    rest = named[1:]
    out = None
    if rest and not getattr(layer, "multi_input", False) and _is_out(rest[0]):
        out, rest = rest[0].name, rest[1:]
    repeats = next((p.name for p in rest if p.name == "repeats"), None)
    if repeats is None and out and rest and rest[0].name == "n":
        repeats = "n"
    options = {p.name: p.default for p in rest if p.name not in (repeats, "strides")}
    strides = any(p.name == "strides" for p in rest)
    multi_input = getattr(layer, "multi_input", False)
    hints = hints_of(layer)
    inside = getattr(layer, "options_of", {})
    return Signature(True, multi_input, out, repeats, strides, options, by_name_only, variadic, open_, hints, inside)


def _is_out(parameter: inspect.Parameter) -> bool:
    positional = parameter.kind is not parameter.KEYWORD_ONLY
    return positional and (parameter.name in OUT_NAMES or parameter.default is parameter.empty)
