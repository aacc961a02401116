"""Export: write next to the target, open what was written, compare it with PyTorch, and only then put it in place."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard import __version__
from regard.config import PREDICT, DetectSettings, ExportSettings, require_positive
from regard.data.synthetic import scene
from regard.errors import RegardError
from regard.graph.cost import row_costs
from regard.graph.detector import Detector
from regard.nn.fuse import fuse
from regard.runtimes.base import Runtime, SessionOptions, file_digest, reason
from regard.runtimes.cache import FACTS, Entry, model_file
from regard.runtimes.compare import Deviation, compare, example_images
from regard.runtimes.diagnose import check_exportable, diagnose, user_layers
from regard.runtimes.header import Header
from regard.runtimes.opencv import warn_unless_read
from regard.runtimes.table import runtime_to_write
from regard.system.files import is_there, make_folder, reject_other, write_file
from regard.system.last_resort import passing_cause
from regard.system.locks import exclusive
from regard.system.plain_table import PlainTable
from regard.system.scratch import LOCK_SUFFIX, PREFIX, scratch_folder

DEFAULT = ExportSettings()


COMPILED_STRIDES = 20
"""Side of the image at which the costs of a compiled model are noted, in largest strides: mostly 640 pixels."""

COMPARED_STRIDES = (5, 7)
"""Height and width, in largest strides, of the comparison: a size that the conversion never saw."""


@dataclass(frozen=True)
class ExportReport:
    """What was written, and its deviation from PyTorch; it prints as a table.

    Attributes:
        path: the file or folder.
        format: such as "onnx".
        opset: version of ONNX's operators; None where there are none.
        file_bytes: size of all its files.
        deviations: at the export size, and at a batch and size that the export never saw.
        tolerance: the largest relative deviation that passes.
        seconds: spent on converting, writing and comparing.
    """

    path: Path
    format: str
    opset: int | None
    file_bytes: int
    deviations: tuple[Deviation, ...]
    tolerance: float
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every deviation is within the tolerance."""
        return all(deviation.within(self.tolerance) for deviation in self.deviations)

    def __rich__(self) -> PlainTable:
        verdict = "passed" if self.passed else "FAILED"
        kind = self.format if self.opset is None else f"{self.format} opset {self.opset}"
        table = PlainTable(
            title=f"{self.path} ({kind}, {self.file_bytes / 1e6:.1f} MB, {self.seconds:.1f} s)",
            caption=f"largest difference from PyTorch; relative at most {self.tolerance:.0e}: {verdict}",
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
    static: bool = False,
    nms: bool | None = None,
    settings: DetectSettings = PREDICT,
    opset: int = DEFAULT.opset,
    image: NDArray[np.uint8] | None = None,
    tolerance: float = DEFAULT.tolerance,
) -> ExportReport:
    """Write a detector as a float32 file for another runtime, for inputs of any batch and size unless ``static``.

    The input "images" is (B, 3, H, W) RGB in 0..1. The outputs are "boxes" (B, N, 4): centre x, centre y, width, height
    in input pixels, and "scores" (B, N, classes). With ``nms`` the first output is "detections" (M, 7): image index,
    left, top, right, bottom in input pixels, score, class index; by image, then best first. With ``nms=False`` the
    outputs are those of the one-to-one branch. The file is opened and compared with PyTorch before it is put in place.

    Args:
        detector: is not changed.
        path: the file; for OpenVINO an ``.xml`` or a folder.
        format, imgsz, static, nms, opset, tolerance: as in `regard.config.ExportSettings`.
        settings: thresholds of the NMS.
        image: (H, W, 3) uint8 RGB to compare on; a synthetic scene if not given.

    Raises:
        RegardError: unknown format, a package is not installed, a layer cannot be exported, the file deviates from
            PyTorch (nothing is written then), or it cannot be written.
    """
    require_positive(imgsz=imgsz)
    runtime = runtime_to_write(path := Path(path), format)
    check_exportable(detector)
    runtime.require_packages(writing=True)
    detector = copy.deepcopy(detector if nms is None else detector.with_nms(nms)).cpu().float().eval()
    header = header_of(detector, imgsz, runtime, opset)
    header = header.model_copy(update={"nms": settings if nms else None, "static": static})
    target = runtime.main_file(path)
    is_again = is_there(target) or is_there(_lock(target))  # the lock of one that was killed
    with _scratch_beside(target) as scratch:
        made = scratch / target.name
        batches = _batches(detector, header, scene(0, "test", 0).read() if image is None else image)
        report = replace(_write_and_compare(detector, header, runtime, made, batches, tolerance), path=path)
        if not report.passed:
            raise _deviates(report, detector)
        if static and runtime.format == "onnx":
            warn_unless_read(made, header, detector, batches[0], tolerance)
        _put_in_place(scratch, target, is_again=is_again)
    return report


def _write_and_compare(
    detector: Detector,
    header: Header,
    runtime: Runtime,
    path: Path,
    batches: Sequence[NDArray[np.uint8]],
    tolerance: float,
) -> ExportReport:
    start = time.perf_counter()
    write(detector, header, runtime, path)
    found = deviations(detector, runtime, path, batches)
    size, seconds = sum(file.stat().st_size for file in path.parent.iterdir()), time.perf_counter() - start
    return ExportReport(path, runtime.format, header.opset, size, found, tolerance, seconds)


def write_cached(detector: Detector, made_from: str, runtime: Runtime, folder: Path) -> None:
    """Fill an entry of the cache: an export with raw levels, batch norms fused, compared with PyTorch; and its facts.

    Args:
        detector: is not changed.
        made_from: for the facts: the file with its weights.
        runtime: what it is exported for.
        folder: an empty folder.

    Raises:
        RegardError: a layer is known not to be exportable, or the result deviates from PyTorch.
        Exception: any exception of a converter for a layer that it cannot handle.
    """
    check_exportable(detector)
    detector = copy.deepcopy(detector).cpu().float().eval()
    stride = detector.max_stride
    _, raw = detector.head.raw_export() or (None, None)
    header = header_of(detector, COMPILED_STRIDES * stride, runtime).model_copy(update={"raw": raw})
    file = model_file(folder, runtime)
    runtime.write(fuse(detector), header, file)
    height, width = (n * stride for n in COMPARED_STRIDES)
    (found,) = deviations(detector, runtime, file, [example_images(scene(0, "test", 0).read(), 3, height, width)])
    if not found.within(DEFAULT.tolerance):
        raise RegardError(f"the compiled model deviates from PyTorch by {found.worst:.1g}")
    entry = Entry(
        made_from=made_from,
        digests={made.name: file_digest(made) for made in folder.iterdir()},
        relative_deviation=found.relative,
        imgsz=COMPILED_STRIDES * stride,
        mixing_flops=sum(row.mixing_flops for row in row_costs(detector, COMPILED_STRIDES * stride)),
    )
    write_file(folder / FACTS, entry.model_dump_json())


def header_of(detector: Detector, imgsz: int, runtime: Runtime, opset: int = DEFAULT.opset) -> Header:
    """Make the header of a file without NMS inside, for a runtime."""
    stride = detector.max_stride
    return Header(
        regard_version=__version__,
        names=detector.names,
        imgsz=math.ceil(imgsz / stride) * stride,
        max_stride=stride,
        strides=detector.strides,
        graph=detector.spec.to_yaml(),
        one_to_one=detector.one_to_one,
        whole_pixels=detector.whole_pixels,
        opset=opset if runtime.uses_onnx else None,
    )


def write(detector: Detector, header: Header, runtime: Runtime, path: Path) -> None:
    """Write a detector to a file, with errors that a user can act on.

    Args:
        detector: in evaluation mode, on the CPU, in float32.
        header: metadata of the file, which also determines whether NMS is included.
        runtime: whose format it is.
        path: the main file.

    Raises:
        RegardError: the converter cannot handle the detector, and the layer is named where one of the user's own is
            at fault; or the opset is not available.
        OSError: the file cannot be written.
    """
    try:
        runtime.write(detector, header, path)
    except Exception as error:  # a converter raises any exception for a layer that it cannot handle
        if isinstance(error, RegardError):
            raise
        if cause := passing_cause(error):
            raise cause from None
        raise diagnose(detector, header, runtime, error) from error


def deviations(
    detector: Detector, runtime: Runtime, path: Path, batches: Sequence[NDArray[np.uint8]]
) -> tuple[Deviation, ...]:
    """Open a file that was just written and compare it with its detector on batches (B, 3, H, W).

    Raises:
        RegardError: the file does not run.
    """
    try:
        opened = runtime.open(path, SessionOptions(trust=True))
        return tuple(compare(detector, opened, images) for images in batches)
    except Exception as error:  # runtimes raise different exceptions if a graph does not fit the input
        if cause := passing_cause(error):
            raise cause from None
        raise RegardError(f"the exported graph does not run: {reason(error)}", hint=_suspects(detector)) from error


@contextmanager
def _scratch_beside(target: Path) -> Iterator[Path]:
    """Make a folder on the same file system, so that what is written in it can be renamed; removed afterwards."""
    try:
        make_folder(target.parent)
        with scratch_folder(target.parent) as scratch:
            yield scratch
    except OSError as error:
        raise RegardError(f"cannot write the file: {error.strerror or error}", file=target) from error


def _batches(detector: Detector, header: Header, image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """One image at the export size, and, if sizes vary, three of half that height and a stride more than that width."""
    stride, side = detector.max_stride, header.imgsz
    if header.static:
        return [example_images(image, 1, side, side)]
    half = math.ceil(side / (2 * stride)) * stride
    return [example_images(image, 1, side, side), example_images(image, 3, half, half + stride)]


def _deviates(report: ExportReport, detector: Detector) -> RegardError:
    worst = max(report.deviations, key=lambda d: d.worst)
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
    own = user_layers(detector)
    if not own:
        return None
    named = ", ".join(f"{name!r} ({module})" for name, module in own.items())
    return f"look at your own layers first: {named}; a size or a choice may have become a constant"


def _lock(target: Path) -> Path:
    return target.with_name(f"{PREFIX}{sha256(os.fsencode(target.name)).hexdigest()[:16]}{LOCK_SUFFIX}")


def _put_in_place(scratch: Path, target: Path, *, is_again: bool) -> None:
    """Move the files, the main one last; that of an earlier export goes first, so that it never has others' weights."""
    files = sorted(scratch.iterdir(), key=lambda file: file.name == target.name)
    if not is_again:
        for file in files[:-1]:
            reject_other(target.with_name(file.name), hint="name another output")
    with exclusive(_lock(target), seconds=60) if len(files) > 1 else nullcontext():
        if len(files) > 1:
            target.unlink(missing_ok=True)
        try:
            for file in files:
                os.replace(file, target.with_name(file.name))
        except BaseException:
            for file in [] if is_there(target) else files[:-1]:  # of no graph any more
                target.with_name(file.name).unlink(missing_ok=True)
            raise
