"""Errors that a layer raises, or that it causes, only when it is trained: one line that names it and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from regard.errors import RegardError, first_line, first_names
from regard.graph.detector import Detector
from regard.graph.user_modules import last_frame, source_file
from regard.system.last_resort import passing_cause

_ONE_VALUE = re.compile(r"Expected more than 1 value per channel when training, got input size (.*)")
_TYPES = re.compile(r"dtype|scalar type|same type|BFloat16|\bHalf\b", re.IGNORECASE)
_UNFINISHED = re.compile(r"Expected to have finished reduction in the prior iteration")


@dataclass(frozen=True)
class _Layer:
    name: str
    kind: str

    def __str__(self) -> str:
        return f"layer {self.name!r} ({self.kind})"


@contextmanager
def explain_layer_errors(detector: Detector, precision: str) -> Iterator[None]:
    """Replace what a layer of ``detector`` raises by an error that names the layer.

    Errors that have no layer, and those of the system, such as too little memory, pass unchanged.

    Args:
        detector: whose layers run meanwhile.
        precision: what Fabric calls that of the network, such as "bf16-mixed".

    Raises:
        RegardError: a layer raised an exception.
    """
    try:
        yield
    except Exception as error:  # a user's layer may raise anything
        if isinstance(error, RegardError) or passing_cause(error):
            raise
        layer = _layer_that_raised(error, detector)
        if layer is None and not _UNFINISHED.search(str(error)):
            raise
        raise _explained(error, layer, detector, precision) from error


def _explained(error: Exception, layer: _Layer | None, detector: Detector, precision: str) -> RegardError:
    if layer is None or _UNFINISHED.search(str(error)):
        return RegardError(
            "a layer does not use all of its parameters in every step, which several processes cannot train",
            expected="layers whose forward uses all parameters",
            hint="train in one process (--devices 1, in Python devices=1)",
        )
    if found := _ONE_VALUE.search(str(error)):
        shape = re.sub(r"torch\.Size\(\[(.*)\]\)", r"\1", found[1]).replace(", ", " x ")
        return RegardError(
            f"{layer}: batch norm was given one value per channel ({shape}), of which it has no statistics",
            expected="two images per batch and process, also in the last batch of an epoch, or a larger map",
            hint="use another --batch, a larger --imgsz, or --freeze-batchnorm "
            "(in Python: batch=, imgsz=, freeze_batchnorm=True)",
        )
    place = last_frame(error, {source_file(kind) for kind in detector.user_modules.values()} - {None})
    at = f", {place[0]}:{place[1]}" if place else ""
    text = first_line(error)
    hint = None
    if _TYPES.search(text) and precision != "32-true":
        hint = "convert to the type of the input (x.to(other.dtype)), or train with --precision 32 "
        hint += '(in Python: precision="32")'
    return RegardError(f"{layer} failed in training ({precision}){at}: {type(error).__name__}: {text}", hint=hint)


def _layer_that_raised(error: Exception, detector: Detector) -> _Layer | None:
    """Find the layer in whose code an error was raised: the last call of one of its modules."""
    kinds = {row.name: row.module for row in detector.spec.layers}
    owners = {id(part): name for name, layer in detector.named_layers() for part in layer.modules()}
    found, step = None, error.__traceback__
    while step is not None:
        name = owners.get(id(step.tb_frame.f_locals.get("self")))
        found, step = _Layer(name, kinds[name]) if name else found, step.tb_next
    return found


def check_all_used(detector: Detector) -> None:
    """Check after the first backward pass of several processes that every parameter has a gradient.

    Their gradients are averaged when all are there: the next step would wait for the others in vain.

    Raises:
        RegardError: a layer has parameters that the loss does not depend on.
    """
    for name, layer in detector.named_layers():
        unused = [key for key, value in layer.named_parameters() if value.requires_grad and value.grad is None]
        if unused:
            kind = detector.spec.layer(name).module
            listed = first_names(unused, 3)
            raise RegardError(
                f"{_Layer(name, kind)} has parameters that the loss does not depend on: {listed}",
                expected="several processes train only layers whose forward uses all parameters",
                hint=f"remove them, do not train the layer (--freeze {name}), or train in one process (--devices 1); "
                f"in Python freeze=[{name!r}] or devices=1",
            )
