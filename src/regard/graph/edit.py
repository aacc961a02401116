"""Insert, replace and remove layers by name. Every reference that should follow is re-wired, no other is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from regard.errors import RegardError, nearest
from regard.graph.document import plain_value
from regard.graph.signature import OUT_NAMES
from regard.graph.spec import LayerSpec, ModelSpec, check_name


def unique_name(wanted: str, taken: Sequence[str]) -> str:
    """Return ``wanted``, or the first of ``wanted_2``, ``wanted_3``, ... that is not taken."""
    name, k = wanted, 2
    while name in taken:
        name, k = f"{wanted}_{k}", k + 1
    return name


def insert(
    spec: ModelSpec,
    module: str,
    *,
    after: str | int,
    args: Sequence[Any] = (),
    options: Mapping[str, Any] | None = None,
    gate: bool = True,
    name: str | None = None,
    readers: Sequence[str] | None = None,
) -> ModelSpec:
    """Return ``spec`` with a new layer that stands in for the layer ``after``.

    Every reader of ``after``, however it named it, reads the new layer; all other references keep their layer.

    Args:
        spec: the graph; it is not changed.
        module: name of the layer's class.
        after: name or index of the layer that the new one reads and stands in for.
        args: positional arguments as YOLOv5 writes them.
        options: arguments by name.
        gate: whether the layer stands behind a gate that is closed at the start.
        name: its name; ``<after>.<module>`` in lower case where not given.
        readers: only these readers of ``after`` read the new layer; all where not given.

    Raises:
        RegardError: no such layer, a name taken, a reader that does not read ``after``.
    """
    target = spec.layer(after)
    position = spec.index(target.name)
    if position == len(spec.layers) - 1:
        raise RegardError(f"nothing can follow {target.name!r}, the detection head", file=spec.file)
    moved = _check_readers(spec, target.name, readers)
    names = [row.name for row in spec.layers]
    if name is not None:
        check_name(name, names, spec.file)
    leaf = module.rsplit(".", 1)[-1].lower()
    new = LayerSpec(
        name=name or unique_name(f"{target.name}.{leaf}", names),
        inputs=(target.name,),
        module=module,
        args=plain_value(list(args)),
        options={key: plain_value(value) for key, value in (options or {}).items()},
        gate=gate,
        head=target.head,
    )
    rows = [_reading(row, target.name, new.name) if row.name in moved else row for row in spec.layers]
    return replace(spec, layers=(*rows[: position + 1], new, *rows[position + 1 :]), info={})


def replace_layer(
    spec: ModelSpec,
    layer: str | int,
    module: str,
    *,
    args: Sequence[Any] | None = None,
    options: Mapping[str, Any] | None = None,
    number: int | None = None,
) -> ModelSpec:
    """Return ``spec`` with another module in the place, and under the name, of ``layer``.

    Args:
        spec: the graph; it is not changed.
        layer: name or index of the layer.
        module: name of the new class.
        args: positional arguments; those of the old layer where neither these nor ``options`` are given.
        options: arguments by name; the output channels stay those of the old layer unless named here.
        number: repeats; as before where not given.

    Raises:
        RegardError: no such layer.
    """
    old = spec.layer(layer)
    if args is None and not options:
        args, options = old.args, old.options
    elif args is None:
        args = old.args[:1] or [old.options[key] for key in OUT_NAMES if key in old.options]
    new = replace(
        old,
        module=module,
        args=plain_value(list(args or ())),
        options={key: plain_value(value) for key, value in (options or {}).items()},
        number=old.number if number is None else number,
        gate=None,
    )
    return replace(spec, layers=tuple(new if row is old else row for row in spec.layers), info={})


def remove(spec: ModelSpec, layer: str | int) -> ModelSpec:
    """Return ``spec`` without ``layer``; its readers read what it read.

    Raises:
        RegardError: no such layer, the detection head, or a layer with several inputs.
    """
    old = spec.layer(layer)
    if old is spec.layers[-1]:
        raise RegardError(f"{old.name!r} is the detection head and cannot be removed", file=spec.file)
    if len(old.inputs) != 1:
        raise RegardError(
            f"{old.name!r} reads several layers: {', '.join(old.inputs)}",
            file=spec.file,
            hint="its readers could not know which of them to read; replace it instead",
        )
    rows = tuple(_reading(row, old.name, old.inputs[0]) for row in spec.layers if row is not old)
    return replace(spec, layers=rows, info={})


def _reading(row: LayerSpec, before: str, now: str) -> LayerSpec:
    """Return ``row`` reading ``now`` wherever it read ``before``."""
    if before not in row.inputs:
        return row
    return replace(row, inputs=tuple(now if name == before else name for name in row.inputs))


def _check_readers(spec: ModelSpec, name: str, wanted: Sequence[str] | None) -> set[str]:
    readers = [row.name for row in spec.readers(name)]
    if wanted is None:
        return set(readers)
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if not wanted:
        raise RegardError("no readers are named", file=spec.file, expected="one of " + ", ".join(readers))
    for reader in wanted:
        if reader not in readers:
            raise RegardError(
                f"{reader!r} does not read {name!r}",
                file=spec.file,
                expected="one of " + ", ".join(readers),
                hint=nearest(reader, readers),
            )
    return set(wanted)
