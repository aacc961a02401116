"""Which layer keeps a detector from being exported: known beforehand, or found when the converter stumbled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.exporting.convert import map_shapes, to_onnx, to_torchscript
from regard.exporting.header import Format
from regard.graph.detector import Detector
from regard.nn.attention import Attention


def check_exportable(detector: Detector) -> None:
    """Check that no layer holds attention of which it is known that it cannot be exported.

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


def own_layers(detector: Detector) -> dict[str, str]:
    """Return the rows made by the user's own classes: name of the row -> name of the class."""
    return {row.name: row.module for row in detector.spec.layers if row.module in detector.user_modules}


def blame(detector: Detector, images: Tensor, form: Format, opset: int, error: Exception) -> RegardError:
    """Return the error that names the first of the user's layers that cannot be exported by itself.

    Args:
        detector: what could not be exported.
        images: (B, 3, H, W), an example.
        form: the format asked for.
        opset: version of ONNX's operators.
        error: what the converter raised for the whole detector.
    """
    for name, module in own_layers(detector).items():
        layer = detector.layer(name)
        try:
            _convert(layer, _inputs_of(detector, layer, images), form, opset)
        except Exception as own:  # a converter raises whatever a layer made it stumble over
            return RegardError(
                f"layer {name!r} ({module}) cannot be exported to {form}: {_reason(own)}",
                hint="use tensor operations only: no numpy, and no choice that depends on a tensor's values",
            )
    return RegardError(f"the detector cannot be exported to {form}: {_reason(error)}")


def _convert(layer: nn.Module, inputs: tuple[Any, ...], form: Format, opset: int) -> None:
    if form == "torchscript":
        to_torchscript(layer, inputs)
    else:
        to_onnx(layer, inputs, map_shapes(inputs), opset=opset)


def _inputs_of(detector: Detector, layer: nn.Module, images: Tensor) -> tuple[Any, ...]:
    seen: list[tuple[Any, ...]] = []
    with layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs)), torch.no_grad():
        detector(images)
    return seen[0]


def _reason(error: BaseException) -> str:
    """Return the first line of what was raised at the bottom, where the exporter wraps one error in another."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
