"""Preparing a detector, once: batch norms folded, the raw levels as outputs, converted, compared with PyTorch."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from regard.config import ExportSettings
from regard.data.synthetic import scene
from regard.errors import RegardError
from regard.exporting.compare import example, prediction_difference
from regard.exporting.convert import image_shapes, to_onnx
from regard.exporting.diagnose import check_exportable
from regard.graph.cost import row_costs
from regard.graph.detector import Detector
from regard.inference.cache import HEADER, INPUT_FORM, MODEL, OPENVINO_FORMS, SIDE, PreparedHeader, digest_of
from regard.inference.prepared import Run, open_onnxruntime, open_openvino
from regard.nn.fuse import fuse
from regard.nn.heads import YOLOv5Head
from regard.types import Predictions

TOLERANCE = 1e-4
"""Largest relative difference from PyTorch, as in `regard.exporting`."""

TRACED_STRIDES, COMPARED_STRIDES = (2, 3), (5, 7)
"""Height and width, in largest strides, of the examples: one to trace on, one that the conversion never saw."""


class _RawHead(nn.Module):
    """The head's convolutions alone; their outputs need not be moved about before the few likely cells are read."""

    multi_input = True

    def __init__(self, head: YOLOv5Head) -> None:
        super().__init__()
        self.m = head.m

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [conv(x) for conv, x in zip(self.m, maps, strict=True)]


class _RawDetector(nn.Module):
    """(B, 3, H, W) uint8 -> for each level (B, A * (5 + nc), ny, nx)."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        assert isinstance(detector.head, YOLOv5Head)
        detector.model[-1] = _RawHead(detector.head)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.detector.raw(images.float() / 255))


def prepare(detector: Detector, made_from: str, runtime: str, folder: Path) -> None:
    """Fill an entry of the cache: the model and its header.

    Args:
        detector: is not changed.
        made_from: for the header: the file with its weights.
        runtime: "onnxruntime" or "openvino", with which the comparison is made.
        folder: an empty folder.

    Raises:
        RegardError: a layer is known not to be exportable, or the result deviates from PyTorch.
        Exception: whatever a converter raises for a layer that it cannot handle.
    """
    check_exportable(detector)
    detector = copy.deepcopy(detector).cpu().float().eval()
    stride = detector.max_stride
    assert isinstance(detector.head, YOLOv5Head)
    header = PreparedHeader(
        names=detector.names,
        max_stride=stride,
        strides=detector.strides,
        anchors=tuple(tuple((w, h) for w, h in level) for level in detector.head.anchors.float().tolist()),
        digest="",
        relative_deviation=0.0,
        made_from=made_from,
        mixing_flops=sum(row.mixing_flops for row in row_costs(detector, SIDE * stride)),
    )
    images = torch.zeros(2, 3, *(n * stride for n in TRACED_STRIDES), dtype=torch.uint8)
    outputs = [f"level{i}" for i in range(len(detector.strides))]
    program = to_onnx(
        _RawDetector(fuse(detector)).eval(),
        (images,),
        image_shapes(stride),
        opset=ExportSettings().opset,
        outputs=outputs,
    )
    program.model.metadata_props["regard"] = INPUT_FORM
    program.save(folder / MODEL)
    open_run: Callable[[Path], Run] = open_onnxruntime if runtime == "onnxruntime" else open_openvino
    deviation = _deviation(detector, open_run(folder))
    if not deviation <= TOLERANCE:
        raise RegardError(f"the prepared model deviates from PyTorch by {deviation:.1g}")
    shutil.rmtree(folder / OPENVINO_FORMS, ignore_errors=True)  # named by the folder's path, which changes
    found = header.model_copy(update={"digest": digest_of(folder / MODEL), "relative_deviation": deviation})
    (folder / HEADER).write_text(found.model_dump_json())


def _deviation(detector: Detector, run: Run) -> float:
    """Measure the largest relative difference of predictions, at a size and a batch that the conversion never saw."""
    height, width = (n * detector.max_stride for n in COMPARED_STRIDES)
    images = example(scene(0, "test", 0).read(), 3, height, width)
    with torch.no_grad():
        expected = cast(Predictions, detector(images))
    levels = [torch.from_numpy(level.copy()) for level in run((images * 255).round().byte().numpy())]
    assert isinstance(detector.head, YOLOv5Head)
    per_cell = detector.head.anchors_per_cell
    raw = [level.reshape(len(level), per_cell, -1, *level.shape[2:]).permute(0, 1, 3, 4, 2) for level in levels]
    found = detector.head.decode(raw)
    return prediction_difference(found, expected, detector.max_stride)
