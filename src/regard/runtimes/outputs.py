"""Checks of what the program in an exported file declares and computes: anyone may have written it. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regard.errors import RegardError
from regard.runtimes.header import Header

Float32: TypeAlias = NDArray[np.float32]
Shape: TypeAlias = tuple[int | None, ...]
"""None where a size varies."""

INPUT = "images"
"""Name of the input."""

MOST_PIXELS = 1e9
"""Largest coordinate of a box, in input pixels, in either direction."""

MOST_PER_PIXEL = 4
"""Largest number of boxes before NMS per pixel of the input; YOLOv5 has 0.06."""

MOST_VALUES = 2**28
"""Largest number of values of the images of one call, and of the detections of one batch."""

ROUNDING = 0.01
"""How far above 1 a score may be, by rounding."""


class Port(NamedTuple):
    """An input or output of a program; its type and shape are None where they are unknown."""

    dtype: str | None
    shape: Shape | None


def check_input(shape: Shape | None, file: Path | None) -> None:
    """Reject a program that always takes more or larger images than fit into memory.

    Raises:
        RegardError: it does.
    """
    if shape and math.prod(n or 1 for n in shape) > MOST_VALUES:
        what = f"the program takes images of {_written(shape)}"
        raise RegardError(what, file=file, expected=f"at most {MOST_VALUES:,} numbers")


def check_ports(header: Header, inputs: Mapping[str, Port], outputs: Mapping[str, Port], file: Path | None) -> None:
    """Compare what a program takes and gives with what its header states.

    Raises:
        RegardError: the header does not belong to the program.
    """
    shape: Shape = (1, 3, header.imgsz, header.imgsz) if header.static else (None, 3, None, None)
    check_input(shape, file)
    for what, found, expected in (
        ("inputs", inputs, {INPUT: Port("uint8" if header.raw else "float32", shape)}),
        ("outputs", outputs, _expected_outputs(header)),
    ):
        if found.keys() != expected.keys():
            raise RegardError(
                f"the program's {what} are not those of its header: {', '.join(found) or 'none'}"[:300],
                file=file,
                expected=", ".join(expected),
            )
        for name, port in expected.items():
            _check_port(name, found[name], port, what == "inputs", file)


def _expected_outputs(header: Header) -> dict[str, Port]:
    nc = len(header.names)
    if header.raw:
        shapes: Sequence[Shape] = [(None, channels, None, None) for channels in header.raw.channels(nc)]
    else:
        shapes = [*([(None, 7)] if header.nms else []), (None, None, 4), (None, None, nc)]
    return {name: Port("float32", shape) for name, shape in zip(header.outputs, shapes, strict=True)}


def _check_port(name: str, found: Port, expected: Port, varies: bool, file: Path | None) -> None:
    """Where ``varies``, each size that is expected to vary must do so: the program takes any batch and size."""
    assert expected.shape is not None
    shape, dtype = found.shape, found.dtype
    matches = shape is None or (
        len(shape) == len(expected.shape)
        and all(s == e or (not varies if e is None else s is None) for s, e in zip(shape, expected.shape, strict=True))
    )
    if not matches or dtype not in (None, expected.dtype):
        raise RegardError(
            f"the program has {name!r} of {dtype} {_written(shape)}",
            file=file,
            expected=f"{expected.dtype} {_written(expected.shape)}, by its header",
        )


def _written(shape: Shape | None) -> str:
    return "of any shape" if shape is None else "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"


class OutputChecks:
    """What the outputs for one batch must look like; every method costs microseconds and raises `RegardError`.

    Args:
        header: of the file.
        images: the batch (B, 3, H, W).
        file: for messages.
    """

    def __init__(self, header: Header, images: NDArray[Any], file: Path | None) -> None:
        self.header, self.file = header, file
        self.batch, _, self.height, self.width = images.shape
        self.nc = len(header.names)

    def levels(self, levels: Sequence[Any]) -> None:
        """Check raw levels."""
        assert self.header.raw
        for level, channels, stride in zip(levels, self.header.raw.channels(self.nc), self.header.strides, strict=True):
            size = math.ceil(self.height / stride), math.ceil(self.width / stride)
            self._shape("a level", level, (self.batch, channels, *size))

    def decoded(self, boxes: Any, scores: Any) -> None:
        """Check the shapes of boxes (B, N, 4) and their class scores (B, N, nc)."""
        self._shape("boxes", boxes, (self.batch, None, 4))
        self._shape("scores", scores, (self.batch, boxes.shape[1], self.nc))
        if boxes.shape[1] > (most := MOST_PER_PIXEL * self.height * self.width):
            raise self._error(f"{boxes.shape[1]:,} boxes per image", f"at most {most:,} at this size")

    def foreign(self, output: Any, kind: str) -> None:
        """Check the output of a file of another package; see `regard.runtimes.foreign` for the kinds."""
        columns = {"decoded": 4 + self.nc, "rows": 6, "yolov5": 5 + self.nc}[kind]
        shape = (self.batch, columns, None) if kind == "decoded" else (self.batch, None, columns)
        self._shape("boxes", output, shape)
        count = output.shape[2 if kind == "decoded" else 1]
        if count > (most := MOST_PER_PIXEL * self.height * self.width):
            raise self._error(f"{count:,} boxes per image", f"at most {most:,} at this size")
        if kind == "rows":
            self._known("a class index", output[..., 5], self.nc)

    def rows(self, rows: Float32) -> Float32:
        """Check the predictions (n, 4 + nc) for one image, of which those that score too low are dropped already."""
        if len(rows):
            boxes = rows[:, :4].T.copy()  # in one piece its extremes, NaN if there is one, take a tenth of the time
            if not (boxes.min() >= -MOST_PIXELS and boxes.max() <= MOST_PIXELS):
                raise self._error("boxes that are not finite", f"coordinates of up to {MOST_PIXELS:.0e} pixels")
            if not rows[:, 4:].max() <= 1 + ROUNDING:
                raise self._error("a score that is no probability", "scores of 0 to 1")
        return rows

    def detections(self, detections: Any) -> None:
        """Check what NMS inside gives: (M, 7) image index, left, top, right, bottom, score, class index."""
        assert self.header.nms
        self._shape("detections", detections, (None, 7))
        most = min(self.batch * self.header.nms.max_det, MOST_VALUES // (4 + self.nc))
        if len(detections) > most:
            raise self._error(f"{len(detections):,} detections", f"at most {most:,}")
        for column, what, count in ((0, "an image index", self.batch), (6, "a class index", self.nc)):
            self._known(what, detections[:, column], count)

    def _known(self, what: str, values: Any, count: int) -> None:
        known = (values >= 0) & (values < count) & (values == np.floor(values))
        if not known.all():
            raise self._error(f"{what} of {values[~known][0]:g}", f"a whole number of 0 to {count - 1}")

    def _shape(self, what: str, found: Any, expected: Shape) -> None:
        if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
            kind = found.dtype if isinstance(found, np.ndarray) else type(found).__name__
            raise self._error(f"{what} of type {kind}", "an array of float32")
        if found.ndim != len(expected) or any(n not in (None, m) for n, m in zip(expected, found.shape, strict=True)):
            raise self._error(f"{what} of shape {_written(found.shape)}", _written(expected))

    def _error(self, found: str, expected: str) -> RegardError:
        return RegardError(f"the program in the file computes {found}", file=self.file, expected=expected)
