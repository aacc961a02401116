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

LARGEST_KEY, LARGEST_SIZE = 2**32, 2**31
"""Above these, versions of protobuf differ in what they read."""

_Data: TypeAlias = bytes | mmap.mmap
_LOOP = re.compile(rb"(?:\x04|\x84\x80*\x00)Loop")
"""A text "Loop", as an ``op_type`` is; its length of 4 may have superfluous bytes, and what stands before it is not
looked at, as the number of a field can be written in many ways."""


class _AmbiguousError(ValueError):
    """A message that can be read in two ways."""


def reject_loops(file: Path) -> None:
    """Check that an ONNX program has no loop; what is no ONNX program passes, and is left to the runtime.

    Raises:
        RegardError: it has one, or fields of which versions of the runtime read something else than what is checked.
    """
    with file.open("rb") as opened:
        if not file.stat().st_size:
            return
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                is_endless = any(_LOOP.search(data[start:end]) for start, end in _parts(data))
            except _AmbiguousError:
                raise RegardError("damaged or no ONNX program", file=file) from None
            if is_endless:
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
    """Number, start and end of each field of a protobuf message.

    Raises:
        _AmbiguousError: a number is too large, or a field is a group, which ONNX has not.
    """
    while start < end:
        key, start = _varint(data, start, end)
        kind, first = key & 7, start
        if kind == 0:
            _, start = _varint(data, start, end)
        elif kind == 2:
            size, first = _varint(data, start, end)
            start = first + size
            if size >= LARGEST_SIZE:
                raise _AmbiguousError
        elif kind in (1, 5):
            start += 8 if kind == 1 else 4
        if kind not in (0, 1, 2, 5) or key >= LARGEST_KEY:
            raise _AmbiguousError
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
