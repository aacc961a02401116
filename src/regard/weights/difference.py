"""Differences between two detectors: their layers, the tensors that one can take from the other, and their costs."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text
from torch import nn

from regard.graph.cost import RowCost, row_costs
from regard.graph.detector import Detector
from regard.graph.spec import LayerInfo, ModelSpec
from regard.graph.summary import flops_text
from regard.system.notebook import ShownInNotebooks
from regard.system.plain_table import PlainTable
from regard.system.terminal import plain_text
from regard.system.translation import translate
from regard.weights.transfer import match_layers, transfer

Change = Literal["same", "added", "removed", "changed"]

MOST_LISTED = 30
"""Layers whose tensors are not kept that are printed; ``--json`` has all."""


PLAIN = (int, float, str, tuple, type(None))
"""Types of attributes that say how a module computes."""


@dataclass(frozen=True)
class LayerDifference:
    """One layer of either model.

    Attributes:
        name: name in the second model; in the first one for a layer that was removed.
        change: whether the layer is in both models, and equal there.
        details: what changed, such as "module C3 -> C3TR".
        before: module of the layer in the first model; "" if it was added.
        after: module of the layer in the second model; "" if it was removed.
        flops: FLOPs of the layer for one image, in the first and the second model; 0 where it is not.
    """

    name: str
    change: Change
    details: tuple[str, ...]
    before: str
    after: str
    flops: tuple[int, int]


@dataclass(frozen=True)
class TensorDifference:
    """What the second model can take from the first, matched by structure and name.

    Attributes:
        total: number of tensors of the second model.
        kept: number that the first one has in the same layer with the same shape.
        partly: number of which some classes or channels are kept.
        equal: number of the kept tensors with equal values; None unless both models have weights.
        missing: number of tensors by layer and reason, for those that are not kept.
        unused: number of tensors of the first model by layer, for those that match nothing.
        in_part: number of tensors by layer and description of what is kept, for those that are kept in part.
    """

    total: int
    kept: int
    partly: int
    equal: int | None
    missing: Mapping[str, Mapping[str, int]]
    unused: Mapping[str, int]
    in_part: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class CostDifference:
    """Costs of the first and the second model, for one image of side ``imgsz``.

    Attributes:
        parameters: number of learned values.
        flops: a multiplication and an addition count as two.
        activation_bytes: memory that is kept for the backward pass, in float32.
        imgsz: side of the image in pixels.
    """

    parameters: tuple[int, int]
    flops: tuple[int, int]
    activation_bytes: tuple[int, int]
    imgsz: int


@dataclass(frozen=True)
class Difference(ShownInNotebooks):
    """The differences between two models; ``rich`` prints them as tables.

    Attributes:
        names: what the models are called.
        layers: all layers of both, in their order.
        tensors: what the second model can take from the first.
        costs: costs of both.
        classes: what differs in the class names; "" if they are equal.
    """

    names: tuple[str, str]
    layers: tuple[LayerDifference, ...]
    tensors: TensorDifference
    costs: CostDifference
    classes: str

    @property
    def is_same_graph(self) -> bool:
        """Whether all layers are equal."""
        return all(layer.change == "same" for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Convert the differences to plain values that JSON can represent."""
        return asdict(self)

    def to_json(self) -> str:
        """Write the differences as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        return plain_text(self, 160)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the layers that differ, the tensors and the costs."""
        yield Text(f"{self.names[0]} -> {self.names[1]}", style="bold")
        for layer in self.layers:
            if layer.change != "same":
                yield Text(f"{SIGNS[layer.change]} {describe(layer)}", style=STYLES[layer.change])
        counts = Counter(layer.change for layer in self.layers)
        parts = [f"{counts[change]} {change}" for change in ("added", "removed", "changed") if counts[change]]
        yield Text(f"layers: {', '.join([*parts, str(counts['same']) + ' the same'])}")
        if self.classes:
            yield Text(f"classes: {self.classes}")
        yield from (Text(line) for line in self._tensor_lines())
        yield self._cost_table()

    def _tensor_lines(self) -> Iterator[str]:
        found = self.tensors
        values = "" if found.equal is None else f", {found.equal:,} of them with equal values"
        partly = f", {found.partly} in part" if found.partly else ""
        yield f"tensors: {found.kept:,} of {found.total:,} kept{partly}{values}"
        lines = [f"{layer}: {n} in part: {what}" for layer, kept in found.in_part.items() for what, n in kept.items()]
        lines += [_missing_line(layer, reasons) for layer, reasons in found.missing.items()]
        lines += [f"{layer}: {count} of the first model match nothing" for layer, count in found.unused.items()]
        yield from (f"  {line}" for line in lines[:MOST_LISTED])
        if len(lines) > MOST_LISTED:
            yield f"  and {len(lines) - MOST_LISTED} more; --json has all"

    def _cost_table(self) -> PlainTable:
        table = PlainTable("costs", "before", "after", "difference", box=None, pad_edge=False, header_style="bold")
        for column in table.columns[1:]:
            column.justify = "right"
        for heading, (before, after), text in (
            ("parameters", self.costs.parameters, lambda count: f"{count:,}"),
            (f"FLOPs at {self.costs.imgsz} px", self.costs.flops, flops_text),
            ("activations", self.costs.activation_bytes, lambda size: f"{size / 2**20:,.1f} MiB"),
        ):
            share = f"{(after - before) / before:+.2%}" if before else "-"
            table.add_row(translate(heading), text(before), text(after), share)
        return table


SIGNS: Mapping[Change, str] = {"same": " ", "added": "+", "removed": "-", "changed": "~"}
STYLES: Mapping[Change, str] = {"same": "", "added": "green", "removed": "red", "changed": "yellow"}


def _missing_line(layer: str, reasons: Mapping[str, int]) -> str:
    """The number of tensors of a layer that are not kept, and the most frequent reason."""
    reason = max(reasons, key=lambda text: reasons[text])
    others = f", and {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
    return f"{layer}: {sum(reasons.values())} not kept: {reason}{others}"


def describe(layer: LayerDifference) -> str:
    """Describe a layer that differs, in one line."""
    module = layer.after or layer.before
    return f"{layer.name} ({module}){': ' if layer.details else ''}{'; '.join(layer.details)}"


def compare_detectors(
    a: Detector, b: Detector, *, names: tuple[str, str], imgsz: int, with_values: bool = False
) -> Difference:
    """Compare two detectors.

    Args:
        a: the first; unchanged, as is the second.
        b: the second.
        names: what they are called.
        imgsz: side of the image for which costs are counted, in pixels.
        with_values: also compare the values of the tensors that both have.

    Raises:
        RegardError: ``imgsz`` is not a multiple of the largest stride of both.
    """
    costs = row_costs(a, imgsz), row_costs(b, imgsz)
    return Difference(
        names=names,
        layers=tuple(_layers(a, b, *costs)),
        tensors=_tensors(a, b, with_values=with_values),
        costs=CostDifference(
            parameters=_sums(costs, "parameters"),
            flops=_sums(costs, "flops"),
            activation_bytes=_sums(costs, "activation_bytes"),
            imgsz=imgsz,
        ),
        classes=_classes(a.names, b.names),
    )


def _sums(costs: tuple[Sequence[RowCost], Sequence[RowCost]], what: str) -> tuple[int, int]:
    before, after = (sum(getattr(cost, what) for cost in rows) for rows in costs)
    return before, after


def _layers(a: Detector, b: Detector, before: Sequence[RowCost], after: Sequence[RowCost]) -> Iterator[LayerDifference]:
    """Layers of both in the order of the second, each removed one where it was in the first."""
    pairs = match_layers(a.spec, b.spec)
    left = iter(i for i in range(len(a.spec.layers)) if i not in pairs.values())
    next_removed = next(left, None)
    new_names = {a.spec.layers[i].name: b.spec.layers[j].name for j, i in pairs.items()}
    for j, row in enumerate(b.spec.layers):
        if j not in pairs:
            reads = f"reads {', '.join(row.inputs)}"
            yield LayerDifference(row.name, "added", (reads,), "", row.module, (0, after[j].flops))
            continue
        while next_removed is not None and next_removed < pairs[j]:
            yield _removed(a.spec, next_removed, before)
            next_removed = next(left, None)
        i = pairs[j]
        details = tuple(_changes(a, i, b, j, new_names))
        change: Change = "changed" if details else "same"
        flops = before[i].flops, after[j].flops
        yield LayerDifference(row.name, change, details, a.spec.layers[i].module, row.module, flops)


def _removed(spec: ModelSpec, i: int, costs: Sequence[RowCost]) -> LayerDifference:
    row = spec.layers[i]
    return LayerDifference(row.name, "removed", (), row.module, "", (costs[i].flops, 0))


def _changes(a: Detector, i: int, b: Detector, j: int, new_names: Mapping[str, str]) -> Iterator[str]:
    """What differs between a layer and its counterpart."""
    old, new = a.spec.layers[i], b.spec.layers[j]
    if old.name != new.name:
        yield f"was called {old.name}"
    if old.module != new.module:
        yield f"module {old.module} -> {new.module}"
    if bool(old.gate) != bool(new.gate):
        yield "behind a gate" if new.gate else "no longer behind a gate"
    ours, theirs = a.spec.info[old.name], b.spec.info[new.name]
    if ours.in_channels != theirs.in_channels:
        yield f"input channels {_listed(ours.in_channels)} -> {_listed(theirs.in_channels)}"
    if ours.repeats != theirs.repeats:
        yield f"repeats {ours.repeats} -> {theirs.repeats}"
    if old.module == new.module:
        arguments = _arguments(ours, theirs, is_same=_built(a.model[i]) == _built(b.model[j]))
    else:
        arguments = _listed(ours.arguments[1:]), _listed(theirs.arguments[1:])
    if arguments[0] != arguments[1]:
        yield f"arguments {arguments[0]} -> {arguments[1]}"
    inputs = tuple(new_names.get(name, name) for name in old.inputs)
    if inputs != new.inputs:
        follows = "" if not _passes(b.spec, new.inputs, inputs) else ", inserted between"
        yield f"re-wired: reads {_listed(new.inputs)} instead of {_listed(old.inputs)}{follows}"


def _arguments(ours: LayerInfo, theirs: LayerInfo, *, is_same: bool) -> tuple[str, str]:
    """Arguments of one class that differ, by name. A default that is written out is the same.

    Where the layers as built are, so is a value and None, which lets the class choose it.
    """
    pairs = {name: (ours.values.get(name), value) for name, value in theirs.values.items()}
    differ = {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and not (is_same and None in pair)}
    before, after = (", ".join(f"{name}={_listed((pair[k],))}" for name, pair in differ.items()) for k in (0, 1))
    return before, after


def _built(layer: nn.Module) -> list[tuple[Any, ...]]:
    """What a layer is without its values: classes, plain attributes and shapes of tensors, module by module."""
    return [
        (
            name,
            type(module).__name__,
            {key: value for key, value in vars(module).items() if isinstance(value, PLAIN) and key != "training"},
            {key: (*tensor.shape,) for key, tensor in module.named_parameters(recurse=False)},
        )
        for name, module in layer.named_modules()
    ]


def _passes(spec: ModelSpec, now: Sequence[str], before: Sequence[str]) -> bool:
    """Whether each layer that is read now passes on the one that was read before, by layers with one input."""

    def passes_on(name: str, wanted: str) -> bool:
        while name != wanted:
            row = next((row for row in spec.layers if row.name == name), None)
            if row is None or len(row.inputs) != 1:
                return False
            name = row.inputs[0]
        return True

    return len(now) == len(before) and all(map(passes_on, now, before))


def _listed(values: Sequence[Any]) -> str:
    parts = [
        _listed(v) if isinstance(v, tuple | list) else f"{v:g}" if isinstance(v, float) else f"{v}" for v in values
    ]
    return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"


def _tensors(a: Detector, b: Detector, *, with_values: bool) -> TensorDifference:
    target = copy.deepcopy(b)
    with torch.no_grad():
        report = transfer(a.state_dict(), a.spec, a.names, target)
    equal = None
    if with_values:
        ours, theirs = a.state_dict(), b.state_dict()
        pairs = {**{key: key for key in report.kept}, **report.moved}
        equal = sum(torch.equal(theirs[key].cpu(), ours[source].cpu()) for key, source in pairs.items())
    missing = _counted((report.layer_of[key], report.reasons.get(key, "no counterpart")) for key in report.initialised)
    in_part = _counted((report.layer_of[key], what) for key, what in report.partly.items())
    unused = dict(Counter(report.source_layer_of[key] for key in report.unused))
    kept = len(report.kept) + len(report.moved)
    return TensorDifference(len(report.layer_of), kept, len(report.partly), equal, missing, unused, in_part)


def _counted(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Number of tensors by layer and text."""
    found: dict[str, dict[str, int]] = {}
    for layer, text in pairs:
        counts = found.setdefault(layer, {})
        counts[text] = counts.get(text, 0) + 1
    return found


def _unnamed(names: Mapping[int, str]) -> bool:
    return all(name == f"class{i}" for i, name in names.items())


def _classes(before: Mapping[int, str], after: Mapping[int, str]) -> str:
    if before == after or (len(before) == len(after) and (_unnamed(before) or _unnamed(after))):
        return ""
    if sorted(before.values()) == sorted(after.values()):
        moved = sum(after.get(i) != name for i, name in before.items())
        return f"the same {len(before)} in another order, {moved} under another id"
    common = len(set(before.values()) & set(after.values()))
    return f"{len(before)} -> {len(after)} classes, names in both: {common}"
