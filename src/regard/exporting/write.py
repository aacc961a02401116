"""Writing a detector in each format, with its header inside."""

from __future__ import annotations

from pathlib import Path

import torch

from regard.errors import RegardError
from regard.exporting.convert import image_shapes, quiet, to_onnx, to_torchscript
from regard.exporting.diagnose import blame
from regard.exporting.header import METADATA_KEY, ExportHeader, Format
from regard.exporting.suppression import SuppressedDetector, select_boxes, select_boxes_operator
from regard.graph.detector import Detector
from regard.openvino_core import openvino_core

EXPORTED_STRIDES = (19, 23)
"""Height and width of the example of an ONNX program, in largest strides: large, for where one window holds the whole
example, their number could become the constant 1. It is computed on only to find which layer is to blame."""

TRACED_STRIDES = (2, 3)
"""Height and width of the example of a trace, which is computed on: small, and not square."""


def write(detector: Detector, header: ExportHeader, path: Path, form: Format, opset: int) -> None:
    """Write a detector to a file; for OpenVINO the weights go beside it.

    Args:
        detector: in evaluation mode, on the CPU, in float32.
        header: goes into the file; says whether suppression goes in too.
        path: the main file.
        form: its format.
        opset: version of ONNX's operators.

    Raises:
        RegardError: the converter cannot handle the detector, and the layer is named where one of the user's own is
            at fault; the opset is not to be had; or the file cannot be written.
    """
    writers = {"onnx": _write_onnx, "openvino": _write_openvino, "torchscript": _write_torchscript}
    strides = TRACED_STRIDES if form == "torchscript" else EXPORTED_STRIDES
    height, width = (count * header.max_stride for count in strides)
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    try:
        writers[form](detector, header, path, images, opset)
    except RegardError:
        raise
    except OSError as error:
        raise RegardError(f"cannot write the file: {error.strerror or error}", file=path) from error
    except Exception as error:  # a converter raises whatever a layer made it stumble over
        raise blame(detector, images, form, opset, error) from error


def _write_onnx(detector: Detector, header: ExportHeader, path: Path, images: torch.Tensor, opset: int) -> None:
    module = SuppressedDetector(detector, header.nms, select_boxes_operator).eval() if header.nms else detector
    program = to_onnx(module, (images,), image_shapes(header.max_stride), opset=opset, outputs=header.outputs)
    given = program.model.opset_imports[""]
    if given != opset:  # torch falls back without an error
        raise RegardError(f"the graph cannot be written with ONNX opset {opset}", expected=f"{given}, for one")
    program.model.metadata_props[METADATA_KEY] = header.model_dump_json()
    program.save(path)


def _write_openvino(detector: Detector, header: ExportHeader, path: Path, images: torch.Tensor, opset: int) -> None:
    """Go by way of ONNX: ``openvino.convert_model`` would call home (openvino-telemetry), the reader does not."""
    import openvino

    onnx = path.with_suffix(".onnx")
    _write_onnx(detector, header, onnx, images, opset)
    model = openvino_core().read_model(onnx)
    model.set_rt_info(header.model_dump_json(), METADATA_KEY)
    openvino.save_model(model, path, compress_to_fp16=False)
    onnx.unlink()


def _write_torchscript(detector: Detector, header: ExportHeader, path: Path, images: torch.Tensor, _: int) -> None:
    module = SuppressedDetector(detector, header.nms, select_boxes).eval() if header.nms else detector
    traced = to_torchscript(module, (images,))
    with quiet():
        torch.jit.save(traced, path, _extra_files={METADATA_KEY: header.model_dump_json()})
