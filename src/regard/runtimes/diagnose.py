"""Find the layer that prevents an export: before the conversion if it is known, else after a converter failed."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.nn.attention import Attention
from regard.runtimes.base import Runtime, reason
from regard.runtimes.convert import EXPORTED_STRIDES, example
from regard.runtimes.header import Header


def check_exportable(detector: Detector) -> None:
    """Check that no layer contains attention that is known not to be exportable.

    Raises:
        RegardError: one does; why, and the nearest module that can be exported.
    """
    for name, layer in detector.named_layers():
        for module in layer.modules():
            card = getattr(module, "card", None) if isinstance(module, Attention) else None  # C2PSA's own has none
            if card is not None and card.obstacle:
                kind = type(module).__name__
                what = f"layer {name!r} ({kind}) cannot be exported: {card.obstacle}"
                raise RegardError(what, hint=f"the nearest module that can is {card.instead}" if card.instead else None)


def user_layers(detector: Detector) -> dict[str, str]:
    """Rows made by the user's own classes: name of the row -> name of the class."""
    return {row.name: row.module for row in detector.spec.layers if row.module in detector.user_modules}


def diagnose(detector: Detector, header: Header, runtime: Runtime, error: Exception) -> RegardError:
    """Make the error that names the first of the user's layers that cannot be converted by itself.

    Args:
        detector: what could not be written.
        header: what was to be written.
        runtime: whose format it was to be.
        error: what the converter raised for the whole detector.
    """
    for name, module in user_layers(detector).items():
        layer = detector.layer(name)
        try:
            runtime.check_layer(layer, _inputs_of(detector, layer, header), header.opset)
        except Exception as own:  # a converter raises any exception for a layer that it cannot handle
            return RegardError(
                f"layer {name!r} ({module}) cannot be exported to {runtime.format}: {_named(own)}",
                hint="use tensor operations only: no numpy, and no choice that depends on a tensor's values",
            )
    return RegardError(f"the detector cannot be exported to {runtime.format}: {_named(error)}")


def _inputs_of(detector: Detector, layer: nn.Module, header: Header) -> tuple[Any, ...]:
    seen: list[tuple[Any, ...]] = []
    with layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs)), torch.no_grad():
        detector(example(header.model_copy(update={"raw": None}), EXPORTED_STRIDES))
    return seen[0]


def _named(error: BaseException) -> str:
    """Type and first line of the error at the bottom, where one error wraps another."""
    while error.__cause__ is not None:
        error = error.__cause__
    kind, text = type(error).__name__, reason(error)
    return text if text == kind else f"{kind}: {text}"
