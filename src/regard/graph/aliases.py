"""Other names and argument forms under which public model files know the package's layers.

Rows are rewritten to the package's own names before a graph is built, so that summaries, errors and written files have
only these. ``docs/aliases.md`` states how the layers of other projects differ. A user's own class of the same name
takes precedence.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from torch import nn

from regard.errors import RegardError, nearest, warn
from regard.graph.alias_table import ALIASES, BLOCKS
from regard.graph.document import flow
from regard.graph.signature import signature_of
from regard.graph.spec import LayerSpec, ModelSpec
from regard.graph.tasks import task_of
from regard.graph.user_modules import where_named
from regard.nn.attention import ATTENTION
from regard.nn.gate import GATED
from regard.nn.heads import HEADS
from regard.nn.table import LAYERS

YOLOV7 = ("MP", "SP", "SPPCSPC", "GhostSPPCSPC", "ReOrg", "DownC", "IDetect", "IAuxDetect", "IBin", "IKeypoint")
"""Layers that only model files of YOLOv7 have."""

THREE_BY_DEFAULT = ("ECALayer", "ECAAttention", "ECA_layer", "eca_layer")
"""Names of ECA whose kernel is 3 unless stated, as in the authors' code, instead of one by the channels."""

WITH_ATTENTION: Mapping[str, str] = MappingProxyType(
    {"C3k2Attention": "C3k2", "C2fAttention": "C2f", "C3Attention": "C3"}
)
"""Blocks around any attention, and the plain block whose name is joined with that of attention in files."""

TYPING_ERROR = 0.7
"""Likeness of two names of which one may be the other mistyped; less is another module."""

IN_A_BLOCK = re.compile(r"(C3k2|C2f|C3)_?(\w+?)|(\w+?)_?(C3k2|C2f|C3)")
PAPER_KERNELS = (3, 7)
"""Kernels of CBAM in its paper, which no file means as a reduction."""

FIRST_OPTION: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "SE": ("reduction", 1),
        "ECA": ("kernel_size", 3),
        "CBAM": ("reduction", 2),
        "CoordinateAttention": ("reduction", 1),
        "SimAM": ("regularisation", 1),
    }
)
"""What follows the channels, and how many options there are, for layers that files also call with (in, out, ...)."""


class TwoMeaningsError(RegardError):
    """The arguments of a row have several meanings; ``rows`` are the row written in each of them."""

    def __init__(self, what: str, rows: Sequence[LayerSpec], **where: Any) -> None:
        super().__init__(what, **where)
        self.rows = rows


def meanings(row: LayerSpec, spec: ModelSpec, modules: Collection[str] = ()) -> Sequence[LayerSpec]:
    """The ways in which a row of a graph can be read: itself, unless its arguments have several meanings."""
    try:
        with_own_names(replace(spec, layers=(row,)), modules)
    except TwoMeaningsError as error:
        return error.rows
    except RegardError:
        pass
    return (row,)


def with_own_names(spec: ModelSpec, modules: Collection[str] = ()) -> ModelSpec:
    """Copy a graph with the package's names and argument forms.

    Args:
        spec: a graph, whose facts are dropped if a row changes.
        modules: names of the user's own classes, which are left as they are.

    Raises:
        RegardError: the arguments of a row have two meanings; both are listed with the way to write them.

    Example:
        >>> row = LayerSpec("attend", ("image",), "CoordAtt", args=(256, 256, 32))
        >>> row = with_own_names(ModelSpec((row,), nc=2)).layers[0]
        >>> row.module, row.args
        ('CoordinateAttention', (256, 32))
    """
    layers = tuple(row if row.module in modules else _own(_behind_gate(row, modules), spec) for row in spec.layers)
    return spec if layers == spec.layers else replace(spec, layers=layers, info={})


def own_name(name: str) -> tuple[str, str | None]:
    """The package's name of a layer, and of the attention inside it if it is a C3, C2f or C3k2 with attention.

    Example:
        >>> own_name("C3CA"), own_name("C2f_EMA"), own_name("eca_layer")
        (('C3Attention', 'CoordinateAttention'), ('C2fAttention', 'EMAttention'), ('ECA', None))
    """
    if name in LAYERS:
        return name, None
    if name.startswith(GATED):
        return own_name(name.removeprefix(GATED))
    if name in ALIASES or name in BLOCKS:
        return ALIASES.get(name) or BLOCKS[name][0], None
    found = IN_A_BLOCK.fullmatch(name)
    block, inner = (found[1] or found[4], found[2] or found[3]) if found else ("", "")
    inner = ALIASES.get(inner, inner)
    return (f"{block}Attention", inner) if inner in ATTENTION else (name, None)


def plain_block(name: str) -> str:
    """The block that a name of a block with attention begins or ends with; every other name is returned as it is.

    Example:
        >>> plain_block("C3k2_CBAM"), plain_block("C2f"), plain_block("C3k2Attention")
        ('C3k2', 'C2f', 'C3k2Attention')
    """
    block, inner = own_name(name)
    return WITH_ATTENTION[block] if inner else name


def find_class(name: str, modules: Mapping[str, type[nn.Module]]) -> type[nn.Module]:
    """Look up the class of a layer: first the user's own, then the package's, then those of ``torch.nn``.

    Raises:
        RegardError: the name is unknown, and the nearest one is suggested; or what the user gives is no layer class.

    Example:
        >>> find_class("nn.Upsample", {}).__name__
        'Upsample'
    """
    if name in modules:
        own: object = modules[name]
        if isinstance(own, type) and issubclass(own, nn.Module):
            return own
        what = f"modules[{name!r}] is {type(own).__name__} {getattr(own, '__name__', '')}".rstrip()
        raise RegardError(what, expected="a class of layers, that is of torch.nn.Module")
    if name in LAYERS:
        return LAYERS[name]
    if name.startswith("nn."):
        found = getattr(nn, name.removeprefix("nn."), None)
        if isinstance(found, type) and issubclass(found, nn.Module):
            return found
    if name in YOLOV7:
        raise RegardError(
            f"{name!r} is a layer of YOLOv7, whose models are not supported",
            expected="a model of YOLOv5, YOLOv8, YOLOv9, YOLOv10, YOLO11, YOLO12 or YOLO26",
            hint=f"give its own class by --module FILE.py:{name}",
        )
    of_torch = [f"nn.{n}" for n in ("Upsample", "Conv2d", "BatchNorm2d", "MaxPool2d", "Identity")]
    if task := task_of(name):
        raise RegardError(f"{name} is the head of a model for {task}", expected="a detection head: " + ", ".join(HEADS))
    near = nearest(name, [*modules, *LAYERS, *ALIASES, *BLOCKS, *of_torch], cutoff=TYPING_ERROR)
    if given := where_named(name):
        raise RegardError(f"unknown module {name!r}", expected="a class or a function of yours by --module", hint=given)
    file = f"if it is your own, give its file: --module FILE.py:{name}"
    raise RegardError(
        f"unknown module {name!r}",
        expected="a layer of docs/catalogue.md or docs/aliases.md, a class of torch.nn as nn.X, or your own",
        hint=f"{near} Or, {file}" if near else file,
    )


def unknown_names(spec: ModelSpec, modules: Mapping[str, type[nn.Module]]) -> list[str]:
    """Names of layers in a graph that neither the package nor ``modules`` has."""
    names = dict.fromkeys(row.module for row in spec.layers if row.module not in modules)
    return [name for name in names if own_name(name)[0] not in LAYERS and not name.startswith("nn.")]


def needs_all_positions(module: str, args: tuple[Any, ...]) -> bool:
    """Whether arguments in YOLOv5's order are read in another way than they are meant, unless all are stated."""
    if module == "InvertedResidual":
        return len(args) == 2
    return module == "CBAM" and len(args) == 2 and isinstance(args[1], int) and args[1] % 2 == 1


def _behind_gate(row: LayerSpec, modules: Collection[str]) -> LayerSpec:
    """A row of a class such as GatedSE, as `regard.nn.gate.gated` makes it, as a gated row."""
    inner = row.module.removeprefix(GATED)
    if inner == row.module or not (inner in modules or own_name(inner)[0] in LAYERS):
        return row
    return replace(row, module=inner, gate=True)


def _own(row: LayerSpec, spec: ModelSpec) -> LayerSpec:
    module, inner = own_name(row.module)
    args, given = row.args, row.options
    if row.module in BLOCKS:
        return _block(row, spec)
    if row.module == "InvertedResidual" and len(row.args) > 1 and not row.options:
        return _inverted(row, spec)
    if inner:
        args = (*args[:1], inner, *args[1:]) if args else ()
        return replace(row, module=module, args=args, options=given if args else {"attention": inner, **given})
    if module not in FIRST_OPTION:
        _warn_of_two_numbers(module, row, spec)
        return replace(row, module=module)
    option, _ = FIRST_OPTION[module]
    if args and (isinstance(args[0], float) or (module == "ECA" and _odd(args[0]))):
        args, given = args[1:], {option: args[0], **given}  # the option alone, without channels
    args = _one_number_of_channels(module, args, row, spec)
    if module == "CBAM":
        args, given = _cbam(args, given, row, spec)
    if row.module in THREE_BY_DEFAULT and len(args) < 2:
        given = {option: 3, **given}
    return replace(row, module=module, args=args, options=given)


def _block(row: LayerSpec, spec: ModelSpec) -> LayerSpec:
    """Read the arguments of a row by what they are."""
    module, names, implied = BLOCKS[row.module]
    args = row.args
    if module == row.module == "CARAFE" and args and not _odd(args[0]):
        names = ("out", *names)
    if row.module.lower() == "concat_bifpn" and len(args) == 2:
        meanings = [
            ("for the weighted maps, concatenated", [{"mode": "concat"}]),
            ("for their weighted sum", [{"mode": "sum"}]),
        ]
        raise _two_meanings(module, row, spec, meanings)
    if len(args) > len(names):
        what = f"layer {row.name!r}: {row.module} takes {len(names)} arguments, here are {len(args)}"
        raise spec.error_at(row, what, expected=", ".join(names))
    given = dict(zip(names, args, strict=False))
    dim = given.pop("dim", 1)
    if dim != 1 or isinstance(dim, bool):
        what = f"layer {row.name!r}: {row.module} on dimension {dim!r}"
        raise spec.error_at(row, what, expected="1, the channels")
    if module == "BiFPN" and row.module[-1] in "23" and len(row.inputs) != int(row.module[-1]):
        what = f"layer {row.name!r}: {row.module} reads {len(row.inputs)} layers"
        raise spec.error_at(row, what, expected=row.module[-1])
    if args and given.pop("channels", args[0]) != args[0]:
        what = f"layer {row.name!r}: {row.module} turns {args[0]} channels into {args[1]}"
        raise spec.error_at(row, what, expected="equal numbers, and a Conv row after it")
    out = (given.pop("out"),) if "out" in given else ()
    return replace(row, module=module, args=out, options={**implied, **given, **row.options})


def _inverted(row: LayerSpec, spec: ModelSpec) -> LayerSpec:
    """Read a name that files of three networks have: of MobileNet V2 with 3 arguments, of V3 with 6, else ask."""
    args = row.args
    if len(args) == 3:
        return row
    if len(args) == 6:
        return _block(replace(row, module="MobileNetV3_InvertedResidual"), spec)
    what = f"layer {row.name!r}: InvertedResidual, {flow(args)} has several meanings"
    meanings = f"ShuffleUnit, {flow(args)} of ShuffleNet V2; InvertedResidual, {flow([*args, 6])} of MobileNet V2"
    expected = meanings if len(args) == 2 else "[channels, stride, expansion]"
    raise spec.error_at(row, what, expected=expected)


def _one_number_of_channels(module: str, args: tuple[Any, ...], row: LayerSpec, spec: ModelSpec) -> tuple[Any, ...]:
    """Drop the second number of ``(in, out, ...)``."""
    option, options = FIRST_OPTION[module]
    if len(args) < 2 or isinstance(args[1], bool) or args[0] != args[1]:
        return args
    if len(args) > 1 + options or (module == "ECA" and not _odd(args[1])):
        return (args[0], *args[2:])
    rest = args[2:]
    raise _two_meanings(
        module,
        row,
        spec,
        [
            (f"if the second number is its {option}", [args[0], *_by_name(module, (args[1], *rest))]),
            ("if both numbers are channels", [args[0], *_by_name(module, (None, *rest))]),
        ],
    )


def _by_name(module: str, values: tuple[Any, ...]) -> list[Any]:
    names = ("reduction", "kernel_size") if module == "CBAM" else (FIRST_OPTION[module][0],)
    named = {name: value for name, value in zip(names, values, strict=False) if value is not None}
    return [named] if named else []


def _cbam(
    args: tuple[Any, ...], given: Mapping[str, Any], row: LayerSpec, spec: ModelSpec
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Read ``[c, shortcut]`` and ``[c, kernel]``."""
    if len(args) > 1 and isinstance(args[1], bool):
        if args[1]:
            expected = "no shortcut, or a gate around it (gate: true), which starts as the identity"
            raise spec.error_at(row, f"layer {row.name!r}: CBAM adds no shortcut", expected=expected)
        args = (args[0], *args[2:])
    if len(args) != 2 or not _odd(args[1]) or given:
        return args, given
    meanings = [
        ("if the second number is its kernel_size", [args[0], {"kernel_size": args[1]}]),
        ("if the second number is its reduction", [args[0], {"reduction": args[1]}]),
    ]
    if args[1] not in PAPER_KERNELS:
        raise _two_meanings("CBAM", row, spec, meanings)
    text = f"{spec.place_of(row)}layer {row.name!r}: CBAM, {flow(args)} is read as kernel_size {args[1]}"
    warn(f"{text}; for a reduction of {args[1]}, write {flow(meanings[1][1])}")
    return args[:1], {"kernel_size": args[1]}


def _warn_of_two_numbers(module: str, row: LayerSpec, spec: ModelSpec) -> None:
    """Say how a row of a file is read that may state its channels twice, as other projects' rows do."""
    args = row.args
    if module not in ATTENTION or not row.line or len(args) < 2 or isinstance(args[1], bool) or args[0] != args[1]:
        return
    option = next(iter(signature_of(ATTENTION[module]).positions), None)
    if option:
        text = f"{spec.place_of(row)}layer {row.name!r}: {row.module}, {flow(args)} is read as {option} {args[1]}"
        rest = flow([args[0], *args[2:]])
        warn(f"{text}; if both are channels, write {rest}")


def _two_meanings(module: str, row: LayerSpec, spec: ModelSpec, meanings: list[tuple[str, list[Any]]]) -> RegardError:
    line, where = row.line or None, "" if row.line or row not in spec.layers else f"row {spec.index(row.name)}, "
    return TwoMeaningsError(
        f"{where}layer {row.name!r}: {row.module}, {flow(row.args)} has two meanings",
        [_as_row(row, module, args) for _, args in meanings],
        file=row.file or spec.file,
        line=line,
        expected="; ".join(f"{module}, {flow(args)} {meaning}" for meaning, args in meanings),
    )


def _as_row(row: LayerSpec, module: str, args: list[Any]) -> LayerSpec:
    named = args[-1] if isinstance(args[-1], Mapping) else {}
    return replace(row, module=module, args=tuple(args[:-1] if named else args), options=named)


def _odd(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value % 2 == 1
