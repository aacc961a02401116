"""YOLOv5's form: layers as ``[from, number, module, args]`` that read each other by index.

Reading is shared with the native form, which accepts such rows; ``FIELDS`` and ``resolve_index`` define them. Unnamed
layers are named afterwards, see ``regard.graph.align``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regard.errors import RegardError
from regard.graph.document import flow
from regard.graph.spec import IMAGE, LayerSpec, ModelSpec
from regard.nn.activation import DEFAULT

FIELDS = ("from", "number", "module", "args")


def resolve_index(source: int, reader: int, line: int | None, file: Path | None) -> int | None:
    """Find the position that an index in ``from`` refers to; None is the image.

    Args:
        source: the index; negative ones count back from the reader.
        reader: position of the layer that reads.
        line: line of the reader, for error messages.
        file: the file, for error messages.

    Raises:
        RegardError: there is no such layer before the reader.

    Example:
        >>> resolve_index(-1, 5, None, None), resolve_index(3, 5, None, None)
        (4, 3)
    """
    target = reader + source if source < 0 else source
    if target == -1 and reader == 0:
        return None
    if not 0 <= target < reader:
        raise not_before(reader, source, line, file)
    return target


def not_before(reader: int, source: int, line: int | None = None, file: Path | None = None) -> RegardError:
    """The error of a row that reads itself, a later row or none; see `resolve_index`."""
    return RegardError(
        f"row {reader} reads row {source}, which is not before it",
        file=file,
        line=line,
        expected=f"-1 to -{reader}, or 0 to {reader - 1}" if reader else "-1, the image",
    )


def write(spec: ModelSpec, *, ungated: bool) -> str:
    """Write a graph as a file that YOLOv5 itself can read.

    Args:
        spec: the graph.
        ungated: write gated layers without their gates; the file then describes another network.

    Raises:
        RegardError: a layer is gated (without ``ungated``), has options that cannot be positional arguments or was not
            built, or a layer other than the first reads the image.
    """
    return document(spec, _checked_rows(spec, ungated))


def document(spec: ModelSpec, rows: Sequence[str]) -> str:
    """Write the document of a graph around ``rows``, one text per layer."""
    return sections(spec, _header(spec), rows)


def sections(spec: ModelSpec, header: Sequence[str], rows: Sequence[str]) -> str:
    """Write ``header``, then ``rows``, one text per layer, as backbone and head."""
    lines = list(header)
    for section, head in (("backbone", False), ("head", True)):
        lines += ["", f"{section}:"]
        lines += [f"  - {row}" for row, layer in zip(rows, spec.layers, strict=True) if layer.head is head]
    return "\n".join(lines) + "\n"


def integer_sources(spec: ModelSpec, reader: int, inputs: Sequence[str]) -> str:
    """Write ``from`` of the layer at position ``reader``: -1 for the preceding layer if it comes first, else indices.

    The image has no index; a later layer that reads it names it instead.
    """
    indices: list[int | str] = [IMAGE if name == IMAGE else spec.index(name) for name in inputs]
    if indices[0] == reader - 1 or (indices[0] == IMAGE and reader == 0):
        indices[0] = -1
    return str(indices[0]) if len(indices) == 1 else "[" + ", ".join(map(str, indices)) + "]"


def integer_row(spec: ModelSpec, row: LayerSpec, inputs: Sequence[str], args: Sequence[Any]) -> str:
    """Write a layer as ``[from, number, module, args]`` with the given inputs and arguments."""
    return f"[{integer_sources(spec, spec.index(row.name), inputs)}, {row.number}, {row.module}, {flow(args)}]"


def _header(spec: ModelSpec) -> list[str]:
    lines = [f"nc: {spec.nc}", f"depth_multiple: {spec.depth_multiple}", f"width_multiple: {spec.width_multiple}"]
    if spec.activation != DEFAULT:
        lines.append(f"activation: {spec.activation}")
    if spec.max_channels is not None:
        lines.append(f"max_channels: {spec.max_channels}")
    if spec.anchors is None:
        return lines
    if isinstance(spec.anchors, int):
        return [*lines, f"anchors: {spec.anchors}"]
    levels = ([int(x) if x.is_integer() else x for x in level] for level in spec.anchors)
    return [*lines, "anchors:", *(f"  - {flow(level)}" for level in levels)]


def _checked_rows(spec: ModelSpec, ungated: bool) -> list[str]:
    for layer in spec.layers:
        check_row(spec, layer, ungated)
    return [plain_row(spec, layer) for layer in spec.layers]


def check_row(spec: ModelSpec, row: LayerSpec, ungated: bool) -> None:
    """Check that integer rows can express a layer.

    Raises:
        RegardError: it is gated (without ``ungated``), or reads the image without being the first.
    """
    if row.gate and not ungated:
        raise RegardError(
            f"layer {row.name!r} is gated, which plain integer rows cannot express",
            hint="write it with --ungated (ungated=True) for the network without gates, or use the native form",
        )
    if IMAGE in row.inputs and row.name != spec.layers[0].name:
        raise RegardError(
            f"layer {row.name!r} reads the image, which only the first of integer rows can do",
            hint="use the native form (to_yaml)",
        )


def plain_row(spec: ModelSpec, row: LayerSpec) -> str:
    """Write a layer as ``[from, number, module, args]`` with its arguments by position.

    Raises:
        RegardError: it has options that cannot be positional arguments, or was not built.
    """
    return integer_row(spec, row, row.inputs, positional(spec, row))


def positional(spec: ModelSpec, row: LayerSpec) -> tuple[Any, ...]:
    """Arguments of a row by position.

    Raises:
        RegardError: it has options that cannot be positional arguments, or was not built.
    """
    info = spec.info.get(row.name)
    if row.args and not row.options:
        return row.args
    if info is None and row.origin and not row.options:
        return ()  # written as it was read
    if info is None or info.positional is None:
        why = (
            "has options that cannot be positional arguments"
            if info
            else "has not been built, so its channels are unknown"
        )
        raise RegardError(f"layer {row.name!r} {why}", hint="use the native form (to_yaml)")
    return info.positional
