"""Insert, replace and remove layers by name, and update exactly the references that the edit affects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from regard.errors import RegardError, nearest, one_of, warn
from regard.graph.aliases import find_class, meanings, own_name, with_own_names
from regard.graph.document import plain_value
from regard.graph.signature import OUT_NAMES, signature_of
from regard.graph.spec import LayerSpec, ModelSpec, check_name


def unique_name(wanted: str, taken: Sequence[str]) -> str:
    """Make a name unique by appending ``_2``, ``_3``, ... if it is taken."""
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
    """Add a layer that reads the layer ``after`` and replaces it for all its readers; see `regard.insert`.

    Every reader of ``after`` reads the new layer, whether it referred to ``after`` by name or by index. All other
    references keep their layer. ``spec`` itself does not change; ``args`` are in YOLOv5's order.

    Raises:
        RegardError: there is no such layer, the name is taken, or a reader does not read ``after``.

    Example:
        >>> from regard.graph.read import read_spec
        >>> spec = insert(read_spec("odd-one-out"), "SE", after="p3")
        >>> [layer.name for layer in spec.readers("p3")], spec.layer("p3.se").gate
        (['p3.se'], True)
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
    modules: Mapping[str, type[nn.Module]] | None = None,
) -> ModelSpec:
    """Exchange the module of a layer; its name, inputs and readers do not change.

    Without new arguments it keeps its output channels and the options that both classes have under one name and type; a
    warning lists the others.

    Args:
        spec: the graph; it is not changed.
        layer: name or index of the layer.
        module: class name of the new module.
        args: positional arguments.
        options: arguments by name; the output channels are those of the old layer unless given here. A detection head
            of the same class keeps its other arguments.
        number: number of repeats; by default as before.
        modules: the user's own classes by name.

    Raises:
        RegardError: there is no such layer.
    """
    old = spec.layer(layer)
    if args is None and not options:
        as_it_is = module == old.module or (old is spec.layers[-1] and module in (modules or {}))
        args, options = (old.args, old.options) if as_it_is else _carried(old, module, spec, modules or {})
    elif not args and options and old is spec.layers[-1] and module == old.module:
        args, options = old.args, {**old.options, **options}
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


def _carried(
    row: LayerSpec, module: str, spec: ModelSpec, modules: Mapping[str, type[nn.Module]]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Arguments of a layer for another class, by the names of what they are."""
    row = meanings(row, spec, modules)[-1]
    try:
        row = with_own_names(replace(spec, layers=(row,)), modules).layers[0]
        old = signature_of(find_class(row.module, modules))
        new = signature_of(find_class(module if module in modules else own_name(module)[0], modules))
    except RegardError:  # a class whose file is not given here
        return row.args, row.options
    has_out, wants_out = (x.takes_channels and not x.multi_input for x in (old, new))
    out, rest = (row.args[:1], row.args[1:]) if has_out else ((), row.args)
    out = out or tuple(row.options[key] for key in OUT_NAMES if key in row.options)
    stated = dict(zip(old.positions, rest, strict=False))
    given = {**stated, **{key: value for key, value in row.options.items() if key != old.out}}
    kept = {k: v for k, v in given.items() if k in new.options and old.hints.get(k) == new.hints.get(k)}
    dropped = [f"{key} {value!r}" for key, value in given.items() if key not in kept]
    if dropped:
        what = f"layer {row.name!r}: {module} does not take over {', '.join(dropped)} of {row.module}"
        warn(f"{what}; give its options by -a (in Python: options=)")
    if not row.options and kept == stated and list(stated) == new.positions[: len(stated)]:
        return (*(out if wants_out else ()), *rest), {}
    if out and not row.args and new.out:
        return (), {new.out: out[0], **kept}
    return out if wants_out else (), kept


def remove(spec: ModelSpec, layer: str | int) -> ModelSpec:
    """Delete a layer; its readers read its input instead.

    Raises:
        RegardError: there is no such layer, or it is the detection head or has several inputs.
    """
    old = spec.layer(layer)
    if old is spec.layers[-1]:
        raise RegardError(f"{old.name!r} is the detection head and cannot be removed", file=spec.file)
    if len(old.inputs) != 1:
        raise RegardError(
            f"{old.name!r} reads several layers: {', '.join(old.inputs)}",
            file=spec.file,
            hint="its readers could not choose between them; replace the layer instead",
        )
    rows = tuple(_reading(row, old.name, old.inputs[0]) for row in spec.layers if row is not old)
    return replace(spec, layers=rows, info={})


def _reading(row: LayerSpec, before: str, now: str) -> LayerSpec:
    """Make a layer read ``now`` instead of ``before``, if it does."""
    if before not in row.inputs:
        return row
    return replace(row, inputs=tuple(now if name == before else name for name in row.inputs))


def _check_readers(spec: ModelSpec, name: str, wanted: Sequence[str] | None) -> set[str]:
    readers = [row.name for row in spec.readers(name)]
    if wanted is None:
        return set(readers)
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if not wanted:
        raise RegardError("no readers are named", file=spec.file, expected=one_of(readers))
    for reader in wanted:
        if reader not in readers:
            raise RegardError(
                f"{reader!r} does not read {name!r}",
                file=spec.file,
                expected=one_of(readers),
                hint=nearest(reader, readers),
            )
    return set(wanted)
