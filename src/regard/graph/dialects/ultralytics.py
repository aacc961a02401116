"""The form of YOLOv8, v9, v10, 11, 12 and 26: rows as in YOLOv5, sizes as letters of ``scales``, and implicit rules.

Reading writes the implicit rules out: which size is meant, which blocks a larger size has, how the head is built. The
names of modules are the package's, but for ``Detect``, which is `AnchorFreeDetect` here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from regard.errors import RegardError, nearest, one_of, warn
from regard.graph.aliases import plain_block
from regard.graph.dialects import native, yolov5
from regard.graph.document import parse_number
from regard.graph.spec import LayerSpec, ModelSpec
from regard.nn.activation import DEFAULT
from regard.nn.heads import HEADS
from regard.system.loaders import LineOf, check_keys

KEYS = (*native.GRAPH_KEYS, "scales", "scale", "end2end", "reg_max")
IGNORED_KEYS = ("ch", "channels", "yaml_file", "names", "inplace", "kpt_shape")
LETTER = re.compile(r"yolov?\d+([nsmlx]|[btce](?![a-z]))")
"""The letter of a size in the name of a file, such as yolo11s-p2."""

HEAD, BINS = "AnchorFreeDetect", 16
HEAD_OPTIONS = ("attention", "attention_options")
"""Options of a head that are written in its row; the others follow from rules or stand at the top."""

UNBOUNDED = 100_000
"""The most channels in ``scales`` of a graph that states no limit: no row that a user adds reaches it."""

LARGER, LARGEST = "mlx", "lx"
SQUARE_KERNELS = ("Bottleneck", "BottleneckCSP")
"""Blocks whose bottlenecks have two 3x3 convolutions in these families, but a 1x1 and a 3x3 one in YOLOv5."""

DEPTHWISE_IF = ("C3k2", "C3k2Attention", "A2C2f", "C2fCIB")
"""Blocks whose graphs have depth-wise convolutions in the class branch of the head."""


def recognise(document: Mapping[str, Any]) -> bool:
    """Whether a document is in this form: it has ``scales``, or a detection head without anchors.

    Options by name after ``nc``, other than anchors, do not change that.

    Example:
        >>> recognise({"head": [[[1, 2], 1, "Detect", ["nc"]]]}), recognise({"head": [[[1], 1, "Detect", ["nc", 3]]]})
        (True, False)
    """
    if "scales" in document:
        return True
    rows = document.get("head")
    last = rows[-1] if isinstance(rows, list) and rows else None
    if isinstance(last, dict) and len(last) == 1:
        (last,) = last.values()
    if not isinstance(last, list) or len(last) != 4 or last[2] not in ("Detect", "v10Detect"):
        return False
    args = last[3] if isinstance(last[3], list) else []
    by_name = len(args) == 2 and isinstance(args[1], dict) and "anchors" not in args[1]
    return last[2] == "v10Detect" or len(args) == 1 or by_name


def parse(document: Mapping[str, Any], lines: LineOf, file: Path | None) -> ModelSpec:
    """Build the graph that a document describes, with all rules written out; see `native.parse`.

    Raises:
        RegardError: a key, a size, a row or a reference is wrong; the error names file and line.
    """
    check_keys(document, KEYS, lines, file, ignored=IGNORED_KEYS)
    letter, values = _scale(document, lines, file)
    plain = {key: value for key, value in document.items() if key in (*native.GRAPH_KEYS, "ch")}
    plain["ch"] = next((document[key] for key in ("ch", "channels") if document.get(key, 3) not in (3, None)), 3)
    spec = native.parse({**plain, **values}, lines, file)
    bins = parse_number(document, "reg_max", BINS, lines, file, whole=True)
    end2end = document.get("end2end", False)
    if not isinstance(end2end, bool):
        raise RegardError(
            f"end2end is {end2end!r}", file=file, line=lines.get(("end2end", -1)), expected="true or false"
        )
    layers = [_written_out(layer, spec, letter) for layer in spec.layers]
    if layers and layers[-1].module == "Detect":
        _check_detect(layers[-1], file)
        depthwise = any(plain_block(layer.module) in DEPTHWISE_IF for layer in layers)
        options = {"reg_max": bins, "end2end": end2end, "depthwise": depthwise}
        given = {name: value for name, value in options.items() if value not in (BINS, False)}
        layers[-1] = replace(layers[-1], module=HEAD, options={**layers[-1].options, **given})
    elif layers and layers[-1].module != "v10Detect":  # another head, which rejects what it does not have
        stated = {"reg_max": bins, "end2end": end2end}
        given = {name: value for name, value in stated.items() if value not in (BINS, False)}
        layers[-1] = replace(layers[-1], options={**given, **layers[-1].options})
    return replace(spec, layers=tuple(layers), anchors=None)


def write(spec: ModelSpec, *, ungated: bool, file: Path | None = None) -> str:
    """Write a graph as a file that the packages of these families can read.

    Args:
        spec: the graph, built.
        ungated: write gated layers without their gates; the file then describes another network.
        file: the file that is meant. The letter in its name is the size that is written; n without one, for which
            no implicit rule applies.

    Raises:
        RegardError: the head is of another family, the name chooses a size whose implicit rules give another network,
            or as `yolov5.write`.
    """
    _check_head(spec)
    for layer in spec.layers:
        yolov5.check_row(spec, layer, ungated)
    return document(spec, [yolov5.plain_row(spec, in_file(layer)) for layer in spec.layers], file)


def letter_of(file: Path | None) -> str:
    """The letter of a size in the name of a file, "" if it has none.

    Example:
        >>> letter_of(Path("yolo11s-se.yaml")), letter_of(Path("yolov8-cbam.yaml"))
        ('s', '')
    """
    found = LETTER.search(file.stem.lower()) if file else None
    return found[1] if found else ""


def without_letter(file: Path) -> Path | None:
    """The name of the file that holds all sizes, where the given one names a size.

    Example:
        >>> without_letter(Path("yolov8s-cbam.yaml")).name
        'yolov8-cbam.yaml'
    """
    found = LETTER.search(file.stem.lower())
    return file.with_name(file.name[: found.start(1)] + file.name[found.end(1) :]) if found else None


def _size_in(spec: ModelSpec, file: Path | None) -> str:
    """The letter of the size that a file of this name must state for a graph."""
    letter = letter_of(file) or "n"
    changed = _changed_by_rules(spec, letter)
    if changed:
        raise RegardError(
            f"the name of the file chooses the size {letter!r}, whose rules change layer {changed!r}",
            file=file,
            expected="a name without a size, such as model.yaml",
        )
    return letter


def _changed_by_rules(spec: ModelSpec, letter: str) -> str | None:
    """The first layer that would be another one if the graph were read as of this size."""
    for layer in spec.layers:
        has_c3k = layer.options.get("c3k", layer.args[1] if len(layer.args) > 1 else False)
        if layer.module == "C3k2" and letter in LARGER and has_c3k is not True:
            return layer.name
        if layer.module == "A2C2f" and letter in LARGEST:
            return layer.name
    return None


def document(spec: ModelSpec, rows: Sequence[str], file: Path | None = None) -> str:
    """Write the document of a graph around ``rows``, one text per layer, for ``file``: see `write`."""
    letter = _size_in(spec, file)
    head = spec.layers[-1]
    lines = [f"nc: {spec.nc}"]
    lines += [f"{key}: {head.options[key]}" for key in ("reg_max", "end2end") if key in head.options]
    if spec.activation != DEFAULT:
        lines.append(f"activation: {spec.activation}")
    most = spec.max_channels or UNBOUNDED
    lines += ["scales:", f"  {letter}: [{spec.depth_multiple}, {spec.width_multiple}, {most}]"]
    return yolov5.sections(spec, lines, rows)


def check(spec: ModelSpec) -> None:
    """Check that the implicit rules of these families give the network that a graph describes.

    Raises:
        RegardError: the head is of another family, or a layer differs from what the rules give.
    """
    _check_head(spec)
    depthwise = any(layer.module in DEPTHWISE_IF for layer in spec.layers)
    head = spec.layers[-1]
    if head.module == HEAD and head.options.get("depthwise", False) != depthwise:
        has, expected = ("depth-wise", "full") if not depthwise else ("full", "depth-wise")
        raise RegardError(
            f"the head {head.name!r} has {has} convolutions in its class branch",
            expected=f"{expected} ones, as the rule for graphs "
            f"{'with' if depthwise else 'without'} {', '.join(DEPTHWISE_IF)} gives",
        )
    for layer in spec.layers:
        if layer.module == "SPPF" and layer.options.get("activation", True) != (len(_stated(spec, layer)) <= 2):
            raise RegardError(
                f"layer {layer.name!r}: an activation follows its first convolution only where it "
                "states no number of pools"
            )
        if layer.module in SQUARE_KERNELS and tuple(layer.options.get("kernel_sizes", (1, 3))) != (3, 3):
            raise RegardError(
                f"layer {layer.name!r}: its bottlenecks have kernels 1x1 and 3x3", expected="kernel_sizes [3, 3]"
            )


def _check_detect(head: LayerSpec, file: Path | None) -> None:
    """Reject a head with anchors: in these families its only argument is the number of classes."""
    if len(head.args) > 1:
        raise RegardError(
            f"{head.module} has the arguments {list(head.args)}",
            file=file,
            line=head.line,
            expected="[nc]: heads of YOLOv8 and later have no anchors, which `scales` says this file is",
        )


def _stated(spec: ModelSpec, layer: LayerSpec) -> Sequence[Any]:
    return yolov5.positional(spec, in_file(layer))


def _check_head(spec: ModelSpec) -> None:
    head = spec.layers[-1]
    if head.module not in (HEAD, "v10Detect"):
        raise RegardError(
            f"the head {head.module} is not one of YOLOv8 or later",
            hint="write it with --yolov5 (convert: --to yolov5), or in the native form"
            if head.module in HEADS
            else "give --to native",
        )


def _scale(document: Mapping[str, Any], lines: LineOf, file: Path | None) -> tuple[str, dict[str, Any]]:
    """The letter of the size, "" where there is none, and the multiples that it stands for."""
    scales = document.get("scales")
    if scales is None:
        return "", {}
    line = lines.get(("scales", -1))
    form = "a mapping such as n: [0.33, 0.25, 1024], of depth, width and most channels"
    if not isinstance(scales, dict) or not scales:
        raise RegardError(f"scales is {scales!r:.200}", file=file, line=line, expected=form)
    for position, (letter, values) in enumerate(scales.items()):
        if not isinstance(values, list) or len(values) != 3 or not all(map(_is_scale, values)):
            where = lines.get(("scales", position), line)
            raise RegardError(f"scales: {letter} is {values!r:.200}", file=file, line=where, expected=form)
    idle = [key for key in ("depth_multiple", "width_multiple", "max_channels") if key in document]
    if idle and file:  # the graphs of checkpoints state what `scales` gave, too
        what = f"{file}: {', '.join(idle)} has no effect beside scales"
        warn(what)
    letter = letter_of(file) or str(document.get("scale") or "")
    if not letter:
        letter = str(next(iter(scales)))
        if len(scales) > 1:
            what = f"{file or 'the graph'} states no size: {letter!r} of {', '.join(map(str, scales))} is taken"
            how = "to choose another, add the line `scale: s` to the file, or name it like yolo11s.yaml"
            warn(f"{what}; {how}")
    if letter not in scales:
        raise RegardError(
            f"there is no size {letter!r}",
            file=file,
            line=line,
            expected=one_of(map(str, scales)),
            hint=nearest(letter, [str(key) for key in scales]),
        )
    depth, width, most = scales[letter]
    return letter, {"depth_multiple": depth, "width_multiple": width, "max_channels": int(most)}


def _is_scale(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _written_out(layer: LayerSpec, spec: ModelSpec, letter: str) -> LayerSpec:
    """A row with what its module's implicit rule adds."""
    args = layer.args
    if layer.module == "C3k2" and letter and letter in LARGER:
        if not args:
            return replace(layer, options={**layer.options, "c3k": True})
        return replace(layer, args=(args[0], True, *args[2:]))
    if layer.module == "A2C2f" and letter and letter in LARGEST:
        return replace(layer, args=(*args, *(True, 1)[len(args) - 1 :], True, 1.2))
    if layer.module == "SPPF" and len(args) > 2:
        return replace(layer, options={**layer.options, "activation": False})
    if layer.module in SQUARE_KERNELS:
        return replace(layer, options={"kernel_sizes": (3, 3), **layer.options})
    if layer.module == "CBLinear":
        return replace(
            layer, args=(), options={"parts": args[0], **dict(zip(("kernel_size",), args[1:], strict=False))}
        )
    if layer.module == "CBFuse":
        parts = tuple(_parts(spec.layer(name)) for name in layer.inputs[:-1])
        return replace(layer, args=(), options={"select": args[0], "parts": parts})
    return layer


def _parts(layer: LayerSpec) -> Sequence[int]:
    parts = layer.options.get("parts", layer.args[0] if layer.args else ())
    return parts if isinstance(parts, tuple) else (parts,)


def in_file(layer: LayerSpec) -> LayerSpec:
    """A layer as a file of this form states it, for a size without implicit rules."""
    if layer.module in (HEAD, "v10Detect"):
        module = "Detect" if layer.module == HEAD else layer.module
        kept = {name: layer.options[name] for name in HEAD_OPTIONS if name in layer.options}
        return replace(layer, module=module, args=("nc", *([kept] if kept else [])), options={})
    stated = {
        "CBLinear": ("CBLinear", (layer.options.get("parts"),)),
        "CBFuse": ("CBFuse", (layer.options.get("select"),)),
    }
    if layer.module in stated:
        module, args = stated[layer.module]
        return replace(layer, module=module, args=args, options={})
    implied = {"SPPF": "activation", **dict.fromkeys(SQUARE_KERNELS, "kernel_sizes")}.get(layer.module)
    return replace(layer, options={name: value for name, value in layer.options.items() if name != implied})
