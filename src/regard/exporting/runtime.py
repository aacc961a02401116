"""Exported files as backends: ONNX Runtime, OpenVINO and TorchScript, in float32."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from regard.backend import Backend
from regard.config import DetectSettings
from regard.errors import RegardError, RegardWarning
from regard.exporting.convert import INPUT, quiet
from regard.exporting.header import (
    METADATA_KEY,
    ExportHeader,
    Format,
    file_of,
    format_of,
    parse_header,
    require_packages,
)
from regard.exporting.suppression import as_predictions
from regard.finder import Finder
from regard.openvino_core import openvino_core
from regard.types import Predictions
from regard.weights.paths import missing_file

Run: TypeAlias = Callable[[Tensor, Sequence[str]], list[Tensor]]
"""(images (B, 3, H, W) float32, names of outputs) -> those outputs."""


class ExportedDetector:
    """An exported file, ready to be asked like a detector; see `regard.backend.Backend`.

    Args:
        header: what the file says about itself.
        run: runs it.
    """

    def __init__(self, header: ExportHeader, run: Run) -> None:
        self.header, self.run = header, run

    @property
    def names(self) -> Mapping[int, str]:
        """Class names, by class index."""
        return self.header.names

    @property
    def max_stride(self) -> int:
        """The number that the sides of the input must be multiples of, in pixels."""
        return self.header.max_stride

    def __call__(self, images: Tensor) -> Predictions:
        """Map (B, 3, H, W) RGB in 0..1 to boxes and class scores on the CPU.

        With suppression inside, they are what it kept; suppressing them again with ``header.nms`` changes nothing.
        """
        images = images.float().cpu()
        if self.header.nms is None:
            return Predictions(*self.run(images, self.header.outputs))
        (detections,) = self.run(images, self.header.outputs[:1])
        return as_predictions(detections, len(images), len(self.names))


def load_exported(path: str | Path) -> ExportedDetector:
    """Open an ``.onnx``, an OpenVINO ``.xml`` or its folder, or a ``.torchscript`` that `export_detector` wrote.

    ONNX runs on CUDA where ``onnxruntime-gpu`` is installed, all else on the CPU, with as many threads as torch has.

    Raises:
        RegardError: not found, damaged, not exported by regard, or its runtime is not installed.
    """
    path = Path(path)
    form = format_of(path)
    return open_file(file_of(path, form), form)


def warn_of_suppression(backend: Backend | Finder, asked: DetectSettings) -> None:
    """Warn where boxes that are asked for have been dropped already, by suppression inside an exported file."""
    inside = backend.header.nms if isinstance(backend, ExportedDetector) else None
    if inside is None:
        return
    lost = [
        f"{name} {getattr(inside, name)} (asked for: {getattr(asked, name)})"
        for name, drops_more in (
            ("conf", inside.conf > asked.conf),
            ("iou", inside.iou < asked.iou),
            ("max_det", inside.max_det < asked.max_det),
            ("agnostic_nms", inside.agnostic_nms and not asked.agnostic_nms),
            ("multi_label", asked.multi_label and not inside.multi_label),
            ("classes", bool(inside.classes) and not set(asked.classes or [-1]) <= set(inside.classes)),
        )
        if drops_more
    ]
    if lost:
        told = f"the exported file has suppression inside that drops more: {', '.join(lost)}"
        warnings.warn(f"{told}; export it without --nms for other settings", RegardWarning, stacklevel=3)


def open_file(path: Path, form: Format) -> ExportedDetector:
    """Open the main file of an export; see `load_exported`."""
    if not path.is_file():
        raise missing_file(path)
    if form == "onnx":
        document, run = _open_onnx(path)
    elif form == "openvino":
        document, run = _open_openvino(path)
    else:
        document, run = _open_torchscript(path)
    return ExportedDetector(parse_header(document, path), run)


def _open_onnx(path: Path) -> tuple[str | None, Run]:
    require_packages("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; warnings tell which nodes it placed where
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(os.fspath(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common base
        raise _damaged(path, "ONNX", error) from error

    def run(images: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        return [torch.from_numpy(array) for array in session.run(list(outputs), {INPUT: images.numpy()})]

    return session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), run


def _open_openvino(path: Path) -> tuple[str | None, Run]:
    require_packages("openvino")
    # Left to itself OpenVINO computes in bfloat16 where the processor can, and boxes are off by pixels.
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        core = openvino_core()
        model = core.read_model(path)
        document = model.get_rt_info([METADATA_KEY]).astype(str) if model.has_rt_info([METADATA_KEY]) else None
        compiled = core.compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise _damaged(path, "OpenVINO", error) from error

    def run(images: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        results = compiled({INPUT: images.numpy()})
        return [torch.from_numpy(results[name].copy()) for name in outputs]

    return document, run


def _open_torchscript(path: Path) -> tuple[str | None, Run]:
    extra = {METADATA_KEY: ""}
    try:
        with quiet():
            module = torch.jit.load(path, map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise _damaged(path, "TorchScript", error) from error
    content = extra[METADATA_KEY]
    document = content.decode() if isinstance(content, bytes) else content

    def run(images: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        with torch.no_grad():
            results = module(images)
        by_name = dict(zip(("scores", "boxes", "detections"), reversed(results), strict=False))
        return [by_name[name] for name in outputs]

    return document or None, run


def _damaged(path: Path, kind: str, error: Exception) -> RegardError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return RegardError(f"the file is damaged or no {kind} file ({first})", file=path)
