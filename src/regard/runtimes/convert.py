"""From a detector to an ONNX program or a TorchScript module, for any batch and size, without converters' messages."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.runtimes.base import INPUT
from regard.runtimes.header import METADATA_KEY, Header
from regard.runtimes.with_nms import Select, WithNMS, select_boxes, select_boxes_onnx, select_boxes_operator

EXPORTED_STRIDES = (19, 23)
"""Height and width of the example of an ONNX program, in largest strides: large, for where one window holds the whole
example, their number could become the constant 1. It is computed on only to find out which layer fails."""

TRACED_STRIDES = (2, 3)
"""Height and width of the example of a trace, which is computed on: small, and not square."""

CHATTY_LOGGERS = ("onnxscript", "onnx_ir", "torch.onnx")
"""They report, as warnings, which constants they did not fold."""


class _RawDetector(nn.Module):
    """(B, 3, H, W) uint8 -> the raw levels, whose likely cells are decoded outside."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector)
        raw = self.detector.head.raw_export()
        assert raw is not None  # else the header asks for no raw levels
        self.detector.model[-1] = raw[0]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.detector.raw(images.float() / 255))


class _PlainDetector(nn.Module):
    """A detector whose outputs are a plain tuple, which every format supports."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.detector(images))


def exported(detector: Detector, header: Header, select: Select = select_boxes) -> nn.Module:
    """Module whose outputs are those that the header names, in evaluation mode.

    Args:
        detector: in evaluation mode.
        header: determines whether NMS is included, and whether the levels are decoded.
        select: what NMS calls; see `regard.runtimes.with_nms.Select`.
    """
    if header.raw:
        return _RawDetector(detector).eval()
    return (WithNMS(detector, header.nms, select) if header.nms else _PlainDetector(detector)).eval()


def example(header: Header, strides: tuple[int, int]) -> Tensor:
    """Two images (2, 3, height, width) to convert on, of a height and width in largest strides."""
    height, width = (count * header.max_stride for count in strides)
    if header.raw:
        return torch.zeros(2, 3, height, width, dtype=torch.uint8)
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def write_onnx(detector: Detector, header: Header, path: Path) -> None:
    """Write a detector as ONNX, the header in its ``metadata_props``.

    Raises:
        RegardError: the graph cannot be written in the version of the operators that was asked for.
    """
    assert header.opset is not None
    module = exported(detector, header, select_boxes_operator)
    images, shapes = example(header, EXPORTED_STRIDES), image_shapes(header.max_stride)
    if header.static:
        images, shapes = torch.zeros(1, 3, header.imgsz, header.imgsz), None
    program = to_onnx(module, (images,), shapes, opset=header.opset, outputs=header.outputs)
    given = program.model.opset_imports[""]
    if given != header.opset:  # torch falls back without an error
        raise RegardError(f"the graph cannot be written with ONNX opset {header.opset}", expected=f"{given}, for one")
    program.model.metadata_props[METADATA_KEY] = header.model_dump_json()
    program.save(path)


def to_onnx(
    module: nn.Module,
    inputs: tuple[Any, ...],
    dynamic_shapes: tuple[Any, ...] | None,
    *,
    opset: int,
    outputs: Sequence[str] | None = None,
) -> torch.onnx.ONNXProgram:
    """Convert a module to an ONNX program.

    Args:
        module: in evaluation mode.
        inputs: an example; sizes that vary are at least 2 and differ, so that none is taken for another.
        dynamic_shapes: which of their sizes vary, as for ``torch.export.export``; None for none of them.
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
    """Trace a module on an example; it runs where it was traced, on the CPU."""
    with quiet(), torch.no_grad():
        traced: torch.jit.ScriptModule = torch.jit.trace(module, inputs, check_trace=False)  # type: ignore[no-untyped-call]
    return traced


def image_shapes(stride: int) -> tuple[Any, ...] | None:
    """Shapes of one input (B, 3, H, W) of any batch, with sides that are multiples of ``stride``."""
    height, width = (stride * torch.export.Dim(name) for name in ("height", "width"))
    return ({0: torch.export.Dim("batch"), 2: height, 3: width},)


def map_shapes(inputs: Any) -> Any:
    """Shapes of maps (B, C, H, W), or of lists of such, of any batch and size."""
    if isinstance(inputs, Tensor):
        return dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    return type(inputs)(map_shapes(item) for item in inputs)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what converters report on every run; their other warnings get through."""
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
