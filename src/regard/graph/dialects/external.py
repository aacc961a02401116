"""Graphs for the packages that published these families, as their own builders read them.

A layer that such a package does not have is written as its builder calls a class that it does not know: with the
arguments of the constructor, channels included. Such a builder takes for granted that the layer keeps its channels.
A gate is written as a class of its own, which `regard.nn.gate.gated` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from regard.errors import RegardError, one_of
from regard.graph.dialects import ultralytics, yolov5
from regard.graph.document import flow
from regard.graph.signature import signature_of
from regard.graph.spec import LayerSpec, ModelSpec
from regard.nn.gate import GATED
from regard.nn.heads import HEADS
from regard.nn.table import LAYERS

YOLOV5_LAYERS = frozenset(
    ("Bottleneck", "BottleneckCSP", "C3", "C3Ghost", "C3TR", "C3x", "Concat", "Conv", "Detect", "DWConv", "Focus")
) | {"GhostBottleneck", "GhostConv", "nn.ConvTranspose2d", "SPP", "SPPF"}
SAME_NAME = frozenset(("Detect", "RepConv"))
"""Other classes that these packages have under names of this project's layers."""

ULTRALYTICS_LAYERS = YOLOV5_LAYERS - SAME_NAME | {
    *("A2C2f", "AConv", "ADown", "AnchorFreeDetect", "C2", "C2f", "C2fCIB", "C2fPSA", "C2PSA", "C3k2", "CBFuse"),
    *("CBLinear", "ELAN1", "PSA", "RepC3", "RepNCSPELAN4", "SCDown", "SPPELAN", "v10Detect"),
}

REPEAT_INSIDE = frozenset(name for name, layer in LAYERS.items() if signature_of(layer).repeats)


@dataclass(frozen=True)
class Package:
    """A package for which graphs are written.

    Attributes:
        title: as messages call it.
        namespace: the module in which its builder looks for classes.
        layers: layers of this project that it builds by the same rules.
        document: writes header and rows for a file, whose name may choose the size.
        in_file: a layer in its form.
        check: raises an error where it would build another network.
    """

    title: str
    namespace: str
    layers: frozenset[str]
    document: Callable[[ModelSpec, Sequence[str], Path | None], str]
    in_file: Callable[[LayerSpec], LayerSpec]
    check: Callable[[ModelSpec], None]


@dataclass(frozen=True)
class ExternalGraph:
    """A graph for another package.

    Attributes:
        text: the YAML.
        classes: names of the layers by the class that the package must be given for them.
    """

    text: str
    classes: Mapping[str, tuple[str, ...]]


def _check_yolov5(spec: ModelSpec) -> None:
    head = spec.layers[-1].module
    if head != "Detect":
        hint = "give --to ultralytics, or --to native" if head in HEADS else "give --to native"
        raise RegardError(f"the head {head} is not YOLOv5's", hint=hint)
    if spec.max_channels is not None:
        raise RegardError("max_channels limits the channels, which YOLOv5 cannot express", hint="give --to native")


def _yolov5_document(spec: ModelSpec, rows: Sequence[str], _file: Path | None) -> str:
    return yolov5.document(spec, rows)


PACKAGES: Mapping[str, Package] = MappingProxyType(
    {
        "yolov5": Package("YOLOv5", "models.yolo", YOLOV5_LAYERS, _yolov5_document, lambda layer: layer, _check_yolov5),
        "ultralytics": Package(
            "Ultralytics' package",
            "ultralytics.nn.tasks",
            ULTRALYTICS_LAYERS,
            ultralytics.document,
            ultralytics.in_file,
            ultralytics.check,
        ),
    }
)


def write(spec: ModelSpec, package: Package, names: Mapping[int, str], file: Path | None = None) -> ExternalGraph:
    """Write a graph for another package.

    Args:
        spec: the graph, built.
        package: one of `PACKAGES`.
        names: class names, which such a file may state.
        file: the file that is meant.

    Raises:
        RegardError: the package cannot build the graph, whatever classes it is given, or would build another one from
            a file of this name.
    """
    _check_head(spec)
    package.check(spec)
    rows: list[str] = []
    classes: dict[str, list[str]] = {}
    for layer in spec.layers:
        yolov5.check_row(spec, layer, ungated=True)
        if layer.module in package.layers and not layer.gate:
            _check_repeats(spec, layer)
            rows.append(yolov5.plain_row(spec, package.in_file(layer)))
            continue
        given = _given(spec, layer, package)
        rows.append(yolov5.integer_row(spec, given, layer.inputs, given.args))
        if not given.module.startswith("nn."):
            classes.setdefault(given.module, []).append(layer.name)
    text = f"names: {flow(names)}\n{package.document(spec, rows, file)}"
    return ExternalGraph(text, {name: tuple(layers) for name, layers in classes.items()})


def _check_head(spec: ModelSpec) -> None:
    """Reject attention in the head, which no other package builds."""
    head = spec.layers[-1]
    positions = signature_of(LAYERS[head.module]).positions if head.module in LAYERS else []
    given = {**dict(zip(positions, head.args, strict=False)), **head.options}
    if given.get("attention") is not None:
        raise RegardError(
            f"the head {head.name!r} has attention ({given['attention']}), which other packages do not have",
            hint="write it in the native form (--to native), or replace the head by one without attention",
        )


def _check_repeats(spec: ModelSpec, layer: LayerSpec) -> None:
    """Reject a chain of equal layers that changes the channels: other builders give each the input's."""
    info = spec.info[layer.name]
    if info.repeats > 1 and info.in_channels != (info.out_channels,) and layer.module not in REPEAT_INSIDE:
        raise RegardError(
            f"layer {layer.name!r}: {info.repeats} times {layer.module} turn {info.in_channels[0]} channels into "
            f"{info.out_channels}, which other packages build with equal channels",
            hint="write the first as a row of its own",
        )


def _given(spec: ModelSpec, layer: LayerSpec, package: Package) -> LayerSpec:
    """A row as the builder calls classes of torch, and those that it does not know."""
    info = spec.info[layer.name]
    why = None
    if len(layer.inputs) > 1:
        why = "reads several layers"
    elif info.in_channels != (info.out_channels,):
        why = f"turns {info.in_channels[0]} channels into {info.out_channels}"
    elif layer.module in SAME_NAME and not layer.gate:
        why = "is another layer there"
    elif info.call is None:
        why = "has repeats or options that cannot be positional arguments"
    elif layer.gate and info.repeats > 1:
        why = "is repeated behind a gate"
    if why is not None or info.call is None:
        raise RegardError(
            f"layer {layer.name!r}: {layer.module} {why}, and {package.title} has no such layer",
            expected=one_of(sorted(package.layers)) + ", or a layer that keeps its channels",
            hint="write it in the native form (--to native)",
        )
    module = f"{GATED}{layer.module.rpartition('.')[2]}" if layer.gate else layer.module
    return replace(layer, module=module, args=info.call, options={}, gate=None)
