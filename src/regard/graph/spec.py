"""A model graph as data: rows that name what they read. No layer is built here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regard.errors import RegardError, nearest

IMAGE = "image"
"""What the first row reads."""


@dataclass(frozen=True)
class SourceLocation:
    """Where a row was written, for messages and for finding stale references.

    Attributes:
        line: 1-based line in the file.
        index: position among all rows of the file.
        sources: ``from`` as written: indices, or names in the native form.
        file: the file; that of the base for a row that an overlay took over.
    """

    line: int
    index: int
    sources: tuple[int | str, ...]
    file: Path | None = None


@dataclass(frozen=True)
class LayerSpec:
    """One row of the graph.

    Attributes:
        name: unique in the graph.
        inputs: names of the rows it reads, ``IMAGE`` for the image.
        module: the layer's name in the table of layers, a class of ``torch.nn`` as ``nn.X``, or a user's own.
        number: repeats, before scaling by ``depth_multiple``.
        args: positional arguments as YOLOv5 writes them (output channels first and unscaled).
        options: arguments by name; not together with ``args``.
        gate: whether the layer stands behind a gate (see ``regard.nn.gate``); None where that was never asked.
        head: whether it was listed under ``head`` rather than ``backbone``.
        origin: where it was written; None for a row made by an edit.
    """

    name: str
    inputs: tuple[str, ...]
    module: str
    number: int = 1
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    gate: bool | None = None
    head: bool = False
    origin: SourceLocation | None = field(default=None, compare=False)

    @property
    def line(self) -> int | None:
        """The line it was written on, where it was read from a file."""
        return self.origin.line if self.origin else None

    @property
    def file(self) -> Path | None:
        """The file it was written in, where it was read from one."""
        return self.origin.file if self.origin else None


@dataclass(frozen=True)
class LayerInfo:
    """What building a row established.

    Attributes:
        in_channels: channels of each input.
        out_channels: channels of the output (0 for the detection head).
        arguments: the layer's arguments in order, the input's channels first, output channels scaled.
        positional: the arguments to write in YOLOv5's form, channels unscaled; None if they cannot be.
        stride: input pixels per cell of the output (0 for the detection head).
        repeats: the number after scaling by ``depth_multiple``.
    """

    in_channels: tuple[int, ...]
    out_channels: int
    arguments: tuple[Any, ...]
    positional: tuple[Any, ...] | None
    stride: float
    repeats: int


@dataclass(frozen=True)
class ModelSpec:
    """A whole graph.

    Attributes:
        layers: in order; a row reads only rows before it, the last is the detection head.
        nc: number of classes.
        depth_multiple: scales ``LayerSpec.number``.
        width_multiple: scales output channels.
        anchors: per level, widths and heights in input pixels, flat; or how many a level, to be fitted to data.
        file: where it was read from, for messages.
        info: by layer name, filled in by ``graph.build``.
    """

    layers: tuple[LayerSpec, ...]
    nc: int
    depth_multiple: float = 1.0
    width_multiple: float = 1.0
    anchors: tuple[tuple[float, ...], ...] | int = 3
    file: Path | None = field(default=None, compare=False)
    info: Mapping[str, LayerInfo] = field(default_factory=dict, compare=False)

    def index(self, name: str) -> int:
        """Return the position of the row called ``name``.

        Raises:
            RegardError: there is none; the nearest name is suggested.
        """
        for i, row in enumerate(self.layers):
            if row.name == name:
                return i
        names = [row.name for row in self.layers]
        raise RegardError(
            f"no layer is called {name!r}",
            file=self.file,
            expected="one of " + ", ".join(names),
            hint=nearest(name, names),
        )

    def layer(self, name: str | int) -> LayerSpec:
        """Return a row by name or by index (negative counts from the end).

        Raises:
            RegardError: there is no such row.
        """
        if isinstance(name, str) and name.lstrip("-").isdigit():
            name = int(name)
        if isinstance(name, str):
            return self.layers[self.index(name)]
        if not -len(self.layers) <= name < len(self.layers):
            raise RegardError(f"there is no row {name}", file=self.file, expected=f"0 to {len(self.layers) - 1}")
        return self.layers[name]

    def readers(self, name: str) -> tuple[LayerSpec, ...]:
        """Return the rows that read the row called ``name``."""
        return tuple(row for row in self.layers if name in row.inputs)

    def with_classes(self, nc: int) -> ModelSpec:
        """Return the same graph for another number of classes."""
        return replace(self, nc=nc, info={})

    def to_yaml(self) -> str:
        """Return the graph in the native form: named rows, nothing lost."""
        from regard.graph.write import native_yaml

        return native_yaml(self)

    def to_yolov5_yaml(self, *, ungated: bool = False) -> str:
        """Return the graph as a plain integer YOLOv5 YAML, which YOLOv5 itself can read.

        Args:
            ungated: write gated rows as plain ones; the result is then another network.

        Raises:
            RegardError: a row is gated (and not ``ungated``) or has options that cannot be written by position.
        """
        from regard.graph.write import yolov5_yaml

        return yolov5_yaml(self, ungated=ungated)
