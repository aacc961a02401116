"""A model graph as data: layers that name what they read. No network is built here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regard.errors import RegardError, nearest, one_of

IMAGE = "image"
"""Name under which layers read the input image."""

NAME = re.compile(r"[^\W\d][\w.-]*")
"""Names of layers: words that need no quotes in YAML and cannot be confused with an index."""

RESERVED = (IMAGE, "null", "true", "false", "yes", "no", "on", "off")


@dataclass(frozen=True)
class SourceLocation:
    """Place where a layer is written, for messages and for finding wrong references.

    Attributes:
        line: 1-based line in the file.
        index: position among all layers of the file.
        sources: ``from`` as written: indices, or names in the native form.
        file: the file; for a layer that an overlay inherits, the file of its base.
        comment: what follows it on its line.
    """

    line: int
    index: int
    sources: tuple[int | str, ...]
    file: Path | None = None
    comment: str = ""


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a graph.

    Attributes:
        name: unique in the graph.
        inputs: names of the layers that it reads, ``IMAGE`` for the image.
        module: class name in the table of layers, ``nn.X`` for a class of ``torch.nn``, or the name of a user's class.
        number: number of repeats before scaling by ``depth_multiple``.
        args: positional arguments as YOLOv5 writes them (output channels first and unscaled).
        options: arguments by name, in addition to ``args``.
        gate: whether the layer is behind a gate (see ``regard.nn.gate``); None if the file does not state it.
        head: whether it is listed under ``head``, not ``backbone``.
        origin: where it is written; None for a layer made by an edit.
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
        """Line in the file, or None if the layer was not read from a file."""
        return self.origin.line if self.origin else None

    @property
    def file(self) -> Path | None:
        """File that the layer was read from, or None."""
        return self.origin.file if self.origin else None


@dataclass(frozen=True)
class LayerInfo:
    """Facts about a layer that are known once it is built.

    Attributes:
        in_channels: channels of each input.
        out_channels: channels of the output (0 for the detection head).
        arguments: arguments of the constructor in order: input channels first, output channels scaled.
        positional: arguments in YOLOv5's form, channels unscaled; None if that form cannot express them.
        stride: input pixels per cell of the output (0 for the detection head).
        repeats: number of repeats after scaling by ``depth_multiple``.
        call: arguments of the constructor by position; None if it cannot be called so.
        shape: (C, H, W) of the output on the image on which shapes are measured; () for the detection head.
        values: all options of the constructor by name, with those that take their defaults.
    """

    in_channels: tuple[int, ...]
    out_channels: int
    arguments: tuple[Any, ...]
    positional: tuple[Any, ...] | None
    stride: float
    repeats: int
    call: tuple[Any, ...] | None = None
    shape: tuple[int, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSpec:
    """A model graph.

    Attributes:
        layers: in order; a layer reads only layers before it, the last one is the detection head.
        nc: number of classes.
        depth_multiple: scales ``LayerSpec.number``.
        width_multiple: scales output channels.
        max_channels: most output channels of a layer before scaling, where there is a limit.
        anchors: widths and heights in input pixels, flat, per level; or their number per level, to be fitted to data;
            None for a head without anchors.
        file: the file that the graph was read from, for messages.
        activation: of the package's convolutions, as in ``regard.nn.activation``.
        info: facts by layer name, filled in by ``graph.build``.
    """

    layers: tuple[LayerSpec, ...]
    nc: int
    depth_multiple: float = 1.0
    width_multiple: float = 1.0
    max_channels: int | None = None
    anchors: tuple[tuple[float, ...], ...] | int | None = 3
    file: Path | None = field(default=None, compare=False)
    info: Mapping[str, LayerInfo] = field(default_factory=dict, compare=False)
    activation: str = "nn.SiLU()"

    def error_at(
        self, row: LayerSpec, what: str, *, expected: str | None = None, hint: str | None = None
    ) -> RegardError:
        """Make an error about a layer, with the file and the line in which it is written."""
        return RegardError(what, file=row.file or self.file, line=row.line, expected=expected, hint=hint)

    def place_of(self, row: LayerSpec) -> str:
        """File and line of a layer as the start of a message; "" if it is written nowhere."""
        file = row.file or self.file
        return f"{file}:{row.line}: " if file and row.line else ""

    def index(self, name: str) -> int:
        """Find the position of the layer called ``name``.

        Raises:
            RegardError: there is no such layer; the nearest name is suggested.
        """
        names = [layer.name for layer in self.layers]
        if name in names:
            return names.index(name)
        raise RegardError(
            f"no layer is called {name!r}",
            file=self.file,
            expected=one_of(names),
            hint=nearest(name, names),
        )

    def layer(self, name: str | int) -> LayerSpec:
        """Look up a layer by name or by index; negative indices count from the end.

        Raises:
            RegardError: there is no such layer.
        """
        if isinstance(name, str) and name.lstrip("-").isdigit():
            name = int(name)
        if isinstance(name, str):
            return self.layers[self.index(name)]
        if not -len(self.layers) <= name < len(self.layers):
            raise RegardError(f"there is no row {name}", file=self.file, expected=f"0 to {len(self.layers) - 1}")
        return self.layers[name]

    def row_of(self, path: str) -> LayerSpec:
        """The layer that a module of a built detector is, or lies in, by the module's path: ``<layer>.<path>``."""
        inside = [row for row in self.layers if f"{path}.".startswith(f"{row.name}.")]
        return max(inside, key=lambda row: len(row.name))  # "p4.se" is a separate layer and not a part of "p4"

    def readers(self, name: str) -> tuple[LayerSpec, ...]:
        """All layers that read the layer called ``name``."""
        return tuple(layer for layer in self.layers if name in layer.inputs)

    def with_classes(self, nc: int) -> ModelSpec:
        """Copy the graph for another number of classes."""
        return replace(self, nc=nc, info={})

    def without_lines(self) -> ModelSpec:
        """Copy the graph of a file that has no lines, such as a checkpoint, for messages about its rows."""
        layers = (replace(x, origin=replace(x.origin, line=0)) if x.origin else x for x in self.layers)
        return replace(self, layers=tuple(layers))

    def to_yaml(self) -> str:
        """Write the graph in the native form: named layers, without loss."""
        from regard.graph.dialects import native

        return native.write(self)

    def to_yolov5_yaml(self, *, ungated: bool = False) -> str:
        """Write the graph as a YOLOv5 YAML with integer references, which YOLOv5 itself can read.

        Args:
            ungated: write gated layers without their gates; the file then describes another network.

        Raises:
            RegardError: a layer is gated (without ``ungated``) or has options that cannot be positional arguments.
        """
        from regard.graph.dialects import yolov5

        return yolov5.write(self, ungated=ungated)

    def to_ultralytics_yaml(self, *, ungated: bool = False, file: Path | None = None) -> str:
        """Write the graph as a YAML with integer references and ``scales``, as YOLOv8 and later have it.

        Args:
            ungated: write gated layers without their gates; the file then describes another network.
            file: the file that is meant, whose name may state a size.

        Raises:
            RegardError: the head is of another family, the name states a size whose rules give another network, or as
                ``to_yolov5_yaml``.
        """
        from regard.graph.dialects import ultralytics

        return ultralytics.write(self, ungated=ungated, file=file)


def check_name(name: str, taken: Sequence[str], file: Path | None = None, line: int | None = None) -> None:
    """Check that a layer may be called ``name``.

    Raises:
        RegardError: the name is taken, reserved, or needs quotes in YAML.
    """
    if not NAME.fullmatch(name) or name.lower() in RESERVED:
        raise RegardError(
            f"{name!r} cannot be the name of a layer",
            file=file,
            line=line,
            expected="a letter, then letters, digits, '_', '-' or '.'",
        )
    if name in taken:
        raise RegardError(f"there already is a layer called {name!r}", file=file, line=line)
