"""From the arguments of a layer in a graph to the call of its constructor, and back to YOLOv5's positional form.

Only this file depends on YOLOv5's convention: output channels come first and unscaled, the options follow in order.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regard.errors import RegardError, nearest, one_of
from regard.graph.aliases import needs_all_positions
from regard.graph.dialects.yolov5_v1 import number_in_words
from regard.graph.signature import CHANNEL_NAMES, OUT_NAMES, Signature, expected_instead, signature_of
from regard.graph.spec import LayerSpec, ModelSpec
from regard.nn.heads.yolov5 import output_channels
from regard.nn.renamed import with_new_names

DIVISOR = 8
IN_OR_OUT = CHANNEL_NAMES.union(OUT_NAMES)


def scale_channels(channels: float, width: float) -> int:
    """Scale channels by ``width`` and round up to a multiple of 8.

    Example:
        >>> scale_channels(1024, 0.25), scale_channels(100, 0.33)
        (256, 40)
    """
    return math.ceil(channels * width / DIVISOR) * DIVISOR


def unscale_channels(channels: int, width: float) -> int | None:
    """Find a number that ``scale_channels`` maps to ``channels``; None if there is none."""
    guess = int(channels / width)
    return next((c for c in (guess, guess + 1) if scale_channels(c, width) == channels), None)


def with_scaled_channels(args: Sequence[Any], signature: Signature, width: float) -> tuple[Any, ...]:
    """Scale those of a constructor's arguments whose names say that they are channels.

    Example:
        >>> from regard.graph.signature import as_written
        >>> from torch import nn
        >>> class Add(nn.Module):
        ...     def __init__(self, c1, c2, kernel=1): ...
        >>> with_scaled_channels((256, 512, 3), as_written(Add, multi_input=True), 0.5)
        (128, 256, 3)
    """
    names = (*signature.positions, *("" for _ in args))
    return tuple(
        scale_channels(value, width) if type(value) is int and value > 0 and name in IN_OR_OUT else value
        for value, name in zip(args, names, strict=False)
    )


@dataclass(frozen=True)
class Binding:
    """Arguments for a call of a constructor.

    Attributes:
        positional: positional arguments (input channels, variadic arguments).
        named: keyword arguments.
        shown: all arguments in order, input channels first, for the summary.
        expected_out: output channels that the graph states, scaled; None if it states none.
    """

    positional: tuple[Any, ...]
    named: dict[str, Any]
    shown: tuple[Any, ...]
    expected_out: int | None = None


def bind(
    row: LayerSpec,
    signature: Signature,
    spec: ModelSpec,
    in_channels: Sequence[int],
    strides: Sequence[int],
    repeats: int,
) -> Binding:
    """Map the arguments of a layer in a graph to its constructor.

    Raises:
        RegardError: an option is unknown (the nearest is suggested), missing or of another type, or there are too many
            arguments.
    """
    args = [_bare_word(value, spec) for value in row.args]
    given = {key: _bare_word(value, spec) for key, value in _renamed(row.module, row.options, signature).items()}
    _reject_unknown(row, signature, given, spec)
    expected_out, tail = _take_channels(row, signature, spec, in_channels, args, given), ()
    positions = signature.positions
    if len(args) > len(positions):
        if not signature.variadic:
            most = ["output channels"] if signature.takes_channels and not signature.multi_input else []
            what = f"{row.module} takes {len(most) + len(positions)} arguments, here are {len(row.args)}"
            raise _error(row, spec, what, expected=", ".join([*most, *positions]) or "none")
        args, tail = args[: len(positions)], tuple(args[len(positions) :])
    given = {**dict(zip(positions, args, strict=False)), **given}
    missing = [k for k, v in signature.options.items() if v is inspect.Parameter.empty and k not in given]
    if missing:
        raise _error(row, spec, f"{row.module} needs {', '.join(missing)}")
    _rename_inside(row, signature, given)
    _reject_other_types(row, signature, given, spec)
    _reject_inside(row, signature, given, spec)
    head = (_channels(signature, in_channels),) if signature.takes_channels else ()
    unknown = [name for name in given if name not in signature.names]
    shown = (*head, *(given[name] for name in [*signature.names, *unknown] if name in given), *tail)
    if signature.repeats:
        given[signature.repeats] = repeats
    if signature.strides:
        given["strides"] = tuple(strides)
    if tail:  # a variadic constructor: everything before the tail has to be positional too
        order = [n for n in (signature.out, signature.repeats, *positions) if n in given]
        return Binding((*head, *(given.pop(n) for n in order), *tail), given, shown, expected_out)
    return Binding(head, given, shown, expected_out)


def _rename_inside(row: LayerSpec, signature: Signature, given: dict[str, Any]) -> None:
    """Replace former names among the options of a class that the layer's own class builds inside."""
    for name, (chooser, table) in signature.options_of.items():
        chosen = given.get(chooser, signature.options[chooser])
        if chosen in table and isinstance(given.get(name), Mapping):
            given[name] = _renamed(f"{row.module}: {chosen}", given[name], signature_of(table[chosen]))


def positional_form(
    row: LayerSpec, signature: Signature, spec: ModelSpec, in_channels: Sequence[int], out_channels: int
) -> tuple[Any, ...] | None:
    """Convert the arguments of a layer to YOLOv5's positional form; None if this form cannot express them."""
    has_out = signature.takes_channels and not signature.multi_input  # whether the first position states channels
    if not row.options and (row.args or not has_out):
        return row.args
    positions, written = signature.positions, row.args[1:] if has_out else row.args
    values = {
        **dict(zip(positions, written, strict=False)),
        **_renamed(row.module, row.options, signature, silent=True),
    }
    values.pop(signature.out or "", None)
    if any(name not in positions for name in values):
        return None
    last = max((positions.index(name) for name in values), default=-1)
    rest = tuple(values.get(name, signature.options[name]) for name in positions[: last + 1])
    if inspect.Parameter.empty in rest:
        return None
    tail = written[len(positions) :]
    if rest and not tail and isinstance(rest[-1], Mapping):  # a mapping at the end is read as options by name
        rest = (*rest[:-1], {positions[last]: rest[-1]})
    rest += tail
    if not has_out:
        return rest
    stated = row.options.get(signature.out or "", row.args[0] if row.args else None)
    stated = _unscaled(spec, out_channels) if stated is None else stated
    if stated is None and in_channels == [out_channels]:
        if signature.out and not rest:
            return ()  # read as the channels of the input
        stated = None if signature.out else out_channels  # read as a class that YOLOv5 does not know is called
    if needs_all_positions(row.module, (stated, *rest)):
        rest = (*rest, *(signature.options[name] for name in positions[len(rest) :]))
    return None if stated is None else (stated, *rest)


def _unscaled(spec: ModelSpec, channels: int) -> int | None:
    """Find a number that a row can state for ``channels``; None if there is none."""
    stated = unscale_channels(channels, spec.width_multiple)
    return None if stated is None or stated > (spec.max_channels or stated) else stated


def positional_call(layer: Callable[..., object], binding: Binding) -> tuple[Any, ...] | None:
    """Arguments of a constructor by position; None if some can be given only by name.

    Example:
        >>> from torch import nn
        >>> positional_call(nn.Conv2d, Binding((3, 5, 1), {"bias": False}, ()))
        (3, 5, 1, 1, 0, 1, 1, False)
    """
    call = inspect.signature(layer).bind(*binding.positional, **binding.named)
    parameters = call.signature.parameters
    placed = {name: p for name, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)}
    by_name = [name for name in binding.named if name not in placed]
    if any(name not in parameters or binding.named[name] != parameters[name].default for name in by_name):
        return None
    stated = max((i + 1 for i, name in enumerate(placed) if name in call.arguments), default=0)
    call.apply_defaults()
    return call.args[: max(stated, len(binding.positional))]


def values_of(layer: Callable[..., object], signature: Signature, binding: Binding) -> dict[str, Any]:
    """All options by name with their defaults, also inside, so that calls that mean the same have equal values.

    Input channels, repeats and strides, which are facts of the graph, are left out.
    """
    call = inspect.signature(layer).bind(*binding.positional, **binding.named)
    call.apply_defaults()
    facts = {next(iter(call.arguments), "")} if signature.takes_channels else set()
    facts |= {signature.repeats or "", "strides"}
    values = {name: _plain(value) for name, value in call.arguments.items() if name not in facts}
    for name, (chooser, table) in signature.options_of.items():
        values[name] = _filled(values.get(name), table.get(values.get(chooser, "")))
    for name, table in signature.list_of.items():
        items = [item if isinstance(item, Mapping) else {item: {}} for item in values.get(name) or ()]
        values[name] = [{k: _filled(given, table.get(k)) for k, given in item.items()} for item in items]
    return values


def _filled(given: Any, layer: type | None) -> Any:
    """Options of a class that is built inside a layer, with its defaults."""
    if layer is None or not isinstance(given or {}, Mapping):
        return given
    return {**_plain(signature_of(layer).options), **(given or {})}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _renamed(module: str, options: Mapping[str, Any], signature: Signature, *, silent: bool = False) -> dict[str, Any]:
    """Options by their new names; ``silent`` where `bind` has warned of the old ones."""
    if signature.open:
        return dict(options)
    return with_new_names(module, options, signature.names, silent=silent)


def _take_channels(
    row: LayerSpec,
    signature: Signature,
    spec: ModelSpec,
    in_channels: Sequence[int],
    args: list[Any],
    given: dict[str, Any],
) -> int | None:
    """Move the output channels from the arguments to ``given``; they are returned, or None where none are stated."""
    if not signature.takes_channels or signature.multi_input:
        return None
    stated = args.pop(0) if args else None
    if signature.out:
        stated = given.pop(signature.out, stated)
    expected_out = None if stated is None else _scaled(stated, spec, row)
    if signature.out is None and stated == in_channels[0]:  # as a class that YOLOv5 does not know is called
        expected_out = stated
    if signature.out:
        given[signature.out] = in_channels[0] if expected_out is None else expected_out
    return expected_out


def _channels(signature: Signature, in_channels: Sequence[int]) -> int | list[int]:
    return list(in_channels) if signature.multi_input else in_channels[0]


def _bare_word(value: Any, spec: ModelSpec) -> Any:
    if isinstance(value, str):
        if spec.anchors is None:
            return spec.nc if value == "nc" else value
        return spec.anchors if value == "anchors" else number_in_words(value, spec.nc, spec.anchors)
    return value


def _scaled(value: Any, spec: ModelSpec, row: LayerSpec) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _error(row, spec, f"{row.module}: output channels are {value!r}", expected="a positive whole number")
    if spec.anchors is not None and value == output_channels(spec.nc, spec.anchors):
        return value  # YOLOv5 does not scale the channels of its head's outputs
    most = value if spec.max_channels is None else min(value, spec.max_channels)
    return scale_channels(most, spec.width_multiple)


def _reject_unknown(
    row: LayerSpec, signature: Signature, given: Mapping[str, Any], spec: ModelSpec, inside: str = ""
) -> None:
    """Reject options that a class does not have: the layer's own class, or the one that is built ``inside`` it."""
    for name in given:
        if name not in signature.names and not signature.open:
            raise _error(
                row,
                spec,
                f"{inside or row.module} has no option {name!r}",
                expected=one_of(signature.names),
                hint=nearest(name, signature.names),
            )


def _reject_other_types(
    row: LayerSpec, signature: Signature, given: Mapping[str, Any], spec: ModelSpec, inside: str = ""
) -> None:
    for name, value in given.items():
        if isinstance(value, int) and value.bit_length() > 63:  # a file with it could not be read
            what = f"{inside or row.module}: {name} is a number of {value.bit_length()} bits"
            raise _error(row, spec, what, expected="at most 63 bits")
        default = signature.options.get(name, inspect.Parameter.empty)
        if name not in signature.hints or (value == default and type(value) is type(default)):
            continue
        expected = expected_instead(value, signature.hints[name])
        if expected is not None:
            raise _error(row, spec, f"{inside or row.module}: {name} is {value!r}", expected=expected)


def _reject_inside(row: LayerSpec, signature: Signature, given: Mapping[str, Any], spec: ModelSpec) -> None:
    """Reject wrong options of a class that the layer's own class builds inside."""
    choices = [
        (table, given.get(chooser, signature.options[chooser]), given.get(name))
        for name, (chooser, table) in signature.options_of.items()
    ]
    for table, chosen, options in choices:
        if options and chosen in table and isinstance(options, Mapping):
            inner = signature_of(table[chosen])
            _reject_unknown(row, inner, options, spec, f"{row.module}: {chosen}")
            _reject_other_types(row, inner, options, spec, f"{row.module}: {chosen}")
    for name, table in signature.list_of.items():  # which options an item may have, the constructor decides
        for item in given.get(name, ()):
            for chosen, options in item.items() if isinstance(item, Mapping) else ():
                if chosen in table and isinstance(options, Mapping):
                    _reject_other_types(row, signature_of(table[chosen]), options, spec, f"{row.module}: {chosen}")


def _error(row: LayerSpec, spec: ModelSpec, what: str, **more: str | None) -> RegardError:
    return spec.error_at(row, f"layer {row.name!r}: {what}", **more)
