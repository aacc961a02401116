"""Which way a detector is run: the one rule, and what happens where the quick way is not open.

On a processor, weights from a file run in ONNX Runtime, or in OpenVINO where only that is installed; in bfloat16, where
the user's own labelled images allow it, always in OpenVINO. All else runs in PyTorch: other devices, graphs without
weights, the users' own layers (their code may change without the file changing), and whatever cannot be prepared.
docs/speed.md has the measurements behind this.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import warnings
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from regard.config import ModelSettings
from regard.errors import RegardError, RegardWarning, nearest
from regard.inference.cache import (
    PreparedHeader,
    UnusableEntryError,
    bound,
    compiled_forms,
    drop,
    key_of,
    look_up,
    refuse,
    store,
)
from regard.inference.calibrate import calibrate, calibration_file, load_calibration
from regard.inference.prepared import PreparedFinder, Run, has_bfloat16, open_onnxruntime, open_openvino
from regard.weights.paths import weights_of

if TYPE_CHECKING:
    from torch import nn

    from regard.backend import Backend
    from regard.config import DetectSettings
    from regard.finder import Finder

BACKENDS = ("auto", "torch", "onnxruntime", "openvino")
PRECISIONS = ("float32", "auto")
DEFAULT = ModelSettings()
Runtime: TypeAlias = Literal["onnxruntime", "openvino"]

BACKEND_VARIABLE = "REGARD_BACKEND"
"""What "auto" means, where it is set."""
MOST_MIXING_FLOPS = 4e9
"""Of attention over pairs of positions: above it the runtimes, which write all pairs out, fall behind PyTorch."""
CONVERTERS = ("onnx", "onnxscript")
CUDA_DRIVERS = ("libcuda.so.1", "nvcuda.dll")


def open_finder(
    model: str | Path,
    *,
    device: str = DEFAULT.device,
    backend: str = DEFAULT.backend,
    precision: str = DEFAULT.precision,
    calibration: str | None = None,
    imgsz: int = DEFAULT.imgsz,
    modules: Mapping[str, type[nn.Module]] | None = None,
) -> Backend | Finder:
    """Open whatever a user may name as a model, the quickest way that gives the same detections.

    Args:
        model: weights, a run folder, an export, or a graph.
        device: "auto", "cpu", "cuda", ...
        backend: "auto" chooses, or takes what ``REGARD_BACKEND`` says; "torch", "onnxruntime" or "openvino" for weights
            that run on the processor.
        precision: "float32", or "auto": lower where that costs at most 0.002 AP on the images of ``calibration``.
        calibration: a labelled data set; without one, "auto" means float32.
        imgsz: size of the input at which precisions are compared.
        modules: the users' own layers, by name.

    Raises:
        RegardError: an unknown choice, a package that is not installed, or a model that cannot be loaded.
    """
    backend = os.environ.get(BACKEND_VARIABLE, "auto") if backend == "auto" else backend
    _require_one_of("backend", backend, BACKENDS)
    _require_one_of("precision", precision, PRECISIONS)
    weights, runtime = weights_of(model), _runtime(backend)
    most = MOST_MIXING_FLOPS if backend == "auto" else math.inf
    on_processor = device == "cpu" or (device == "auto" and not _has_cuda_device())
    if weights is not None and runtime is not None and on_processor and not modules:
        try:
            return _open_prepared(weights, runtime, precision, calibration, imgsz, most)
        except UnusableEntryError as error:
            warnings.warn(f"{weights.name} runs in PyTorch: {error}", RegardWarning, stacklevel=2)
    from regard.inference.pytorch import open_with_torch

    if precision == "auto" and calibration:
        warnings.warn("PyTorch is used, which computes in float32", RegardWarning, stacklevel=2)
    return open_with_torch(model, modules, device)


def warn_of_suppression(finder: Backend | Finder, asked: DetectSettings) -> None:
    """Warn where an exported file has dropped boxes that are asked for; see `regard.exporting.warn_of_suppression`."""
    if not isinstance(finder, PreparedFinder):
        from regard.exporting import warn_of_suppression as warn

        warn(finder, asked)


def _require_one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RegardError(
            f"unknown {what} {value!r}", expected="one of " + ", ".join(known), hint=nearest(value, known)
        )


def _runtime(backend: str) -> Runtime | None:
    """Return the runtime that was asked for, or the first that is installed; None for PyTorch.

    Raises:
        RegardError: the one that was asked for is not installed.
    """
    if backend == "torch":
        return None
    choices: tuple[Runtime, ...] = ("onnxruntime", "openvino")
    for name in choices:
        if backend in (name, "auto") and all(find_spec(package) for package in (*CONVERTERS, name)):
            return name
    if backend == "auto":
        return None
    raise RegardError(f"the backend {backend} is not installed", hint='run: pip install "regard[fast]"')


def _has_cuda_device() -> bool:
    """Tell whether the CUDA driver sees a device, without importing torch; containers often have a driver and none."""
    for name in CUDA_DRIVERS:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    return False


def _open_prepared(
    weights: Path, runtime: Runtime, precision: str, calibration: str | None, imgsz: int, most_mixing_flops: float
) -> PreparedFinder:
    """Open the prepared detector, made first where it is not there.

    Raises:
        UnusableEntryError: that does not work, and why.
    """
    key = key_of(weights)
    try:
        folder, header = look_up(key) or _prepare(weights, key, runtime)
    except OSError as error:
        raise UnusableEntryError(f"the cache cannot be used ({error.strerror or error})") from error
    if header.mixing_flops_at(imgsz) > most_mixing_flops:
        raise UnusableEntryError(f"{runtime} would write out its attention's scores of all pairs at {imgsz} pixels")
    try:
        if precision == "auto" and _lower_is_allowed(folder, header, runtime, calibration, imgsz):
            return _open(folder, header, "openvino", lower=True)
        return _open(folder, header, runtime)
    except RegardError:
        raise
    except Exception as error:  # the runtimes' errors have no common base
        drop(key)
        raise UnusableEntryError(f"{runtime} cannot run it: {_first_line(error)}") from error


def _open(folder: Path, header: PreparedHeader, runtime: Runtime, *, lower: bool = False) -> PreparedFinder:
    open_with = open_onnxruntime if runtime == "onnxruntime" else partial(open_openvino, lower=lower)

    def open_run(streams: int) -> Run:
        before = compiled_forms(folder)
        run = open_with(folder, streams)
        if compiled_forms(folder) != before:
            bound(folder)
        return run

    return PreparedFinder(header, open_run(1), open_run)


def _prepare(weights: Path, key: str, runtime: Runtime) -> tuple[Path, PreparedHeader]:
    """Make an entry.

    Raises:
        OSError: the cache cannot be written.
        UnusableEntryError: the detector cannot be prepared.
        RegardError: the weights cannot be read.
    """
    from regard.inference.prepare import prepare
    from regard.weights.detector import load_detector

    detector = load_detector(weights)
    print(f"preparing {weights} for {runtime}: once, next time it is there", file=sys.stderr)
    try:
        store(key, lambda folder: prepare(detector, str(weights), runtime, folder))
    except OSError:
        raise
    except Exception as error:  # a converter raises whatever a layer made it stumble over
        refuse(key, _first_line(error))
        raise UnusableEntryError(_first_line(error)) from error
    found = look_up(key)
    if found is None:
        raise UnusableEntryError("the entry in the cache is gone")
    return found


def _lower_is_allowed(
    folder: Path, header: PreparedHeader, runtime: Runtime, calibration: str | None, imgsz: int
) -> bool:
    """Tell whether bfloat16 costs little enough on the user's images, measured now if it was not before."""
    if calibration is None:
        warnings.warn("--precision auto means float32 without --calibration DATA", RegardWarning, stacklevel=5)
        return False
    if not has_bfloat16():
        warnings.warn(
            "bfloat16 needs OpenVINO and a processor that has it: float32 is used", RegardWarning, stacklevel=5
        )
        return False
    file = calibration_file(folder, calibration, imgsz)
    measured = load_calibration(file)
    if measured is None:
        lower = _open(folder, header, "openvino", lower=True)
        measured = calibrate(_open(folder, header, runtime), lower, calibration, imgsz)
        file.write_text(measured.model_dump_json())
        print(measured, file=sys.stderr)
    return measured.allows_lower


def _first_line(error: Exception) -> str:
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]
