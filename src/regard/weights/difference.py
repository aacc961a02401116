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
from torch import Tensor

from regard.graph.cost import RowCost, row_costs
from regard.graph.detector import Detector
from regard.graph.spec import ModelSpec
from regard.graph.summary import flops_text
from regard.system.notebook import ShownInNotebooks
from regard.system.plain_table import PlainTable
from regard.system.terminal import plain_text
from regard.system.translation import translate
from regard.weights.layer_changes import layer_changes
from regard.weights.transfer import TransferReport, match_layers, transfer

Change = Literal["same", "added", "removed", "changed"]

MOST_LISTED = 30
"""Layers whose tensors are not kept that are printed; ``--json`` has all."""

MOST_NAMED = 8
"""Layers with other values that are printed."""
COUNTER = "num_batches_tracked"
"""Name of the counters of BatchNorm, which are one in six of its tensors and no weights."""


@dataclass(frozen=True)
class LayerDifference:
    """One layer of either model.

    Attributes:
        name: name in the second model; in the first one for a layer that was removed.
        change: whether the layer is in both models, and equal there.
        details: what changed, such as "module C3 -> C3TR"; other layers have the names of the second model in it too.
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
        total: number of tensors of the second model, with BatchNorm's counters of batches.
        kept: number that the first one has in the same layer with the same shape.
        partly: number of which some classes or channels are kept.
        values: number of values in all tensors of the second model, without counters.
        kept_values: number of these that are kept, also of tensors that are kept in part.
        equal: number of the kept tensors with equal values; None unless both models have weights.
        missing: number of tensors by layer and reason, for those that are not kept.
        unused: number of tensors of the first model by layer, for those that match nothing.
        in_part: number of tensors by layer and description of what is kept, for those that are kept in part.
        differing: number of the kept tensors by layer whose values are not equal.
    """

    total: int
    kept: int
    partly: int
    values: int
    kept_values: int
    equal: int | None
    missing: Mapping[str, Mapping[str, int]]
    unused: Mapping[str, int]
    in_part: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    differing: Mapping[str, int] = field(default_factory=dict)


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
        if found.partly:
            yield f"tensors: {found.kept:,} of {found.total:,} kept, {found.partly:,} in part"
        else:
            yield f"tensors: {found.kept:,} of {found.total:,} kept"
        share = f"{100 * found.kept_values / max(found.values, 1):.3g}"
        yield f"values: {found.kept_values:,} of {found.values:,} kept ({share} %)"
        if found.equal is not None:
            yield f"equal values: {found.equal:,} of the {found.kept:,} kept tensors"
            yield from _differing_lines(found.differing)
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


def _differing_lines(differing: Mapping[str, int]) -> Iterator[str]:
    """The layers with other values, of many only the first."""
    layers = list(differing)
    named, more = ", ".join(layers[:MOST_NAMED]), len(layers) - MOST_NAMED
    if more > 0:
        yield f"  other values in {named} and {more} more layers; --json has all"
    elif layers:
        yield f"  other values in {named}"


def _missing_line(layer: str, reasons: Mapping[str, int]) -> str:
    """The number of tensors of a layer that are not kept, and the most frequent reason."""
    reason = max(reasons, key=lambda text: reasons[text])
    others = len(reasons) - 1
    more = "" if not others else ", and 1 other reason" if others == 1 else f", and {others} other reasons"
    return f"{layer}: {sum(reasons.values())} not kept: {reason}{more}"


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
            reads = f"reads [{', '.join(row.inputs)}]" if len(row.inputs) > 1 else f"reads {row.inputs[0]}"
            yield LayerDifference(row.name, "added", (reads,), "", row.module, (0, after[j].flops))
            continue
        while next_removed is not None and next_removed < pairs[j]:
            yield _removed(a.spec, next_removed, before)
            next_removed = next(left, None)
        i = pairs[j]
        details = tuple(layer_changes(a, i, b, j, new_names))
        change: Change = "changed" if details else "same"
        flops = before[i].flops, after[j].flops
        yield LayerDifference(row.name, change, details, a.spec.layers[i].module, row.module, flops)


def _removed(spec: ModelSpec, i: int, costs: Sequence[RowCost]) -> LayerDifference:
    row = spec.layers[i]
    return LayerDifference(row.name, "removed", (), row.module, "", (costs[i].flops, 0))


def _tensors(a: Detector, b: Detector, *, with_values: bool) -> TensorDifference:
    report, filled = _transferred(a, b)
    pairs = {**{key: key for key in report.kept}, **report.moved}
    sizes = {key: tensor.numel() for key, tensor in b.state_dict().items() if not key.endswith(COUNTER)}
    kept_values = sum(sizes.get(key, 0) for key in pairs) + sum(filled[key] for key in report.partly)
    equal, differing = None, dict[str, int]()
    if with_values:
        ours, theirs = a.state_dict(), b.state_dict()
        others = [key for key, source in pairs.items() if not _are_equal(ours[source], theirs[key])]
        equal, differing = len(pairs) - len(others), dict(Counter(report.layer_of[key] for key in others))
    missing = _counted((report.layer_of[key], report.reasons.get(key, "no counterpart")) for key in report.initialised)
    in_part = _counted((report.layer_of[key], what) for key, what in report.partly.items())
    unused = dict(Counter(report.source_layer_of[key] for key in report.unused))
    return TensorDifference(
        total=len(report.layer_of),
        kept=len(pairs),
        partly=len(report.partly),
        values=sum(sizes.values()),
        kept_values=kept_values,
        equal=equal,
        missing=missing,
        unused=unused,
        in_part=in_part,
        differing=differing,
    )


def _transferred(a: Detector, b: Detector) -> tuple[TransferReport, dict[str, int]]:
    """Transfer the weights of ``a`` to a copy of ``b``.

    Returns:
        The report, and the number of values that were filled in each tensor that can be kept in part.
    """
    target, state = copy.deepcopy(b), a.state_dict()
    row, ours = f"model.{len(target.model) - 1}.", f"model.{len(a.model) - 1}."
    filled = target.state_dict()
    parted = {row + path: filled[row + path] for path in target.head.class_channels()}
    with torch.no_grad():
        for tensor in parted.values():
            tensor.fill_(torch.nan)
        state = {key: tensor.nan_to_num() if key.startswith(ours) else tensor for key, tensor in state.items()}
        report = transfer(state, a.spec, a.names, target)
    return report, {key: int((~tensor.isnan()).sum()) for key, tensor in parted.items()}


def _are_equal(one: Tensor, other: Tensor) -> bool:
    """Whether all values are equal, as NaN is to NaN."""
    one, other = one.cpu(), other.cpu()
    return bool(((one == other) | ((one != one) & (other != other))).all())


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
    if _unnamed(before) and _unnamed(after):
        return f"{len(before)} -> {len(after)} classes; without names, those of equal ids count as the same"
    common = len(set(before.values()) & set(after.values()))
    return f"{len(before)} -> {len(after)} classes, names in both: {common}"
