"""The attention modules that may be inserted: what they compute, their options, and their cost at a place."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from torch import nn

from regard.errors import RegardError, nearest
from regard.graph.detector import Detector
from regard.graph.document import flow
from regard.graph.signature import Signature, signature_of
from regard.nn.attention import ATTENTION
from regard.nn.attention.core import SCORE_ACTIVATIONS, Attention
from regard.nn.attention.position import POSITIONS
from regard.profiling.catalogue import PlaceCost, place_cost, place_cost_with

NAMED: Mapping[str, Mapping[str, Any]] = {"pos_embed": POSITIONS, "score_activation": SCORE_ACTIVATIONS}
"""Options whose values are names in a table."""

ARXIV = re.compile(r"\d{4}\.\d{4,5}")

Kind = Literal["integer", "number", "flag", "choice", "text"]


@dataclass(frozen=True)
class Option:
    """An argument of a constructor.

    Attributes:
        name: its name.
        kind: of its values; ``text`` for what is written as YAML.
        default: its default.
        choices: the valid values, for ``choice``.
        help: what the class says about it.
    """

    name: str
    kind: Kind
    default: Any
    choices: tuple[str, ...] = ()
    help: str = ""


@dataclass(frozen=True)
class Entry:
    """A module of the catalogue.

    Attributes:
        name: its YAML name.
        family: see `regard.nn.attention.core.Card`; "own" for the user's own classes.
        summary: what it does, in one sentence.
        paper: arXiv identifier, or the reference where there is none.
        address: of the paper on arXiv; "" where it is not there.
        equation: what is computed, in one line.
        options: arguments of its constructor.
        linear: whether its cost is proportional to the number of positions.
        when: when one would want it; "" for the user's own classes.
    """

    name: str
    family: str
    summary: str
    paper: str
    address: str
    equation: str
    options: tuple[Option, ...]
    linear: bool
    when: str = ""


def catalogue(own: Mapping[str, type[nn.Module]] = MappingProxyType({})) -> list[Entry]:
    """List the attention modules, after the user's own classes.

    Example:
        >>> entry = next(entry for entry in catalogue() if entry.name == "SE")
        >>> entry.family, entry.paper, [(option.name, option.default) for option in entry.options]
        ('channel', '1709.01507', [('reduction', 16)])
    """
    return [*(_own_entry(name, kind) for name, kind in own.items()), *(_entry(*item) for item in ATTENTION.items())]


def _own_entry(name: str, kind: type[nn.Module]) -> Entry:
    summary = (inspect.getdoc(kind) if "__doc__" in vars(kind) else None) or ""
    summary = summary.partition("\n\n")[0].replace("\n", " ")
    return Entry(name, "own", summary, "", "", "", options_of_layer(kind), False)


@cache
def _entry(name: str, kind: type[Attention]) -> Entry:
    card, document = kind.card, inspect.getdoc(kind) or ""
    identifier = ARXIV.search(card.paper)
    address = f"https://arxiv.org/abs/{identifier[0]}" if identifier else ""
    return Entry(
        name=name,
        family=card.family,
        summary=document.partition("\n\n")[0].replace("\n", " "),
        paper=card.paper,
        address=address,
        equation=card.equation,
        options=options_of_layer(kind),
        linear=card.linear,
        when=card.when,
    )


def options_of_layer(kind: type[nn.Module]) -> tuple[Option, ...]:
    """Describe the arguments of a layer's constructor that a user may choose.

    Example:
        >>> from regard.nn.attention import ATTENTION
        >>> [(option.name, option.kind) for option in options_of_layer(ATTENTION["MultiHeadSelfAttention"])][:2]
        [('num_heads', 'integer'), ('pos_embed', 'choice')]
    """
    signature, helps = signature_of(kind), _helps(inspect.getdoc(kind) or "")
    return tuple(_option(signature, name, default, helps) for name, default in signature.options.items())


def _option(signature: Signature, name: str, default: Any, helps: Mapping[str, str]) -> Option:
    default = None if default is inspect.Parameter.empty else default
    hint = signature.hints.get(name, type(default))
    if get_origin(hint) is Literal:
        return Option(name, "choice", default, tuple(map(str, get_args(hint))), helps.get(name, ""))
    if name in NAMED and isinstance(default, str):
        return Option(name, "choice", default, tuple(NAMED[name]), helps.get(name, ""))
    known: dict[Any, Kind] = {int: "integer", float: "number", bool: "flag", str: "text"}
    is_plain = isinstance(hint, type) and hint in known
    plain = default if isinstance(default, int | float | str | bool | None) else flow(default)
    return Option(name, known[hint] if is_plain else "text", plain, (), helps.get(name, ""))


def _helps(document: str) -> dict[str, str]:
    """Texts of the arguments in a docstring."""
    _, _, rest = document.partition("Args:\n")
    block = rest.partition("\n\n")[0]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", block, re.M)
    return {name: " ".join(text.split()) for name, text in found}


def place_costs(
    model: Detector, after: str, imgsz: int, *, gate: bool = False, own: Mapping[str, type[nn.Module]] | None = None
) -> list[PlaceCost]:
    """Count what each module of the catalogue costs after a layer, with its default options.

    Args:
        model: the detector.
        after: name of the layer.
        imgsz: side of the image in pixels.
        gate: count each behind a gate.
        own: the user's own classes, which are counted too.

    Raises:
        RegardError: there is no such layer, or it gives no map.

    Example:
        >>> import regard
        >>> costs = {cost.name: cost for cost in place_costs(regard.load("odd-one-out"), "p4", 128)}
        >>> costs["SE"].parameters, costs["SimAM"].parameters
        (2048, 0)
    """
    place = _place(model, after, imgsz)
    owns = [place_cost_with(name, *place, {}, gate, kind) for name, kind in (own or {}).items()]
    return [*owns, *(place_cost(name, *place, gate) for name in ATTENTION)]


def option_cost(
    model: Detector,
    after: str,
    imgsz: int,
    module: str,
    options: Mapping[str, Any],
    *,
    gate: bool = False,
    own: type[nn.Module] | None = None,
) -> PlaceCost:
    """Count what a module of the catalogue costs after a layer, with the given options.

    Args:
        model: the detector.
        after: name of the layer.
        imgsz: side of the image in pixels.
        module: YAML name of the module.
        options: arguments of its constructor by name.
        gate: count it behind a gate.
        own: the user's own class of that name.

    Raises:
        RegardError: there is no such layer or module, or the layer gives no map.

    Example:
        >>> import regard
        >>> option_cost(regard.load("odd-one-out"), "p4", 128, "SE", {"reduction": 8}).parameters
        4096
    """
    if own is None and module not in ATTENTION:
        raise RegardError(f"unknown module {module!r:.60}", hint=nearest(module, ATTENTION))
    return place_cost_with(module, *_place(model, after, imgsz), options, gate, own)


def _place(model: Detector, after: str, imgsz: int) -> tuple[int, int]:
    """Channels and side of the map of a layer."""
    info = model.spec.info[model.spec.layer(after).name]
    if not info.out_channels or info.stride < 1:
        raise RegardError(f"nothing can follow {after!r}", expected="a layer that gives a map")
    return info.out_channels, max(int(imgsz // info.stride), 1)
