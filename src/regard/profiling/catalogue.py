"""The modules of the catalogue with what they cost at P3, P4 and P5, and the choice of some of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from regard.errors import RegardError, nearest, one_of
from regard.graph.signature import expected_instead, signature_of
from regard.nn.attention import ATTENTION
from regard.nn.attention.position import POSITIONS
from regard.nn.counter import Cost, count_on_map, count_without_values
from regard.nn.gate import Gated, without_gate
from regard.profiling.advice import NOT_A_VARIANT

LEVELS: Mapping[str, tuple[int, int]] = MappingProxyType({"P3": (64, 80), "P4": (128, 40), "P5": (256, 20)})
"""Channels and side of the maps of yolov5n for an image of 640 pixels."""
WITHOUT_QKV = frozenset(
    (
        "ContextualTransformer",
        "DeformableAttention",
        "DenseSynthesizer",
        "DoubleAttention",
        "ExternalAttention",
        "RandomSynthesizer",
        "S2Attention",
        "TokenStatisticsAttention",
    )
)
"""Modules without products of queries and keys, although their families are those of modules with them."""
GATES_WITH_QKV = frozenset(("XCA",))
"""The other way round."""


@dataclass(frozen=True)
class PlaceCost:
    """What a module costs at a place in a detector, for one image.

    Attributes:
        name: YAML name of the module.
        parameters: number of learned values.
        flops: a multiplication and an addition count as two.
        saved_mib: memory that it keeps for the backward pass, in MiB.
        obstacle: why it does not fit there; "" if it does. The costs are 0 then.
        option: name of the option that is wrong; "" if none is known to be.
    """

    name: str
    parameters: int
    flops: int
    saved_mib: float
    obstacle: str = ""
    option: str = ""


@dataclass(frozen=True)
class Entry:
    """A module as the catalogue lists it, with default options.

    Attributes:
        name: YAML name.
        family: of its card.
        linear: whether its cost is proportional to the number of positions.
        exportable: whether it can be exported.
        qkv: whether queries are multiplied with keys, and values are weighted by the result.
        pos_embed: the kinds of position that it takes; empty if it has no such option.
        parameters: number of learned values at P4.
        flops: for one image, by level; a multiplication and an addition count as two. Levels whose channels do not
            suit its default options are missing.
        when: when one would want it.
    """

    name: str
    family: str
    linear: bool
    exportable: bool
    qkv: bool
    pos_embed: tuple[str, ...]
    parameters: int
    flops: Mapping[str, int]
    when: str


@cache
def place_cost(name: str, channels: int, side: int, gate: bool = False) -> PlaceCost:
    """Count a module of the catalogue on one square map, with its default options, and with a gate if there is one.

    Example:
        >>> place_cost("SE", 64, 20).parameters
        512
    """
    return place_cost_with(name, channels, side, {}, gate)


def place_cost_with(
    name: str,
    channels: int,
    side: int,
    options: Mapping[str, Any],
    gate: bool = False,
    own: type[nn.Module] | None = None,
) -> PlaceCost:
    """Count a module on one square map, with the given options, and with a gate if there is one.

    Args:
        name: of the module, in the catalogue unless it is ``own``.
        channels: of the map.
        side: of the map.
        options: arguments of the constructor.
        gate: count it behind a gate.
        own: the user's own class.

    Example:
        >>> place_cost_with("SE", 64, 20, {"reduction": 8}).parameters
        1024
    """
    layer = own or ATTENTION[name]
    kind: Callable[..., nn.Module] = layer
    for option, value in options.items():
        if why := _objection(layer, option, value):
            return PlaceCost(name, 0, 0, 0.0, why, option)

    def make() -> nn.Module:
        module = kind(channels, **options)
        return Gated(module) if gate and getattr(module, "out_channels", channels) == channels else module

    try:
        module, counted = _counted(make, channels, side)
    except RegardError as error:
        named = [option for option in options if re.search(rf"\b{re.escape(option)}\b", error.what)]
        return PlaceCost(name, 0, 0, 0.0, error.what, named[0] if named else "")
    except Exception as error:  # of options that no module checks, or of a user's own class
        if own is None and not isinstance(error, TypeError | ValueError | ArithmeticError | RuntimeError | LookupError):
            raise
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        what = f"it cannot be built with {given}" if own is None else f"it cannot be built: {error!s:.100}"
        return PlaceCost(name, 0, 0, 0.0, what, next(iter(options)) if len(options) == 1 else "")
    parameters = sum(p.numel() for p in module.parameters())
    out_channels = getattr(without_gate(module), "out_channels", channels)
    obstacle = "" if out_channels == channels else f"it gives {out_channels} channels"
    return PlaceCost(name, parameters, counted.flops, counted.activation_bytes / 2**20, obstacle)


def _objection(layer: type[nn.Module], option: str, value: Any) -> str:
    """What is wrong with the value of an option, by what the constructor states; "" if it may be right."""
    signature = signature_of(layer)
    default, what = signature.options.get(option), ""
    known = (*signature.options, signature.out, signature.repeats)
    if option not in known and not signature.open and layer.__module__.startswith("regard."):
        what = f"there is no option {option!r}"
    elif option in signature.hints and not (value == default and type(value) is type(default)):
        expected = expected_instead(value, signature.hints[option])
        what = f"{option} is {value!r}, expected: {expected}" if expected else ""
    return what


def _counted(make: Callable[[], nn.Module], channels: int, side: int) -> tuple[nn.Module, Cost]:
    """Build and count a module without values; with them where its work depends on them."""
    try:
        with torch.device("meta"):
            module = make()
        return module, count_without_values(module, channels, side, side)
    except RuntimeError:
        module = make()
        return module, count_on_map(module, channels, side, side)


def entry(name: str) -> Entry:
    """Build a module and count its cost at every level.

    Example:
        >>> entry("SE").family
        'channel'
    """
    card = ATTENTION[name].card
    costs = {level: place_cost(name, *place) for level, place in LEVELS.items()}
    flops = {level: cost.flops for level, cost in costs.items() if cost.flops}  # none where it cannot be built
    qkv = name in GATES_WITH_QKV or (card.family not in NOT_A_VARIANT and name not in WITHOUT_QKV)
    return Entry(
        name=name,
        family=card.family,
        linear=card.linear,
        exportable=not card.obstacle,
        qkv=qkv,
        pos_embed=positions_of(name),
        parameters=costs["P4"].parameters,
        flops=flops,
        when=card.when,
    )


def positions_of(name: str) -> tuple[str, ...]:
    """The kinds of position that a module takes, found by trying."""
    kind: Callable[..., object] = ATTENTION[name]
    if "pos_embed" not in inspect.signature(kind).parameters:
        return ()
    taken = []
    for position in POSITIONS:
        options: dict[str, Any] = {"pos_embed": position}
        try:
            kind(LEVELS["P4"][0], **options)
        except RegardError:
            continue
        taken.append(position)
    return tuple(taken)


def select(
    entries: Iterable[Entry],
    *,
    family: Collection[str] = (),
    linear: bool | None = None,
    exportable: bool | None = None,
    qkv: bool | None = None,
    pos_embed: str | None = None,
    max_gflops: float | None = None,
    level: str = "P3",
) -> list[Entry]:
    """Choose the entries that meet all conditions; one that is None, or empty, is met by all.

    Args:
        entries: to choose from.
        family: one of these.
        linear: whether the cost is proportional to the number of positions.
        exportable: whether it can be exported.
        qkv: whether it multiplies queries with keys.
        pos_embed: a kind of position that it takes.
        max_gflops: most GFLOPs at ``level``.
        level: P3, P4 or P5.

    Raises:
        RegardError: a family, position or level is unknown; the nearest is named.
    """
    known = list(dict.fromkeys(kind.card.family for kind in ATTENTION.values()))
    for what, asked, choices in (
        ("family", family, known),
        ("position", [pos_embed], POSITIONS),
        ("level", [level], LEVELS),
    ):
        for value in asked:
            if value is not None and value not in choices:
                expected = one_of(choices)
                raise RegardError(f"unknown {what} {value!r}", expected=expected, hint=nearest(value, choices))
    return [
        e
        for e in entries
        if (not family or e.family in family)
        and linear in (None, e.linear)
        and exportable in (None, e.exportable)
        and qkv in (None, e.qkv)
        and (pos_embed is None or pos_embed in e.pos_embed)
        and (max_gflops is None or e.flops.get(level, float("inf")) <= max_gflops * 1e9)
    ]
