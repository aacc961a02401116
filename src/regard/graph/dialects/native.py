"""The native form: layers with names that read each other by name; it represents every graph without loss.

Layers without a name and references by index, as in YOLOv5's files, are accepted as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from regard.errors import RegardError, nearest
from regard.graph.dialects import yolov5
from regard.graph.dialects.timm_rows import timm_rows
from regard.graph.dialects.yolov5_v1 import anchors_of_levels, sourceless_head
from regard.graph.document import MOST_REPEATS, MOST_ROWS, MOST_SOURCES, flow, parse_anchors, parse_args, parse_number
from regard.graph.spec import IMAGE, LayerSpec, ModelSpec, SourceLocation, check_name
from regard.nn.activation import DEFAULT, plain_activation
from regard.system.loaders import LineOf, check_keys

GRAPH_KEYS = ("nc", "depth_multiple", "width_multiple", "max_channels", "anchors", "activation", "backbone", "head")
LAYER_KEYS = ("name", *yolov5.FIELDS, "gate")
IGNORED_KEYS = ("ch", "names", "yaml_file")
"""Keys of checkpoints and of files that also describe data; they do not describe the graph."""


def parse(document: Mapping[str, Any], lines: LineOf, file: Path | None) -> ModelSpec:
    """Build the graph that a document describes. Layers without a name are called ``#index`` for the time being.

    Args:
        document: the content of the file.
        lines: line numbers, from ``read_document``.
        file: the file, for error messages.

    Raises:
        RegardError: a key, a row or a reference is wrong; the error names file and line.
    """
    _check_family(document, lines, file)
    check_keys(document, GRAPH_KEYS, lines, file, ignored=IGNORED_KEYS)
    raw: list[tuple[Any, bool, int]] = []
    for section in ("backbone", "head"):
        items = document.get(section)
        if not isinstance(items, list):
            what = f"{section!r} is missing" if items is None else f"{section!r} is not a list"
            raise RegardError(what, file=file, line=lines.get((section, -1)), expected="rows")
        for i, item in enumerate(items):
            line = lines.get((section, i), 0)
            raw += [(row, section == "head", line) for row in timm_rows(item, line, file)]
    if len(raw) > MOST_ROWS:
        raise RegardError(f"{len(raw):,} rows", file=file, line=raw[MOST_ROWS][2], expected=f"at most {MOST_ROWS:,}")
    layers = _resolve([_parse_layer(item, head, line, i, file) for i, (item, head, line) in enumerate(raw)], file)
    anchors = _anchors(document, layers, lines, file)
    if layers and not layers[-1].inputs and anchors is not None:
        layers = sourceless_head(layers, parse_number(document, "nc", 80, lines, file, whole=True), anchors, file)
        anchors = anchors_of_levels(anchors, len(layers[-1].inputs), lines.get(("anchors", -1)), file)
    for layer in layers:
        if not layer.inputs:
            raise RegardError("'from' is [] in a row that is not the last", file=file, line=layer.line)
    return ModelSpec(
        layers=tuple(layers),
        nc=parse_number(document, "nc", 80, lines, file, whole=True),
        depth_multiple=parse_number(document, "depth_multiple", 1.0, lines, file),
        width_multiple=parse_number(document, "width_multiple", 1.0, lines, file),
        max_channels=_most_channels(document, lines, file),
        anchors=anchors,
        file=file,
        activation=_activation(document, lines, file),
    )


def _check_family(document: Mapping[str, Any], lines: LineOf, file: Path | None) -> None:
    """Reject what would silently be another network: other families, and images of other than three channels."""
    expected = "a graph of YOLOv5's kind, with depth_multiple and width_multiple"
    if "scales" in document:
        what = "'scales' belongs to graphs of YOLOv8 and later"
        raise RegardError(what, file=file, line=lines.get(("scales", -1)), expected=expected)
    if document.get("ch", 3) not in (3, None):
        what = f"ch is {document['ch']!r}, but images have three channels here"
        raise RegardError(what, file=file, line=lines.get(("ch", -1)), expected="ch: 3, or no such key")


def _activation(document: Mapping[str, Any], lines: LineOf, file: Path | None) -> str:
    try:
        return plain_activation(document.get("activation") or DEFAULT)
    except RegardError as error:
        raise error.at(file, lines.get(("activation", -1))) from error


def _most_channels(document: Mapping[str, Any], lines: LineOf, file: Path | None) -> int | None:
    if "max_channels" not in document:
        return None
    return int(parse_number(document, "max_channels", 0, lines, file, whole=True))


def _anchors(
    document: Mapping[str, Any], layers: Sequence[LayerSpec], lines: LineOf, file: Path | None
) -> tuple[tuple[float, ...], ...] | int | None:
    """Anchors as stated; else three per level to be fitted, if the last layer asks for anchors, or none."""
    if "anchors" in document:
        return parse_anchors(document["anchors"], lines.get(("anchors", -1)), file)
    asks = not layers or "anchors" in (*layers[-1].args, *layers[-1].options.values())
    return 3 if asks else None


def write(spec: ModelSpec) -> str:
    """Write a graph; reading the text gives an equal graph."""
    return yolov5.document(spec, [_row(spec, i) for i in range(len(spec.layers))])


def _parse_layer(item: Any, head: bool, line: int, index: int, file: Path | None) -> LayerSpec:
    """Read one row. Its inputs are empty until ``_resolve``; the references are in its origin."""
    name, fields = "", item
    if isinstance(item, dict) and len(item) == 1 and isinstance(next(iter(item.values())), list):
        name, fields = next(iter(item.items()))
    if isinstance(fields, list) and 3 <= len(fields) <= 4:
        keyed = dict(zip(yolov5.FIELDS, fields, strict=False))
    elif isinstance(fields, dict) and "module" in fields:
        keyed = fields
        name = fields.get("name", "")
    else:
        raise RegardError(
            f"this row cannot be read: {item!r}",
            file=file,
            line=line,
            expected="[from, number, module, args], name: [from, number, module, args], or a mapping with module",
        )
    for key in keyed:
        if key not in LAYER_KEYS:
            raise RegardError(f"unknown key {key!r} in a row", file=file, line=line, hint=nearest(key, LAYER_KEYS))
    sources = keyed.get("from", -1)
    sources = tuple(sources) if isinstance(sources, list) else (sources,)
    number, module, gate = keyed.get("number", 1), keyed["module"], keyed.get("gate")
    fewest = 0 if module == "Detect" else 1  # YOLOv5 v1's form
    if not fewest <= len(sources) <= MOST_SOURCES or any(
        isinstance(s, bool) or not isinstance(s, int | str) for s in sources
    ):
        expected = f"an index, a name, or a list of at most {MOST_SOURCES}"
        raise RegardError(f"'from' is {keyed.get('from')!r:.200}", file=file, line=line, expected=expected)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST_REPEATS:
        expected = f"a whole number from 1 to {MOST_REPEATS}"
        raise RegardError(f"'number' is {number!r}", file=file, line=line, expected=expected)
    if not isinstance(module, str) or not isinstance(name, str) or not isinstance(gate, bool | None):
        raise RegardError(
            f"this row cannot be read: {item!r}", file=file, line=line, expected="module and name as words"
        )
    args, options = parse_args(keyed.get("args", []), file, line)
    return LayerSpec(name, (), module, number, args, options, gate, head, SourceLocation(line, index, sources, file))


def _resolve(layers: Sequence[LayerSpec], file: Path | None) -> list[LayerSpec]:
    """Replace each reference by the name of the layer that it refers to."""
    names = [layer.name or f"#{i}" for i, layer in enumerate(layers)]
    resolved: list[LayerSpec] = []
    for i, layer in enumerate(layers):
        if layer.name:
            check_name(layer.name, names[:i], file, layer.line)
        sources = layer.origin.sources if layer.origin else ()
        inputs = tuple(_resolve_one(source, i, names, layer.line, file) for source in sources)
        resolved.append(replace(layer, name=names[i], inputs=inputs))
    return resolved


def _resolve_one(source: int | str, i: int, names: list[str], line: int | None, file: Path | None) -> str:
    if isinstance(source, int):
        target = yolov5.resolve_index(source, i, line, file)
        return IMAGE if target is None else names[target]
    if source == IMAGE or source in names[:i]:
        return source
    known = [name for name in names[:i] if not name.startswith("#")]
    raise RegardError(
        f"row {i} reads {source!r}, which is not before it", file=file, line=line, hint=nearest(source, known)
    )


def _row(spec: ModelSpec, i: int) -> str:
    row = spec.layers[i]
    before = spec.layers[i - 1].name if i else IMAGE
    sources = ["-1" if name == before else name for name in row.inputs]
    source = sources[0] if len(sources) == 1 else "[" + ", ".join(sources) + "]"
    args = (
        flow(row.options)
        if row.options and not row.args
        else flow([*row.args, *([row.options] if row.options else [])])
    )
    if row.gate is not None:
        fields = f"name: {row.name}, from: {source}, number: {row.number}, module: {row.module}, args: {args}"
        return f"{{{fields}, gate: {str(row.gate).lower()}}}"
    return f"{row.name}: [{source}, {row.number}, {row.module}, {args}]"
