"""Building a network from a graph: each layer is constructed and then run once on a small image.

Channels and strides are measured in that run instead of computed by a rule per class, so a user's own module needs no
rule.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.errors import RegardError, nearest
from regard.graph.aliases import find_class, with_own_names
from regard.graph.bind import Binding, bind, positional_call, positional_form, values_of, with_scaled_channels
from regard.graph.bounded import Bounded
from regard.graph.detector import Detector
from regard.graph.lint import WiringError, check_levels, check_wiring, raise_or_warn, with_anchors_in_order
from regard.graph.reuse import PROBE, Built, Known
from regard.graph.signature import Signature, as_written, may_be_without_channels, signature_of
from regard.graph.spec import IMAGE, LayerInfo, LayerSpec, ModelSpec
from regard.graph.user_modules import call_of, explain, noted_call
from regard.nn.activation import DEFAULT, set_activation
from regard.nn.gate import Gated
from regard.nn.heads import HEADS, Head
from regard.nn.heads.fork import fork_head

MOST_BLOCKS = 1000
"""Number of blocks of a graph: its rows, each with its repeats."""
MOST_MAPS = 2**29
"""Number of values of the outputs of all rows on that image."""


class SizeMismatchError(RegardError):
    """Maps of different sizes are combined."""


class OutputError(RegardError):
    """A layer gives other channels than its row states."""


def check(spec: ModelSpec, *, modules: Mapping[str, type[nn.Module]] | None = None) -> list[WiringError]:
    """Find wiring errors, with the rows that correct them, and what is unusual; see `regard.graph.lint`.

    Raises:
        RegardError: a layer cannot be built, for another reason than its wiring.

    Example:
        >>> from regard.graph.read import read_spec
        >>> check(read_spec("yolov5n-se"))
        []
    """
    return _checked(spec, dict(modules or {}))[1]


def measured(spec: ModelSpec, *, modules: Mapping[str, type[nn.Module]] | None = None) -> ModelSpec:
    """Fill in the facts of a graph as far as its layers can be built; maps of different sizes are resized."""
    modules = dict(modules or {})
    with torch.random.fork_rng(devices=[]):
        return _build_rows(with_own_names(spec, modules), modules, resize=True, partly=True)[0]


def _checked(
    spec: ModelSpec, modules: Mapping[str, type[nn.Module]], known: Known | None = None
) -> tuple[tuple[ModelSpec, list[nn.Module]] | SizeMismatchError, list[WiringError]]:
    """Build a graph, or say why maps do not fit together, and check its wiring."""
    if not spec.layers:
        raise RegardError(
            "there are no rows", file=spec.file, expected="rows in backbone and head, a detection head as the last"
        )
    spec = with_own_names(spec, modules)
    built: tuple[ModelSpec, list[nn.Module]] | SizeMismatchError
    try:
        built = spec, layers = _build_rows(spec, modules, known=known)
    except SizeMismatchError as error:
        with torch.random.fork_rng(devices=[]):
            built, (spec, layers) = error, _build_rows(spec, modules, resize=True)
    found = check_wiring(spec, partial(_measured, modules=modules))
    head = layers[-1]
    if isinstance(head, Head) and all(finding.note for finding in found):
        found += check_levels(spec, head)
    return built, found


def build(
    spec: ModelSpec,
    *,
    names: Mapping[int, str] | None = None,
    modules: Mapping[str, type[nn.Module]] | None = None,
    allow_miswired: bool = False,
    share: Detector | None = None,
) -> Detector:
    """Build the detector that ``spec`` describes, in evaluation mode, with fresh weights.

    Args:
        spec: the graph.
        names: class names by class id; by default ``class0``, ``class1``, ...
        modules: the user's own classes by name; they take precedence over the package's.
        allow_miswired: warn of wiring errors (``RegardWarning``) instead of raising an error.
        share: a detector whose layers are used, not copied, where the graph has the same ones on maps of equal shapes.

    Raises:
        RegardError: a layer cannot be built, maps of different sizes are combined, or the graph has wiring errors; the
            error states file, line and the corrected row.

    Example:
        >>> from regard.graph.read import read_spec
        >>> detector = build(read_spec("odd-one-out"))
        >>> detector.strides, detector.spec.info["p3"].out_channels
        ((16,), 64)
    """
    modules = dict(modules or {})
    built, found = _checked(spec, modules, Known(share, modules) if share else None)
    raise_or_warn(found, spec, allow=allow_miswired)
    if isinstance(built, RegardError):
        raise built
    spec, layers = built
    _head_of(spec, layers[-1])
    used = {row.module: modules[row.module] for row in spec.layers if row.module in modules}
    return Detector(spec, layers, _class_names(spec, names), used).eval()


def _check_blocks(spec: ModelSpec) -> None:
    blocks = 0
    for row in spec.layers:
        blocks += _repeats(row, spec)
        if blocks > MOST_BLOCKS:
            what = f"the rows up to {row.name!r} have {blocks:,} blocks, repeats included"
            raise spec.error_at(row, what, expected=f"at most {MOST_BLOCKS:,}")


def _check_maps(row: LayerSpec, spec: ModelSpec, outputs: Mapping[str, Tensor | list[Tensor]]) -> None:
    values = sum(output.numel() for output in outputs.values() if isinstance(output, Tensor))
    if values > MOST_MAPS:
        what = f"the outputs up to {row.name!r} have {values:,} values on an image of {PROBE} x {PROBE} pixels"
        raise spec.error_at(row, what, expected=f"at most {MOST_MAPS:,}")


def _repeats(row: LayerSpec, spec: ModelSpec) -> int:
    return max(round(row.number * spec.depth_multiple), 1) if row.number > 1 else row.number


def _no_head(spec: ModelSpec) -> RegardError:
    last = spec.layers[-1]
    return spec.error_at(
        last,
        f"the last row is {last.module}, which is not a detection head",
        expected="one of "
        + ", ".join(HEADS)
        + ", or your own subclass of regard.nn.heads.Head by --module (in Python: modules=)",
        hint=nearest(last.module, HEADS),
    )


def _head_of(spec: ModelSpec, layer: nn.Module) -> Head:
    """Check that the last layer is a detection head for the classes of the graph."""
    last = spec.layers[-1]
    if not isinstance(layer, Head):
        raise _no_head(spec)
    if layer.nc != spec.nc:
        what = f"the detection head states {layer.nc} classes and the file {spec.nc}"
        raise spec.error_at(last, what, expected="nc as its number of classes, such as [nc, anchors]")
    return layer


def _class_names(spec: ModelSpec, names: Mapping[int, str] | None) -> dict[int, str]:
    names = dict(names) if names else {i: f"class{i}" for i in range(spec.nc)}
    if sorted(names) != list(range(spec.nc)):
        raise RegardError(
            f"{len(names)} class names for {spec.nc} classes",
            file=spec.file,
            expected=f"one for each of 0 to {spec.nc - 1}",
        )
    return names


def _build_rows(
    spec: ModelSpec,
    modules: Mapping[str, type[nn.Module]],
    *,
    resize: bool = False,
    partly: bool = False,
    known: Known | None = None,
) -> tuple[ModelSpec, list[nn.Module]]:
    """Build all layers and fill in their facts.

    With ``resize``, maps of other sizes are resized to the first, to measure what follows; with ``partly``, layers that
    cannot be built pass on what they read.
    """
    outputs: dict[str, Tensor | list[Tensor]] = {IMAGE: torch.zeros(1, 3, PROBE, PROBE)}
    layers: list[nn.Module] = []
    info: dict[str, LayerInfo] = {}
    _check_blocks(spec)
    with Bounded():
        for row in spec.layers:
            inputs = [outputs[name] for name in row.inputs]
            if row is spec.layers[-1]:
                spec = with_anchors_in_order(spec, [x.shape[-1] for x in inputs if isinstance(x, Tensor)])
            with suppress(*[RegardError] * partly):
                try:
                    shared = known.find(row, spec, inputs) if known else None
                    built = shared or _build_row(row, spec, inputs, modules)
                except SizeMismatchError:
                    if not resize:
                        raise
                    built = _build_row(row, spec, _resized(inputs), modules)
                layers.append(built.layer)
                info[row.name], outputs[row.name] = built.info, built.output
            outputs.setdefault(row.name, inputs[0])
            _check_maps(row, spec, outputs)
    return replace(spec, info=info), layers


def _resized(inputs: Sequence[Tensor | list[Tensor]]) -> list[Tensor | list[Tensor]]:
    first = inputs[0]
    assert isinstance(first, Tensor)
    size = first.shape[2:]
    return [functional.interpolate(x, size) if isinstance(x, Tensor) else x for x in inputs]


def _measured(spec: ModelSpec, *, modules: Mapping[str, type[nn.Module]]) -> ModelSpec:
    """Fill in the facts of a graph without changing the state of the random numbers."""
    with torch.random.fork_rng(devices=[]):
        return _build_rows(spec, modules)[0]


@contextmanager
def _at(row: LayerSpec, spec: ModelSpec, modules: Mapping[str, type[nn.Module]]) -> Iterator[None]:
    """Add file and line of a layer to errors that have none, and turn other exceptions into readable errors."""
    try:
        yield
    except RegardError as error:
        if error.line is not None or error.file is not None:
            raise
        what = error.what if repr(row.name) in error.what else f"layer {row.name!r}: {error.what}"
        kind = SizeMismatchError if isinstance(error, SizeMismatchError) else RegardError
        raise kind(what, file=row.file or spec.file, line=row.line, expected=error.expected, hint=error.hint) from error
    except (Exception, SystemExit) as error:  # a user's module may raise any exception
        what = f"layer {row.name!r}: {row.module}{call_of(error)} failed: {type(error).__name__}: {error}"
        hint = explain(error, modules[row.module], joins=len(row.inputs) > 1) if row.module in modules else None
        raise spec.error_at(row, what, hint=hint) from error


def _build_row(
    row: LayerSpec, spec: ModelSpec, inputs: Sequence[Tensor | list[Tensor]], modules: Mapping[str, type[nn.Module]]
) -> Built:
    maps = [x for x in inputs if isinstance(x, Tensor)]
    in_channels = [x.shape[1] for x in maps]
    with _at(row, spec, modules):
        if len(maps) != len(inputs):
            raise RegardError("it reads the detection head, which has no map as its output")
        layer_class = find_class(row.module, modules)
        if row is spec.layers[-1] and not issubclass(layer_class, Head):
            if row.module not in modules:
                raise _no_head(spec)
            layer_class = fork_head(layer_class)
        run = partial(_run, spec, maps, layer_class)
        if row.module in modules and not issubclass(layer_class, Head) and not hasattr(layer_class, "multi_input"):
            signature, (layer, output, binding) = _tried(row, layer_class, maps, spec.width_multiple, run)
        else:
            signature = signature_of(layer_class)
            layer, output, binding = run(row, signature)
        if not issubclass(layer_class, Head):
            out_channels, stride = output.shape[1], PROBE / output.shape[-1]
        else:
            out_channels, stride = 0, 0.0
        layer = Gated(layer).eval() if row.gate else layer
        positional = positional_form(row, signature, spec, in_channels, out_channels)
    call = positional_call(layer_class, binding)
    repeats, shape = _repeats(row, spec), tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
    values = values_of(layer_class, signature, binding)
    info = LayerInfo(tuple(in_channels), out_channels, binding.shown, positional, stride, repeats, call, shape, values)
    return Built(layer, info, output)


Run = tuple[nn.Module, Any, Binding]


def _run(
    spec: ModelSpec, maps: Sequence[Tensor], layer_class: type[nn.Module], row: LayerSpec, signature: Signature
) -> Run:
    """Construct a layer and run it once."""
    if not signature.multi_input and len(maps) != 1:
        raise RegardError(f"{row.module} reads {len(maps)} layers", expected="one layer")
    if row.gate and signature.multi_input:
        raise RegardError(f"{row.module} reads several layers and cannot be gated", expected="gate: false")
    strides, repeats = [PROBE // x.shape[-1] for x in maps], _repeats(row, spec)
    binding = bind(row, signature, spec, [x.shape[1] for x in maps], strides, repeats)
    with noted_call(binding.positional, binding.named):
        layer = layer_class(*binding.positional, **binding.named)
        if row.number > 1 and not signature.repeats:
            layer = _repeated(layer, layer_class, binding, signature, repeats)
        if spec.activation != DEFAULT:
            set_activation(layer, spec.activation)
        if getattr(layer_class, "requires_same_size", False):
            _check_sizes(row, maps)
        layer.eval()
        with torch.no_grad():
            output = layer(maps if signature.multi_input else maps[0])
    if not issubclass(layer_class, Head):
        _check_output(row, output, maps[0], binding.expected_out)
    return layer, output, binding


def _tried(
    row: LayerSpec,
    layer_class: type[nn.Module],
    maps: Sequence[Tensor],
    width: float,
    run: Callable[[LayerSpec, Signature], Run],
) -> tuple[Signature, Run]:
    """Call a user's class with the input channels first or, if that fails, with the arguments as written.

    Raises:
        RegardError: both ways work, and nothing in the class tells which is meant.
    """
    many = len(maps) > 1
    written = as_written(layer_class, multi_input=many)
    stated = getattr(layer_class, "takes_channels", None)
    if stated is False:
        return written, run(row, written)
    try:
        signature = signature_of(layer_class, multi_input=many)
        result = run(row, signature)
    except Exception as error:
        failed = error
        if stated is None and not row.options and not isinstance(error, OutputError):
            scaled = [replace(row, args=with_scaled_channels(row.args, written, width))] if many else []
            for other in (row, *scaled):
                try:
                    return written, run(other, written)
                except Exception as second:
                    failed = second if many and len(row.args) > 1 else failed
        if many:
            _check_sizes(row, maps)  # a join of one's own that needs equal sizes
        raise failed from None
    if may_be_without_channels(layer_class) and not row.options and _works(partial(run, row), written):
        first = next(iter(inspect.signature(layer_class).parameters), "")
        raise RegardError(
            f"{row.module} works both with the input channels as {first!r} and with its arguments as written",
            expected="takes_channels = True or False in the class, or a first argument called in_channels",
        )
    return signature, result


def _works(run: Callable[[Signature], Run], signature: Signature) -> bool:
    with suppress(Exception), torch.random.fork_rng(devices=[]):
        return bool(run(signature))
    return False


def _repeated(
    layer: nn.Module, layer_class: type[nn.Module], binding: Binding, signature: Signature, repeats: int
) -> nn.Module:
    """Chain ``repeats`` copies; the first has the input channels, the others the output channels as input."""
    out = binding.named.get(signature.out or "", binding.positional[0] if binding.positional else None)
    following = (out, *binding.positional[1:]) if signature.takes_channels else binding.positional
    return nn.Sequential(layer, *(layer_class(*following, **binding.named) for _ in range(repeats - 1)))


def _check_sizes(row: LayerSpec, maps: Sequence[Tensor]) -> None:
    sizes = {tuple(x.shape[2:]) for x in maps}
    if len(sizes) > 1:
        strides = [f"{name} has stride {PROBE // x.shape[-1]}" for name, x in zip(row.inputs, maps, strict=True)]
        raise SizeMismatchError(
            f"{row.module} combines maps of different sizes: " + ", ".join(strides), expected="equal strides"
        )


def _check_output(row: LayerSpec, output: object, x: Tensor, expected_out: int | None) -> None:
    if not isinstance(output, Tensor):
        raise RegardError(f"{row.module} returns a {type(output).__name__}", expected="one tensor (B, C, H, W)")
    if output.ndim != 4:
        raise RegardError(f"{row.module} returns a tensor of shape {tuple(output.shape)}", expected="(B, C, H, W)")
    if row.gate and output.shape != x.shape:
        raise RegardError(
            f"{row.module} turns {tuple(x.shape[1:])} into {tuple(output.shape[1:])} and cannot be gated",
            expected="a module that keeps the shape",
            hint="insert it with gate: false (--no-gate; in Python: gate=False)",
        )
    if expected_out is not None and output.shape[1] != expected_out:
        raise OutputError(
            f"{row.module} states {expected_out} output channels (scaled) but gives {output.shape[1]}",
            expected=f"{output.shape[1]}" + (", as many as its input has" if output.shape[1] == x.shape[1] else ""),
        )
