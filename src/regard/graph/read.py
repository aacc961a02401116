"""Reading graphs by name from the model zoo, from YAML files, and from overlays that edit another graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from regard.errors import RegardError, nearest, one_of
from regard.graph.align import name_layers
from regard.graph.dialects import native, ultralytics
from regard.graph.document import MOST_REPEATS, MOST_ROWS, parse_anchors, parse_args, parse_number, read_document
from regard.graph.edit import insert, remove, replace_layer
from regard.graph.spec import ModelSpec, SourceLocation
from regard.system.files import is_file, nearest_path, reject_special
from regard.system.loaders import BOMS, MOST_YAML, LineOf, check_keys, read_start, read_text

STOCK = (
    *("yolov5n", "yolov5n-p2", "yolov5n6"),
    *("yolov8n", "yolov8n-p2", "yolov8n-p6", "yolov8n-ghost", "yolo11n", "yolo12n"),
    *("yolo26n", "yolo26n-p2", "yolo26n-p6", "yolov10n", "yolov10m", "yolov9t", "yolov9e"),
)
"""One graph per architecture; the other sizes differ in depth, width and single blocks."""

WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")
NO_GRAPHS = (*WEIGHTS, ".onnx", ".torchscript", ".xml", ".bin", ".engine", ".tflite")
"""Suffixes of files with weights or exported models, which contain no YAML."""

GRAPHS = (".yaml", ".yml")
"""Suffixes of files with graphs."""
FROM_ZOO = "a name of the model zoo, which `regard summary --list` prints"
MISSPELT = 0.9
"""How close the name of a missing file is, 0 to 1, to that of a model of the zoo for the latter to be suggested."""

SIZES: Mapping[str, str] = {
    **dict.fromkeys(("yolov8", "yolov8-p2", "yolov8-p6", "yolov8-ghost", "yolo11", "yolo12"), "nsmlx"),
    **dict.fromkeys(("yolo26", "yolo26-p2", "yolo26-p6"), "nsmlx"),
}
"""Graphs of the zoo that are one file for several sizes, and the letters of these."""

MOST_BASES = 20
"""Number of overlays, each based on the next."""

COMMENT = re.compile(r"\s#\s*(.*)")
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
"""Characters that no text has in UTF-8 or in an encoding of Windows."""
MARKED = tuple(bom for bom, _ in BOMS)

MEANT = ("backbone", "head", "activation", "ch", "scales", "channel_multiple")
"""Keys of the graph in a checkpoint that change the network; others do not."""

SCALARS = ("nc", "depth_multiple", "width_multiple", "max_channels")
OVERLAY_KEYS = ("base", *SCALARS, "anchors", "insert", "replace", "remove")
KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "after": ((str, int), "the name or index of a layer"),
    "layer": ((str, int), "the name or index of a layer"),
    "module": ((str,), "the name of a module"),
    "args": ((list, dict), "a list, or a mapping of options"),
    "gate": ((bool,), "true or false"),
    "name": ((str,), "a word"),
    "readers": ((list,), "a list of names"),
    "number": ((int,), f"a whole number from 1 to {MOST_REPEATS}"),
}
EDIT_KEYS: Mapping[str, tuple[str, ...]] = {
    "insert": ("after", "module", "args", "gate", "name", "readers"),
    "replace": ("layer", "module", "args", "number"),
}


def zoo() -> list[str]:
    """Names of the models that are part of the package.

    Example:
        >>> "yolov5n" in zoo()
        True
    """
    files = (entry.name for entry in resources.files("regard").joinpath("models").iterdir())
    graphs = [name.removesuffix(".yaml") for name in files if name.endswith(".yaml")]
    return sorted(name for graph in graphs for name in _with_sizes(graph))


def _with_sizes(graph: str) -> list[str]:
    """Names of a graph of the zoo: with the letter of each size after the number, if it has several."""
    family, dash, rest = graph.partition("-")
    return [f"{family}{letter}{dash}{rest}" for letter in SIZES.get(graph, "")] or [graph]


@cache
def _stock() -> tuple[ModelSpec, ...]:
    return tuple(read_spec(name) for name in STOCK)


def stock_graphs(like: ModelSpec | None = None) -> tuple[ModelSpec, ...]:
    """Stock graphs, one per architecture; those whose head has anchors, or has none, as that of ``like``."""
    return tuple(graph for graph in _stock() if like is None or (graph.anchors is None) == (like.anchors is None))


def stock_name(spec: ModelSpec) -> str | None:
    """Find the name of the graph in the model zoo that ``spec`` equals, whatever its classes and its head.

    Example:
        >>> stock_name(read_spec("yolov5n").with_classes(3))
        'yolov5n'
    """

    def facts(graph: ModelSpec) -> tuple[object, ...]:
        rows = [replace(row, options=dict(row.options), gate=bool(row.gate)) for row in graph.layers]
        rows[-1] = replace(rows[-1], args=(), options={})
        return rows, graph.depth_multiple, graph.width_multiple, graph.max_channels, graph.activation

    return next((name for name in zoo() if facts(read_spec(name)) == facts(spec)), None)


def read_spec(source: str | Path) -> ModelSpec:
    """Read a graph: a name from the model zoo, or a YAML file in YOLOv5's form, the native form, or an overlay.

    Raises:
        RegardError: the file is not found or wrong; the error states file, line and the nearest valid choice.

    Example:
        >>> spec = read_spec("yolov5n-se")
        >>> spec.layer("sppf.se").inputs, len(spec.layers)
        (('sppf',), 26)
    """
    return _read(source, ())


def graph_file(path: Path) -> Path | None:
    """The file that is read for the graph called ``path``: itself, or one for all sizes, such as yolov8.yaml.

    Returns:
        None if there is neither, or the name is one of the zoo.
    """
    if is_file(path):
        return path
    whole = ultralytics.without_letter(path)
    return whole if whole and str(path).removesuffix(".yaml") not in zoo() and is_file(whole) else None


def parse_spec(text: str, file: Path | None, *, whole: bool = False) -> ModelSpec:
    """Read a graph from the text of a YAML document.

    Args:
        text: the document.
        file: the file that it comes from.
        whole: whether it must be a whole graph, as in a file of weights, which names no other file.

    Raises:
        RegardError: the text is wrong; the error states file, line and the nearest valid choice.
    """
    return _parse(text, file, (), whole=whole)


def _read(source: str | Path, above: tuple[Path, ...]) -> ModelSpec:
    """Read the graph that the overlays ``above`` are based on."""
    path = Path(source)
    if path.suffix.lower() in NO_GRAPHS and (is_file(path) or path.suffix.lower() in WEIGHTS):
        hint = "give weights as a separate option: --weights FILE (in Python: weights=)"
        if path.suffix.lower() not in WEIGHTS:
            hint = "the layers of an exported model are not read; use the weights that it was exported from"
        raise RegardError(
            f"{str(source)!r} is a file of weights or an exported model, not a graph",
            expected=f"a model YAML, or {FROM_ZOO}",
            hint=hint,
        )
    if file := graph_file(path):
        if file == path and path.resolve() in above:
            raise RegardError(f"the base {str(source)!r} refers back to itself")
        if len(above) >= MOST_BASES:
            raise RegardError("too many overlays, each based on the next", expected=f"at most {MOST_BASES}")
        _reject_binary(file)
        return _parse(read_text(file, MOST_YAML), file, above, size="" if file == path else ultralytics.letter_of(path))
    name = str(source).removesuffix(".yaml")
    if name in zoo():
        graph = next((g for g in SIZES if name in _with_sizes(g)), name)
        text = resources.files("regard").joinpath("models", f"{graph}.yaml").read_text(encoding="utf-8")
        return _parse(text, Path(f"{name}.yaml"), above)
    raise _unknown_model(str(source))


def _unknown_model(source: str) -> RegardError:
    """Describe what is neither a file nor a name of the zoo, by what its form says that it is meant to be.

    Raises:
        RegardError: it is a pipe, socket or device.
    """
    path, name = Path(source), source.removesuffix(".yaml")
    reject_special(path)
    if name in SIZES:
        hint: str | None = f"name a size: {', '.join(_with_sizes(name))}"
    elif len(path.parts) > 1 or path.suffix[1:2].isalpha():
        what = "no such file" if path.suffix else "no such file or folder"
        suffixes = (*GRAPHS, *WEIGHTS) if path.suffix.lower() in GRAPHS else ()
        return RegardError(what, file=source, hint=nearest_path(path, suffixes) or nearest(name, zoo(), MISSPELT))
    else:
        hint = nearest(name, zoo(), most=3)
    return RegardError(f"there is no model {source!r}", expected=f"a file, or {FROM_ZOO}", hint=hint)


def _reject_binary(file: Path) -> None:
    """Reject an image, a film, an archive: what has characters that no text has, however it is called."""
    start = read_start(file, 1024)
    if not start.startswith(MARKED) and CONTROL.search(start):
        expected = f"a model YAML, or weights: {', '.join(WEIGHTS)}"
        raise RegardError("not a model file: it is not text", file=file, expected=expected)


def _parse(text: str, file: Path | None, above: tuple[Path, ...], size: str = "", *, whole: bool = False) -> ModelSpec:
    document, lines = read_document(text, file)
    if whole and "base" in document:
        raise RegardError("the graph in it is based on another file", file=file, expected="a whole graph")
    if size and "scales" in document:
        document = {**document, "scale": size}
    if "base" in document:
        return _overlay(document, lines, file, above)
    dialect = ultralytics if ultralytics.recognise(document) else native
    spec = _with_comments(dialect.parse(document, lines, file), text)
    if not any(row.name.startswith("#") for row in spec.layers):
        return spec
    return name_layers(spec, stock_graphs(spec))


def _with_comments(spec: ModelSpec, text: str) -> ModelSpec:
    """Record the comment on the line of each layer, which may state what it reads."""
    lines = text.splitlines()
    layers = []
    for row in spec.layers:
        comment = COMMENT.search(lines[row.line - 1]) if row.line and row.line <= len(lines) else None
        origin = replace(row.origin, comment=comment[1]) if row.origin and comment else row.origin
        layers.append(replace(row, origin=origin))
    return replace(spec, layers=tuple(layers))


def spec_from_document(document: Mapping[str, Any]) -> ModelSpec:
    """Read the graph that a checkpoint contains as plain data.

    Raises:
        RegardError: it is not the graph of a detection model.
    """
    keys = (*OVERLAY_KEYS, *MEANT, *ultralytics.KEYS)
    plain = {key: document[key] for key in document if key in keys}
    return replace(parse_spec(yaml.safe_dump(_plain(plain)), None, whole=True), file=None)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _overlay(document: Mapping[str, Any], lines: LineOf, file: Path | None, above: tuple[Path, ...]) -> ModelSpec:
    check_keys(document, OVERLAY_KEYS, lines, file)
    base, line = document["base"], lines.get(("base", -1))
    if not isinstance(base, str):
        raise RegardError(f"base is {base!r:.100}", file=file, line=line, expected="the name of a model or of a file")
    try:
        found = base_source(base, file.parent if file else None)
        spec = _read(found, (*above, file.resolve()) if file else above)
    except RegardError as error:
        if error.file is not None:
            raise
        raise error.at(file, line) from error
    scalars: dict[str, Any] = {
        key: parse_number(document, key, 0, lines, file, whole=key in ("nc", "max_channels"))
        for key in SCALARS
        if key in document
    }
    if "anchors" in document:
        scalars["anchors"] = parse_anchors(document["anchors"], lines.get(("anchors", -1)), file)
    spec = replace(spec, **scalars, file=file)
    for key in document:
        if key in ("insert", "replace", "remove"):
            edits = document[key] if isinstance(document[key], list) else [document[key]]
            if len(edits) > MOST_ROWS:
                what, line = f"{len(edits):,} edits in {key}", lines.get((key, MOST_ROWS))
                raise RegardError(what, file=file, line=line, expected=f"at most {MOST_ROWS:,}")
            for i, edit in enumerate(edits):
                spec = _apply(spec, key, edit, file, lines.get((key, i), lines.get((key, -1))))
    return spec


def base_source(base: str, folder: Path | None) -> str | Path:
    """What the base of an overlay in ``folder`` names: a file next to it if there is one, else what it says."""
    found = graph_file(folder / base) if folder else None
    return (folder / base) if folder and found else base


def _apply(spec: ModelSpec, key: str, edit: Any, file: Path | None, line: int | None) -> ModelSpec:
    try:
        if key == "remove":
            _check_kind("layer", edit)
            return remove(spec, edit)
        fields = _edit_fields(key, edit)
        if "args" in fields:
            fields["args"], fields["options"] = parse_args(fields["args"], file, line)
        module = fields.pop("module")
        if key == "replace":
            name = spec.layer(fields["layer"]).name
            return _with_line(replace_layer(spec, fields.pop("layer"), module, **fields), name, file, line)
        return _with_origin(insert(spec, module, **fields), spec, file, line)
    except RegardError as error:
        raise error.at(file, line) from error


def _edit_fields(key: str, edit: Any) -> dict[str, Any]:
    """Check the keys and the types of the values of an edit."""
    if not isinstance(edit, dict):
        raise RegardError(f"{key} is {edit!r}", expected="a mapping of " + ", ".join(EDIT_KEYS[key]))
    for name, value in edit.items():
        if name not in EDIT_KEYS[key]:
            expected = one_of(EDIT_KEYS[key])
            raise RegardError(f"{key} has no key {name!r}", expected=expected, hint=nearest(name, EDIT_KEYS[key]))
        _check_kind(name, value)
    for name in EDIT_KEYS[key][:2]:
        if name not in edit:
            raise RegardError(f"{key} needs {name!r}")
    return dict(edit)


def _check_kind(name: str, value: Any) -> None:
    kinds, expected = KINDS[name]
    right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if not right or (name == "number" and not 1 <= value <= MOST_REPEATS):
        raise RegardError(f"{name!r} is {value!r}", expected=expected)


def _with_line(spec: ModelSpec, name: str, file: Path | None, line: int | None) -> ModelSpec:
    """Record the line of an edit in the layer called ``name``; its position does not change."""
    row = spec.layer(name)
    origin = replace(row.origin, line=line or 0, file=file) if row.origin else None
    return replace(spec, layers=tuple(replace(r, origin=origin) if r is row else r for r in spec.layers))


def _with_origin(spec: ModelSpec, before: ModelSpec, file: Path | None, line: int | None) -> ModelSpec:
    """Record the place of an edit in the layers that ``before`` does not contain."""
    known = {row.name for row in before.layers}
    return replace(
        spec,
        layers=tuple(
            row if row.name in known else replace(row, origin=SourceLocation(line or 0, i, row.inputs, file))
            for i, row in enumerate(spec.layers)
        ),
    )
