"""The form of YOLOv5 v1: each level ends in a plain convolution, and ``[[], 1, Detect, [nc, anchors]]`` reads them all.

The convolutions are those that the detection head of later versions contains, so these rows are left out, and the head
reads what they read, in the order of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from regard.errors import RegardError, warn
from regard.graph.spec import IMAGE, LayerSpec
from regard.nn.heads.yolov5 import anchors_per_cell, output_channels

Anchors = tuple[tuple[float, ...], ...] | int


def number_in_words(value: Any, nc: int, anchors: Anchors) -> Any:
    """What YOLOv5's words for numbers mean, such as ``na * (nc + 5)``; every other value is returned as it is.

    Example:
        >>> number_in_words("na * (nc + 5)", 80, 3), number_in_words("nearest", 80, 3)
        (255, 'nearest')
    """
    if not isinstance(value, str):
        return value
    outputs = output_channels(nc, anchors)
    known = {"nc": nc, "na": anchors_per_cell(anchors), "na*(nc+5)": outputs, "(nc+5)*na": outputs}
    known |= {f"{anchors_per_cell(anchors)}*(nc+5)": outputs, f"(nc+5)*{anchors_per_cell(anchors)}": outputs}
    return known.get(value.replace(" ", ""), value)


def moved_rows(document: Mapping[str, Any], nc: int, anchors: Anchors) -> dict[int, str]:
    """Where the tensors of each row of a graph of this form are after `sourceless_head`, by the row's old index.

    Args:
        document: the graph, as a checkpoint has it.
        nc: number of classes.
        anchors: of the graph.

    Returns:
        ``row`` or, for the convolutions that end the levels, ``row.m.level``; empty for a graph of another form.
    """
    rows = [row for section in ("backbone", "head") for row in document.get(section) or ()]
    if not rows or not all(isinstance(row, list) and len(row) == 4 for row in rows) or rows[-1][0] != []:
        return {}
    specs = [LayerSpec("", (), str(row[2]), args=tuple(row[3] or ())) for row in rows]
    ends = [i for i, spec in enumerate(specs[:-1]) if _ends_level(spec, nc, anchors)]
    kept = [i for i in range(len(rows)) if i not in ends]
    head = len(kept) - 1
    return {i: str(k) for k, i in enumerate(kept)} | {i: f"{head}.m.{level}" for level, i in enumerate(ends)}


def sourceless_head(layers: Sequence[LayerSpec], nc: int, anchors: Anchors, file: Path | None) -> list[LayerSpec]:
    """Leave out the convolutions that end the levels, and let the head read their inputs.

    Args:
        layers: as written, the last without inputs.
        nc: number of classes.
        anchors: of the graph.
        file: the file, for messages.

    Raises:
        RegardError: there are no such convolutions, or another row reads one.
    """
    *rows, head = layers
    ends = [row for row in rows if _ends_level(row, nc, anchors)]
    if not ends:
        what = "the detection head reads no layer, and no row is a convolution to its outputs"
        expected = "[nn.Conv2d, [na * (nc + 5), 1, 1, 0]] as the last row of each level, or the rows to read"
        raise RegardError(what, file=file, line=head.line, expected=expected)
    names = {row.name for row in ends}
    reader = next((row for row in rows if names & set(row.inputs)), None)
    if reader is not None:
        raise RegardError("a row reads the outputs of a detection level", file=file, line=reader.line)
    kept = [row for row in rows if row.name not in names]
    kept.append(replace(head, inputs=tuple(row.inputs[0] for row in ends)))
    index = {row.name: i for i, row in enumerate(kept)} | {IMAGE: -1}
    return [_moved(row, i, index) for i, row in enumerate(kept)]


def anchors_of_levels(anchors: Anchors, levels: int, line: int | None, file: Path | None) -> Anchors:
    """Anchors of the levels that there are, in order; a warning names further rows, which YOLOv5 v1 does not use."""
    if isinstance(anchors, int) or len(anchors) <= levels:
        return anchors
    where = f"{file}:{line}: " if file and line else ""
    unused = "; ".join(", ".join(f"{x:g}" for x in row) for row in anchors[levels:])
    what = f"{where}{len(anchors)} rows of anchors for {levels} detection levels: not used are {unused}: intended?"
    warn(what)
    return anchors[:levels]


def _ends_level(row: LayerSpec, nc: int, anchors: Anchors) -> bool:
    channels = number_in_words(row.args[0], nc, anchors) if row.args else None
    return row.module in ("nn.Conv2d", "Conv2d") and channels == output_channels(nc, anchors)


def _moved(row: LayerSpec, i: int, index: dict[str, int]) -> LayerSpec:
    """Write the references of a row by the new positions."""
    written = row.origin.sources if row.origin else ()
    relative = [isinstance(source, int) and source < 0 for source in written] or [False] * len(row.inputs)
    sources = tuple(
        index[name] - (i if back and index[name] >= 0 else 0) for name, back in zip(row.inputs, relative, strict=True)
    )
    return replace(row, origin=replace(row.origin, index=i, sources=sources) if row.origin else None)
