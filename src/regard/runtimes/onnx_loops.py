"""Finding loops in an ONNX program without the package ``onnx``, in a millisecond: its weights are skipped.

Of ONNX's operators only Loop may never end, and regard never writes it.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from regard.errors import RegardError

GRAPH, FUNCTIONS, INITIALIZERS = 7, 25, (5, 15)
"""Numbers of fields: of ModelProto the first two, of GraphProto the last (those of weights)."""

_Data: TypeAlias = bytes | mmap.mmap
_LOOP = re.compile(rb"(?:\x22|\xa2\x80*\x00)(?:\x04|\x84\x80*\x00)Loop")
"""``op_type = "Loop"`` in a NodeProto: field 4 of 4 bytes; either number may have superfluous bytes."""


def reject_loops(file: Path) -> None:
    """Check that an ONNX program has no loop; what is no ONNX program passes, and is left to the runtime.

    Raises:
        RegardError: it has one.
    """
    with file.open("rb") as opened:
        if not file.stat().st_size:
            return
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for start, end in _parts(data):
                if _LOOP.search(data[start:end]):
                    raise RegardError("the program has a loop, which may never end", file=file)


def _parts(data: _Data) -> Iterator[tuple[int, int]]:
    """Where everything but the weights lies."""
    for number, start, end in _fields(data, 0, len(data)):
        if number == FUNCTIONS:
            yield start, end
        elif number == GRAPH:
            for inner, first, last in _fields(data, start, end):
                if inner not in INITIALIZERS:
                    yield first, last


def _fields(data: _Data, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a protobuf message; ends at what is none."""
    while start < end:
        key, start = _varint(data, start, end)
        kind, first = key & 7, start
        if kind == 0:
            _, start = _varint(data, start, end)
        elif kind == 2:
            size, first = _varint(data, start, end)
            start = first + size
        elif kind in (1, 5):
            start += 8 if kind == 1 else 4
        else:  # groups, which ONNX has not
            yield key >> 3, first, end
            return
        yield key >> 3, first, min(start, end)


def _varint(data: _Data, start: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while start < end and shift < 70:
        byte = data[start]
        value |= (byte & 127) << shift
        start, shift = start + 1, shift + 7
        if byte < 128:
            break
    return value, start
