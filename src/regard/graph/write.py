"""Writing a graph: the native form, which loses nothing, and YOLOv5's plain integers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from regard.errors import RegardError
from regard.graph.spec import IMAGE, LayerSpec, ModelSpec


def native_yaml(spec: ModelSpec) -> str:
    """Return ``spec`` as named rows; reading it again gives an equal graph."""
    lines = _header(spec)
    for section, head in (("backbone", False), ("head", True)):
        lines += ["", f"{section}:"]
        lines += [f"  - {_native_row(spec, i)}" for i, row in enumerate(spec.layers) if row.head is head]
    return "\n".join(lines) + "\n"


def yolov5_yaml(spec: ModelSpec, *, ungated: bool) -> str:
    """Return ``spec`` as a plain integer YAML.

    Raises:
        RegardError: a gated row without ``ungated``, options that have no position, a graph that was not built, or
            a row but the first that reads the image.
    """
    lines = _header(spec)
    for section, head in (("backbone", False), ("head", True)):
        lines += ["", f"{section}:"]
        lines += [f"  - {_checked_integer_row(spec, row, ungated)}" for row in spec.layers if row.head is head]
    return "\n".join(lines) + "\n"


def integer_sources(spec: ModelSpec, reader: int, inputs: Sequence[str]) -> str:
    """Return ``from`` as YOLOv5 writes it for row ``reader``: -1 for the row before if it comes first, else indices.

    The image has no index; where a later row reads it, it stands there by name.
    """
    indices: list[int | str] = [IMAGE if name == IMAGE else spec.index(name) for name in inputs]
    if indices[0] == reader - 1 or (indices[0] == IMAGE and reader == 0):
        indices[0] = -1
    return str(indices[0]) if len(indices) == 1 else "[" + ", ".join(map(str, indices)) + "]"


def integer_row(spec: ModelSpec, row: LayerSpec, inputs: Sequence[str], args: Sequence[Any]) -> str:
    """Return ``row`` as a line of an integer YAML, reading ``inputs``."""
    return f"[{integer_sources(spec, spec.index(row.name), inputs)}, {row.number}, {row.module}, {_flow(args)}]"


def _header(spec: ModelSpec) -> list[str]:
    lines = [f"nc: {spec.nc}", f"depth_multiple: {spec.depth_multiple}", f"width_multiple: {spec.width_multiple}"]
    if isinstance(spec.anchors, int):
        return [*lines, f"anchors: {spec.anchors}"]
    levels = ([int(x) if x.is_integer() else x for x in level] for level in spec.anchors)
    return [*lines, "anchors:", *(f"  - {_flow(level)}" for level in levels)]


def _native_row(spec: ModelSpec, i: int) -> str:
    row = spec.layers[i]
    before = spec.layers[i - 1].name if i else IMAGE
    sources = ["-1" if name == before else name for name in row.inputs]
    source = sources[0] if len(sources) == 1 else "[" + ", ".join(sources) + "]"
    args = (
        _flow(row.options)
        if row.options and not row.args
        else _flow([*row.args, *([row.options] if row.options else [])])
    )
    if row.gate is not None:
        fields = f"name: {row.name}, from: {source}, number: {row.number}, module: {row.module}, args: {args}"
        return f"{{{fields}, gate: {str(row.gate).lower()}}}"
    return f"{row.name}: [{source}, {row.number}, {row.module}, {args}]"


def _checked_integer_row(spec: ModelSpec, row: LayerSpec, ungated: bool) -> str:
    if row.gate and not ungated:
        raise RegardError(
            f"layer {row.name!r} is gated, which a YOLOv5 YAML cannot say",
            hint="write it with --ungated (to_yolov5_yaml(ungated=True)) for the network without gates, "
            "or keep the native form",
        )
    if IMAGE in row.inputs and row is not spec.layers[0]:
        raise RegardError(
            f"layer {row.name!r} reads the image, which only the first row of a YOLOv5 YAML can",
            hint="keep the native form (to_yaml)",
        )
    return integer_row(spec, row, row.inputs, _positional(spec, row))


def _positional(spec: ModelSpec, row: LayerSpec) -> tuple[Any, ...]:
    info = spec.info.get(row.name)
    if row.args and not row.options:
        return row.args
    if info is None and row.origin and not row.options:
        return ()  # as it was read
    if info is None or info.positional is None:
        why = (
            "has options that cannot be written by position"
            if info
            else "has not been built, so its channels are unknown"
        )
        raise RegardError(f"layer {row.name!r} {why}", hint="keep the native form (to_yaml)")
    return info.positional


def _flow(value: Any) -> str:
    """Return a value as YAML in flow style, with Python's bare words as YOLOv5 files have them."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return str(value)
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=math.inf)[1:-2]
