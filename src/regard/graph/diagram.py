"""A graph as nodes and wires with what each node costs, for drawing it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from regard.config import IMGSZ
from regard.graph.detector import Detector
from regard.graph.spec import LayerInfo, LayerSpec, ModelSpec
from regard.graph.summary import SummaryRow, summarize
from regard.nn.capture import attention_modules

Section = Literal["backbone", "neck", "detect"]


@dataclass(frozen=True)
class NodeCost:
    """What a node costs for one image.

    Attributes:
        output: (C, H, W), or one of each level for the detection head.
        parameters: number of learned values.
        flops: a multiplication and an addition count as two.
        share: share of all FLOPs, 0 to 1.
        saved_mib: memory that it keeps for the backward pass, in MiB.
    """

    output: tuple[tuple[int, ...], ...]
    parameters: int
    flops: int
    share: float
    saved_mib: float


@dataclass(frozen=True)
class Node:
    """One layer of a graph.

    Attributes:
        index: its position.
        name: its name.
        module: its class.
        arguments: arguments of its constructor, as `regard summary` prints them; "" if it was not built.
        repeats: number of repeats after scaling by depth.
        inputs: names of the layers that it reads, ``image`` for the image.
        section: the part of the detector to which it belongs.
        level: exponent of its stride, 3 for P3; None for the head, and where the stride is not known.
        attention: names of the attention modules in it, for `regard attend`.
        gate: value of its gate, None where it has none.
        line: line in its file, None where there is none.
        note: remark of the layer on itself.
        cost: what it costs; None if the graph cannot be built.
    """

    index: int
    name: str
    module: str
    arguments: str
    repeats: int
    inputs: tuple[str, ...]
    section: Section
    level: int | None
    attention: tuple[str, ...] = ()
    gate: float | None = None
    line: int | None = None
    note: str = ""
    cost: NodeCost | None = None


@dataclass(frozen=True)
class Diagram:
    """A graph for drawing.

    Attributes:
        nodes: in order, the detection head last.
        totals: costs of the whole detector in one line; "" if it cannot be built.
        parameters: number of learned values.
        gflops: FLOPs at ``imgsz``, in billions.
        saved_mib: memory of activations kept in training, for one image, in MiB.
        imgsz: side of the input in pixels.
        names: class names by class id.
    """

    nodes: tuple[Node, ...]
    totals: str
    parameters: int
    gflops: float
    saved_mib: float
    imgsz: int
    names: dict[int, str]


def diagram(detector: Detector, imgsz: int = IMGSZ) -> Diagram:
    """Describe a detector as nodes and wires, with costs for one square image of side ``imgsz``.

    Raises:
        RegardError: ``imgsz`` is not a multiple of the largest stride.

    Example:
        >>> import regard
        >>> drawn = diagram(regard.insert(regard.load("odd-one-out"), "SE", after="p4"), imgsz=128)
        >>> [(node.level, node.gate) for node in drawn.nodes if node.attention == ("p4.se",)]
        [(4, 0.0)]
    """
    table, spec = summarize(detector, imgsz), detector.spec
    nodes = tuple(
        _node(spec, row, layer, module)
        for row, layer, module in zip(table.rows, spec.layers, detector.model, strict=True)
    )
    return Diagram(nodes, table.totals, table.parameters, table.gflops, table.saved_mib, imgsz, dict(detector.names))


def outline(spec: ModelSpec) -> Diagram:
    """Describe a graph that cannot be built as nodes and wires without costs, with levels as far as ``spec.info`` goes.

    Example:
        >>> from regard.graph.read import read_spec
        >>> [node.name for node in outline(read_spec("odd-one-out")).nodes][:2]
        ['stem', 'p2']
    """
    nodes = tuple(_bare_node(spec, i, layer) for i, layer in enumerate(spec.layers))
    return Diagram(nodes, "", 0, 0.0, 0.0, 0, {})


def _node(spec: ModelSpec, row: SummaryRow, layer: LayerSpec, module: nn.Module) -> Node:
    return replace(
        _bare_node(spec, row.row, layer),
        arguments=row.arguments,
        repeats=row.n,
        attention=tuple(attention_modules([(layer.name, module)])),
        gate=row.gate,
        note=row.note,
        cost=NodeCost(row.output, row.parameters, row.flops, row.share, row.saved_mib),
    )


def _bare_node(spec: ModelSpec, index: int, layer: LayerSpec) -> Node:
    info = spec.info.get(layer.name)
    last = index == len(spec.layers) - 1
    section: Section = "detect" if last else "neck" if layer.head else "backbone"
    return Node(
        index=index,
        name=layer.name,
        module=layer.module,
        arguments="",
        repeats=info.repeats if info else layer.number,
        inputs=layer.inputs,
        section=section,
        level=None if last else _level(info),
        line=layer.line,
    )


def _level(info: LayerInfo | None) -> int | None:
    return round(math.log2(info.stride)) if info and info.stride >= 1 else None
