"""From a module to an ONNX program or a TorchScript module, of any batch and size, without the converters' chatter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from regard.exporting.suppression import select_boxes_onnx

INPUT = "images"
CHATTY_LOGGERS = ("onnxscript", "onnx_ir", "torch.onnx")
"""They report, as warnings, which constants they did not fold."""


def to_onnx(
    module: nn.Module,
    inputs: tuple[Any, ...],
    dynamic_shapes: tuple[Any, ...],
    *,
    opset: int,
    outputs: Sequence[str] | None = None,
) -> torch.onnx.ONNXProgram:
    """Return a module as an ONNX program.

    Args:
        module: in evaluation mode.
        inputs: an example; sizes that vary are at least 2 and differ from each other, lest one stand for another.
        dynamic_shapes: which of their sizes vary, as for ``torch.export.export``.
        opset: version of ONNX's operators.
        outputs: their names.
    """
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            dynamic_shapes=dynamic_shapes,
            input_names=[INPUT] if len(inputs) == 1 else None,
            output_names=outputs,
            opset_version=opset,
            custom_translation_table={torch.ops.regard.select_boxes.default: select_boxes_onnx},
            verbose=False,
        )
    assert program is not None  # None only where torch itself was asked to write the file
    return program


def to_torchscript(module: nn.Module, inputs: tuple[Any, ...]) -> torch.jit.ScriptModule:
    """Return a module as traced on an example; it runs where it was traced, on the CPU."""
    with quiet(), torch.no_grad():
        traced: torch.jit.ScriptModule = torch.jit.trace(module, inputs, check_trace=False)  # type: ignore[no-untyped-call]
    return traced


def image_shapes(stride: int) -> tuple[Any, ...]:
    """Return the shapes of one input (B, 3, H, W) of any batch and of sides that are multiples of ``stride``."""
    height, width = (stride * torch.export.Dim(name) for name in ("height", "width"))
    return ({0: torch.export.Dim("batch"), 2: height, 3: width},)


def map_shapes(inputs: Any) -> Any:
    """Return the shapes of maps (B, C, H, W), or of lists of such, of any batch and size."""
    if isinstance(inputs, Tensor):
        return dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    return type(inputs)(map_shapes(item) for item in inputs)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what converters say on every run; whatever else they warn of gets through."""
    loggers = [logging.getLogger(name) for name in CHATTY_LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        # TorchScript is deprecated for training; it remains a format that runs without Python.
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=FutureWarning)
        # A size was taken for a constant: the comparison at a size never seen finds those that matter.
        warnings.filterwarnings("ignore", category=TracerWarning)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
