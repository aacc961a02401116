"""Export: convert, write beside, load what was written, compare it with PyTorch, and only then put it in place."""

from __future__ import annotations

import copy
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from regard import __version__
from regard.config import PREDICT, DetectSettings, ExportSettings, require_positive
from regard.data.synthetic import scene
from regard.errors import RegardError
from regard.exporting.compare import Deviation, compare, example
from regard.exporting.diagnose import check_exportable, own_layers
from regard.exporting.header import PACKAGES, ExportHeader, Format, file_of, format_of, require_packages
from regard.exporting.runtime import ExportedDetector, open_file
from regard.exporting.write import write
from regard.graph.detector import Detector

DEFAULT = ExportSettings()


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how far it is from PyTorch; it prints as a table.

    Attributes:
        path: the file or folder.
        format: "onnx", "openvino" or "torchscript".
        opset: version of ONNX's operators; None for TorchScript.
        file_bytes: size of all its files.
        deviations: at the export size, and at a batch and size that the export never saw.
        tolerance: the largest relative deviation that passes.
        seconds: spent on converting, writing and comparing.
    """

    path: Path
    format: Format
    opset: int | None
    file_bytes: int
    deviations: tuple[Deviation, ...]
    tolerance: float
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every deviation is within the tolerance."""
        return all(deviation.within(self.tolerance) for deviation in self.deviations)

    def __rich__(self) -> Table:
        kind = self.format if self.opset is None else f"{self.format}, opset {self.opset}"
        table = Table(
            title=f"{self.path} ({kind}, {self.file_bytes / 1e6:.1f} MB, {self.seconds:.1f} s)",
            caption=f"largest difference from PyTorch; relative at most {self.tolerance:.0e}: "
            + ("passed" if self.passed else "FAILED"),
        )
        for heading in ("input", "pixels", "probability", "relative", "detections"):
            table.add_column(heading, justify="right")
        for d in self.deviations:
            inside = "" if d.detections is None else f"{d.detections} ({d.detections_relative:.1e})"
            size = f"{d.batch} x 3 x {d.height} x {d.width}"
            table.add_row(size, f"{d.pixels:.1e}", f"{d.probability:.1e}", f"{d.relative:.1e}", inside)
        return table


def export_detector(
    detector: Detector,
    path: str | Path,
    *,
    format: str | None = None,
    imgsz: int = DEFAULT.imgsz,
    nms: bool = False,
    settings: DetectSettings = PREDICT,
    opset: int = DEFAULT.opset,
    image: NDArray[np.uint8] | None = None,
    tolerance: float = DEFAULT.tolerance,
) -> ExportReport:
    """Write a detector as a float32 file for another runtime, for inputs of any batch and size.

    The input "images" is (B, 3, H, W) RGB in 0..1, the output "decoded" what the detector returns. With ``nms`` the
    first output is "detections" (M, 7): image index, left, top, right, bottom in input pixels, score, class index; by
    image, then best first. The file written is loaded and compared with PyTorch before it is put in place.

    Args:
        detector: is not changed.
        path: the file; for OpenVINO an ``.xml`` or a folder.
        format: "onnx", "openvino" or "torchscript"; by the suffix where not given.
        imgsz: side of the input that it is meant for, in pixels, rounded up to the largest stride.
        nms: whether to put suppression inside.
        settings: thresholds of that suppression.
        opset: version of ONNX's operators.
        image: (H, W, 3) uint8 RGB to compare on; a synthetic scene where not given.
        tolerance: largest relative difference from PyTorch, as `Deviation` defines it.

    Raises:
        RegardError: unknown format, a package is not installed, a layer cannot be exported, the file deviates from
            PyTorch (nothing is left in place then), or it cannot be written.
    """
    start = time.perf_counter()
    require_positive(imgsz=imgsz)
    path = Path(path)
    form = format_of(path, format)
    check_exportable(detector)
    require_packages(*PACKAGES[form])
    detector = copy.deepcopy(detector).cpu().float().eval()
    header = _header(detector, imgsz, settings if nms else None)
    target = file_of(path, form)
    with _scratch_beside(target) as scratch:
        written = scratch / target.name
        write(detector, header, written, form, opset)
        deviations = _compare(detector, open_file(written, form), image)
        report = ExportReport(
            path=path,
            format=form,
            opset=None if form == "torchscript" else opset,
            file_bytes=sum(file.stat().st_size for file in scratch.iterdir()),
            deviations=deviations,
            tolerance=tolerance,
            seconds=time.perf_counter() - start,
        )
        if not report.passed:
            raise _deviates(report, detector)
        _put_in_place(scratch, target)
    return report


def _header(detector: Detector, imgsz: int, nms: DetectSettings | None) -> ExportHeader:
    return ExportHeader(
        regard_version=__version__,
        names=detector.names,
        imgsz=math.ceil(imgsz / detector.max_stride) * detector.max_stride,
        max_stride=detector.max_stride,
        strides=detector.strides,
        graph=detector.spec.to_yaml(),
        nms=nms,
    )


@contextmanager
def _scratch_beside(target: Path) -> Iterator[Path]:
    """Make a folder on the same file system, so that what is written in it can be renamed; gone afterwards."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent)
    except OSError as error:
        raise RegardError(f"cannot write the file: {error.strerror or error}", file=target) from error
    with scratch as folder:
        yield Path(folder)


def _compare(detector: Detector, exported: ExportedDetector, image: NDArray[np.uint8] | None) -> tuple[Deviation, ...]:
    """Measure at the export size, and at three images of half that height and a stride more than that width."""
    image = scene(0, "test", 0).read() if image is None else image
    side, stride = exported.header.imgsz, exported.max_stride
    half = math.ceil(side / (2 * stride)) * stride
    batches = [example(image, 1, side, side), example(image, 3, half, half + stride)]
    try:
        return tuple(compare(detector, exported, images) for images in batches)
    except Exception as error:  # a runtime raises errors of its own where a graph does not fit the input
        raise RegardError(
            f"the exported graph does not run: {str(error).strip().splitlines()[0]}", hint=_suspects(detector)
        ) from error


def _deviates(report: ExportReport, detector: Detector) -> RegardError:
    worst = max(report.deviations, key=lambda d: max(d.relative, d.detections_relative))
    found = f"{worst.pixels:.2g} pixels, {worst.probability:.2g} in probability"
    if worst.detections is not None and worst.detections_relative > report.tolerance:
        found += ", and other detections" if math.isinf(worst.detections_relative) else ", and in its detections"
    return RegardError(
        f"the exported graph deviates from PyTorch at {worst.batch} x 3 x {worst.height} x {worst.width}: {found}",
        file=report.path,
        expected=f"a relative difference of at most {report.tolerance:.0e}; nothing was written",
        hint=_suspects(detector),
    )


def _suspects(detector: Detector) -> str | None:
    own = own_layers(detector)
    if not own:
        return None
    named = ", ".join(f"{name!r} ({module})" for name, module in own.items())
    return f"look at your own layers first: {named}; a size or a choice may have become a constant"


def _put_in_place(scratch: Path, target: Path) -> None:
    """Move the files, the main one last, so that it never stands without its weights."""
    files = sorted(scratch.iterdir(), key=lambda file: file.name == target.name)
    try:
        for file in files:
            os.replace(file, target.with_name(file.name))
    except OSError as error:
        raise RegardError(f"cannot write the file: {error.strerror or error}", file=target) from error
