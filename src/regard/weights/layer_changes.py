"""What differs between a layer and its counterpart in another detector."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from regard.graph.detector import Detector
from regard.graph.spec import LayerInfo, ModelSpec
from regard.nn.activation import ACTIVATIONS

PLAIN = (int, float, str, tuple, type(None))
"""Types of attributes that say how a module computes."""

NO_NUMBER = re.compile(r"(,\s)?inplace(=True)?|\w+=")
"""What describes an activation other than its number."""

MOST_VALUES = 12
"""Values of a list that are printed; the others are left out."""


def layer_changes(a: Detector, i: int, b: Detector, j: int, new_names: Mapping[str, str]) -> Iterator[str]:
    """Describe what differs between layer ``i`` of ``a`` and its counterpart, layer ``j`` of ``b``.

    Args:
        a: the first detector.
        i: index of the layer in it.
        b: the second detector.
        j: index of the layer in it.
        new_names: name in ``b`` by name in ``a`` of all layers that have a counterpart.
    """
    old, new = a.spec.layers[i], b.spec.layers[j]
    if old.name != new.name:
        yield f"was called {old.name}"
    if old.module != new.module:
        yield f"module {old.module} -> {new.module}"
    if bool(old.gate) != bool(new.gate):
        yield "behind a gate" if new.gate else "no longer behind a gate"
    ours, theirs = a.spec.info[old.name], b.spec.info[new.name]
    if ours.in_channels != theirs.in_channels:
        yield f"input channels {listed(ours.in_channels)} -> {listed(theirs.in_channels)}"
    if ours.repeats != theirs.repeats:
        yield f"repeats {ours.repeats} -> {theirs.repeats}"
    if old.module == new.module:
        yield from _arguments(ours, theirs, is_same=_built(a.model[i]) == _built(b.model[j]))
    elif ours.arguments[1:] != theirs.arguments[1:]:
        yield f"arguments {listed(_without_sizes(ours))} -> {listed(_without_sizes(theirs))}"
    yield from _activations(a.model[i], b.model[j])
    yield from _rewired(a.spec, old.inputs, b.spec, new.inputs, new_names)


def _rewired(
    a: ModelSpec, old: Sequence[str], b: ModelSpec, new: Sequence[str], new_names: Mapping[str, str]
) -> Iterator[str]:
    """What a layer reads instead of its former inputs, which are given by their names in the second model."""
    removed = {row.name for row in a.layers}.difference(new_names)
    added = {row.name for row in b.layers}.difference(new_names.values())
    lost = [name for name in dict.fromkeys(old) if name in removed]
    before = tuple(new_names.get(name, name) for name in old)
    if before == new and not lost:
        return
    namesakes = [name for name in lost if any(row.name == name for row in b.layers)]
    if namesakes and len(old) == 1:
        yield f"re-wired to read {listed(new)} instead of the former {old[0]}"
        return
    if not lost and _passes(b, new, before, added):
        yield f"re-wired to read {listed(new)} instead of {listed(before)}, inserted between"
    else:
        yield f"re-wired to read {listed(new)} instead of {listed(before)}"
    for name in dict.fromkeys(old):
        now = new_names.get(name, name)
        if now != name and now not in new:
            yield f"the former {name} is now {now}"
        elif name in namesakes:
            yield f"the former {name} was removed"


def _passes(spec: ModelSpec, now: Sequence[str], before: Sequence[str], added: set[str]) -> bool:
    """Whether each layer that is read now passes on the one that was read before, by new layers with one input."""
    inputs = {row.name: row.inputs for row in spec.layers}

    def passes_on(name: str, wanted: str) -> bool:
        while name != wanted:
            if name not in added or len(inputs[name]) != 1:
                return False
            name = inputs[name][0]
        return True

    return len(now) == len(before) and all(map(passes_on, now, before))


def _arguments(ours: LayerInfo, theirs: LayerInfo, *, is_same: bool) -> Iterator[str]:
    """Arguments of one class that differ, by name. A default that is written out is the same.

    Where the layers as built are, so is a value and None, which lets the class choose it.
    """
    pairs = {name: (ours.values.get(name), theirs.values.get(name)) for name in {**ours.values, **theirs.values}}
    differ = {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and not (is_same and None in pair)}
    anchors = differ.pop("anchors") if all(map(_are_anchors, differ.get("anchors", [""]))) else None
    if differ:
        before, after = (", ".join(f"{name}={listed((pair[k],))}" for name, pair in differ.items()) for k in (0, 1))
        yield f"arguments {before} -> {after}"
    if anchors is not None:
        yield _anchors(*anchors)


def _activations(old: nn.Module, new: nn.Module) -> Iterator[str]:
    """Activations that differ in parts that both layers have."""
    known = tuple(ACTIVATIONS.values())
    theirs = dict(new.named_modules())
    pairs = [(one, theirs.get(name)) for name, one in old.named_modules() if name and isinstance(one, known)]
    changed = (
        f"activation {_call(a)} -> {_call(b)}" for a, b in pairs if isinstance(b, known) and _call(a) != _call(b)
    )
    yield from dict.fromkeys(changed)


def _call(activation: nn.Module) -> str:
    """An activation as a graph states it: class and number, without what changes no value."""
    numbers = NO_NUMBER.sub("", activation.extra_repr())
    return f"nn.{type(activation).__name__}({numbers})"


def _without_sizes(layer: LayerInfo) -> list[Any]:
    """Arguments after the input channels; of anchors, only their number."""
    if not _are_anchors(layer.values.get("anchors")):
        return list(layer.arguments[1:])
    sizes = _sizes(layer.values["anchors"])
    return [
        f"{len(sizes)} anchors" if sizes and _are_anchors(value) and _sizes(value) == sizes else value
        for value in layer.arguments[1:]
    ]


def _anchors(before: Any, after: Any) -> str:
    """Numbers of anchors, the smallest and the largest; all values would be lines of digits."""
    old, new = _sizes(before), _sizes(after)
    if old and new and len(old) == len(new):
        differ = sum(a != b for a, b in zip(old, new, strict=True))
        return f"{differ} of {len(old)} anchors differ: {_span(old)} -> {_span(new)} px"
    if old and new:
        return f"anchors {_count(old)} -> {_count(new)}"
    if old:
        return f"anchors {_count(old)} -> {after} per level, without sizes"
    if new:
        return f"anchors {before} per level, without sizes -> {_count(new)}"
    return f"anchors {before} -> {after} per level"


def _are_anchors(value: Any) -> bool:
    """Whether a value is anchors as a graph states them: widths and heights of each level, or their number."""
    if not isinstance(value, list | tuple):
        return isinstance(value, int)
    return bool(value) and all(isinstance(level, list | tuple) and level and len(level) % 2 == 0 for level in value)


def _sizes(anchors: Any) -> list[tuple[float, float]]:
    """Width and height of all anchors, from the finest level on; empty if only their number is stated."""
    if not isinstance(anchors, list | tuple):
        return []
    return [pair for level in anchors for pair in zip(level[::2], level[1::2], strict=True)]


def _count(sizes: Sequence[tuple[float, float]]) -> str:
    return f"{len(sizes)} ({_span(sizes)} px)"


def _span(sizes: Sequence[tuple[float, float]]) -> str:
    if len(set(sizes)) == 1:
        return "{:.3g} x {:.3g}".format(*sizes[0])
    ends = (choose(sizes, key=lambda size: size[0] * size[1]) for choose in (min, max))
    return " ... ".join(f"{width:.3g} x {height:.3g}" for width, height in ends)


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


def listed(values: Sequence[Any]) -> str:
    """Write one value as it is, and several in brackets.

    Example:
        >>> listed(["p4"]), listed(["p4", 0.5, (3, 3)])
        ('p4', '[p4, 0.5, [3, 3]]')
    """
    parts = [listed(v) if isinstance(v, tuple | list) else f"{v:g}" if isinstance(v, float) else f"{v}" for v in values]
    if len(parts) > MOST_VALUES:
        parts = [*parts[: MOST_VALUES - 2], "...", parts[-1]]
    return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"
