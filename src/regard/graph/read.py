"""From a name, a YAML file or a document to a graph: the zoo, plain files, and overlays on either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from regard.errors import RegardError, nearest
from regard.graph.edit import insert, remove, replace_layer
from regard.graph.naming import name_rows
from regard.graph.parse import LineOf, parse_anchors, parse_args, parse_graph, read_document
from regard.graph.spec import ModelSpec

STOCK = ("yolov5n", "yolov5n-p2", "yolov5n6")
"""One graph of each shape; the other sizes differ only in depth and width."""

OVERLAY_KEYS = ("base", "nc", "depth_multiple", "width_multiple", "anchors", "insert", "replace", "remove")
EDIT_KEYS: Mapping[str, tuple[str, ...]] = {
    "insert": ("after", "module", "args", "gate", "name", "readers"),
    "replace": ("layer", "module", "args", "number"),
}


def zoo() -> list[str]:
    """Return the names of the models that ship with the package."""
    files = (entry.name for entry in resources.files("regard").joinpath("models").iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


@cache
def stock_graphs() -> tuple[ModelSpec, ...]:
    """Return one stock graph of each shape."""
    return tuple(read_spec(name) for name in STOCK)


def read_spec(source: str | Path) -> ModelSpec:
    """Read a model: a name from the zoo, or a YAML file in the integer form, the native form, or an overlay.

    Raises:
        RegardError: not found, or wrong; with file, line and the nearest valid choice.
    """
    path = Path(source)
    if path.is_file():
        return parse_spec(path.read_text(encoding="utf-8", errors="replace"), path)
    name = str(source).removesuffix(".yaml")
    if name in zoo():
        text = resources.files("regard").joinpath("models", f"{name}.yaml").read_text(encoding="utf-8")
        return parse_spec(text, Path(f"{name}.yaml"))
    raise RegardError(
        f"there is no model {str(source)!r}",
        expected="a file, or one of " + ", ".join(zoo()),
        hint=nearest(name, zoo()),
    )


def parse_spec(text: str, file: Path | None) -> ModelSpec:
    """Read a model from the text of a YAML document.

    Raises:
        RegardError: wrong; with file, line and the nearest valid choice.
    """
    document, lines = read_document(text, file)
    if "base" in document:
        return _overlay(document, lines, file)
    spec = parse_graph(document, lines, file)
    if not any(row.name.startswith("#") for row in spec.rows):
        return spec
    return name_rows(spec, stock_graphs())


def spec_from_yolov5(document: Mapping[str, Any]) -> ModelSpec:
    """Return the graph that a YOLOv5 checkpoint carries as plain data.

    Raises:
        RegardError: it is not a detection model's graph.
    """
    plain = {key: document[key] for key in document if key in OVERLAY_KEYS or key in ("backbone", "head")}
    return replace(parse_spec(yaml.safe_dump(_plain(plain)), None), file=None)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _overlay(document: Mapping[str, Any], lines: LineOf, file: Path | None) -> ModelSpec:
    for key in document:
        if key not in OVERLAY_KEYS:
            raise RegardError(
                f"unknown key {key!r}",
                file=file,
                line=lines.get((key, -1)),
                expected="one of " + ", ".join(OVERLAY_KEYS),
                hint=nearest(key, OVERLAY_KEYS),
            )
    spec = read_spec(_base(document["base"], file))
    scalars = {k: document[k] for k in ("nc", "depth_multiple", "width_multiple") if k in document}
    for key, value in scalars.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise RegardError(f"{key} is {value!r}", file=file, line=lines.get((key, -1)), expected="a positive number")
    if "anchors" in document:
        scalars["anchors"] = parse_anchors(document["anchors"], lines.get(("anchors", -1)), file)
    spec = replace(spec, **scalars, file=file)
    for key in document:
        if key in ("insert", "replace", "remove"):
            edits = document[key] if isinstance(document[key], list) else [document[key]]
            for i, edit in enumerate(edits):
                spec = _apply(spec, key, edit, file, lines.get((key, i), lines.get((key, -1))))
    return spec


def _base(base: Any, file: Path | None) -> str | Path:
    beside = file.parent / str(base) if file else Path(str(base))
    return beside if beside.is_file() else str(base)


def _apply(spec: ModelSpec, key: str, edit: Any, file: Path | None, line: int | None) -> ModelSpec:
    try:
        if key == "remove":
            return remove(spec, edit)
        if not isinstance(edit, dict):
            raise RegardError(f"{key} is {edit!r}", expected="a mapping of " + ", ".join(EDIT_KEYS[key]))
        for name in edit:
            if name not in EDIT_KEYS[key]:
                raise RegardError(
                    f"{key} has no {name!r}",
                    expected="one of " + ", ".join(EDIT_KEYS[key]),
                    hint=nearest(name, EDIT_KEYS[key]),
                )
        for name in EDIT_KEYS[key][:2]:
            if name not in edit:
                raise RegardError(f"{key} needs {name!r}")
        fields = dict(edit)
        if "args" in fields:
            fields["args"], fields["options"] = parse_args(fields["args"], file, line)
        module = fields.pop("module")
        if key == "insert":
            return insert(spec, module, **fields)
        return replace_layer(spec, fields.pop("layer"), module, **fields)
    except RegardError as error:
        raise RegardError(error.what, file=file, line=line, expected=error.expected, hint=error.hint) from error
