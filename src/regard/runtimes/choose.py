"""Where a detector runs: the one rule, and what happens where the fast way is not available.

On a processor, weights from a file run in ONNX Runtime, or in OpenVINO where only that is installed; in bfloat16, where
the user's own labelled images allow it, always in OpenVINO. Everything else runs in PyTorch: other devices, graphs
without weights, the users' own layers (their code may change without the file changing), and models that cannot be
compiled. docs/speed.md has the measurements behind this.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from regard.config import ModelSettings
from regard.errors import RegardError, nearest, one_of, warn
from regard.runtimes.base import Runtime, Session, SessionOptions, available_threads, reason
from regard.runtimes.cache import (
    COMPILED,
    Entry,
    UnusableEntryError,
    bound,
    compiled_files,
    drop,
    key_of,
    look_up,
    model_file,
    record_failure,
    store,
)
from regard.runtimes.table import RUNTIMES, runtime_to_open
from regard.system.device import has_cuda_device
from regard.system.files import is_there, write_file
from regard.system.last_resort import passing_cause
from regard.weights.hub import is_hub
from regard.weights.paths import SUFFIXES, missing_file, weights_of

if TYPE_CHECKING:
    from torch import nn

    from regard.types import Predictor

LOGGER = logging.getLogger(__name__)

DEFAULT = ModelSettings()

AUTOMATIC = ("onnxruntime", "openvino")
"""What "auto" takes on a processor: the first of these that is installed."""
PRECISIONS = ("float32", "auto")

BACKEND_VARIABLE = "REGARD_BACKEND"
"""What "auto" means, where it is set."""
MAX_MIXING_FLOPS = 4e9
"""Of attention over pairs of positions: above it the runtimes, which write all pairs out, fall behind PyTorch."""
MAX_STREAMS = 4
"""Number of images that are processed in parallel at most: each holds its feature maps in memory."""


def open_predictor(
    model: str | Path,
    *,
    device: str = DEFAULT.device,
    backend: str = DEFAULT.backend,
    precision: str = DEFAULT.precision,
    calibration: str | None = None,
    imgsz: int | tuple[int, int] = DEFAULT.imgsz,
    modules: Mapping[str, type[nn.Module]] | None = None,
    trust: bool = DEFAULT.trust,
    nms: bool | None = DEFAULT.nms,
    parallel: bool = False,
) -> Predictor:
    """Open a model in the fastest way that gives the same detections.

    Args:
        model: a name or a file: weights, a run folder, an export, or a graph.
        device, backend, precision, calibration, trust, nms: as in `regard.config.ModelSettings`.
        imgsz: size of the input at which precisions are compared.
        modules: the users' own layers, by name.
        parallel: whether to share the processor among several images at a time, where the runtime can.

    Raises:
        RegardError: an unknown choice, a package that is not installed, or a model that cannot be loaded.

    Example:
        >>> predictor = open_predictor("odd-one-out", backend="torch", device="cpu")
        >>> predictor.max_stride, predictor.names
        (16, {0: 'class0', 1: 'class1'})
    """
    backend = os.environ.get(BACKEND_VARIABLE, "auto") if backend == "auto" else backend
    _require_one_of("backend", backend, ("auto", *RUNTIMES))
    _require_one_of("precision", precision, PRECISIONS)
    threads, side = available_threads(), imgsz if isinstance(imgsz, int) else max(imgsz)
    streams = min(threads, MAX_STREAMS) if parallel else 1
    options = SessionOptions(threads=threads, streams=streams, device=device, modules=modules or {})
    options = replace(options, trust=trust, nms=nms)
    if exported := runtime_to_open(path := Path(model)):
        return _open_exported(exported, path, options)
    weights, runtime = weights_of(path), _chosen(backend)
    if weights is not None and runtime is not None and _on_processor(device) and not modules:
        limit = MAX_MIXING_FLOPS if backend == "auto" else math.inf
        measured_on = _calibration(precision, calibration)
        try:
            return _open_compiled(weights, runtime, replace(options, device="cpu"), side, limit, measured_on)
        except UnusableEntryError as error:
            warn(f"{weights.name} runs in PyTorch: {error}")
    if precision == "auto" and calibration:
        warn("PyTorch is used, which computes in float32")
    return RUNTIMES["torch"].open(path, options)


def check_model(model: object) -> None:
    """Check that there is such a model, before the data are read for which it is opened.

    Raises:
        RegardError: it is a name or a file that is not there.
    """
    if not isinstance(model, str | Path) or is_hub(model) or is_there(path := Path(model)) or runtime_to_open(path):
        return
    if path.suffix.lower() in SUFFIXES:
        raise missing_file(path)
    from regard.graph.read import read_spec  # needs torch

    read_spec(model)


def _calibration(precision: str, calibration: str | None) -> str | None:
    """The data set on which the precision is decided; None where it is given, or nothing is named to decide it on."""
    if precision == "auto" and calibration is None:
        warn("--precision auto means float32 without --calibration DATA")
    return calibration if precision == "auto" else None


def _on_processor(device: str) -> bool:
    return device == "cpu" or (device == "auto" and not has_cuda_device())


def _require_one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RegardError(f"unknown {what} {value!r}", expected=one_of(known), hint=nearest(value, known))


def _chosen(backend: str) -> Runtime | None:
    """Runtime that was asked for, or the first of `AUTOMATIC` that is installed; None for PyTorch.

    Raises:
        RegardError: the one that was asked for is not installed.
    """
    if backend == "torch":
        return None
    for name in AUTOMATIC if backend == "auto" else (backend,):
        if RUNTIMES[name].is_installed(writing=True):
            return RUNTIMES[name]
    if backend == "auto":
        return None
    raise RegardError(f"the backend {backend} is not installed", hint='run: pip install "regard[fast]"')


def _open_exported(runtime: Runtime, path: Path, options: SessionOptions) -> Predictor:
    runtime.require_packages()
    file = runtime.found_file(path)
    if not file.is_file():
        raise missing_file(file)
    opened = runtime.open(file, options)
    return opened.with_nms(options.nms) if options.nms is not None and isinstance(opened, Session) else opened


def _open_compiled(
    weights: Path,
    runtime: Runtime,
    options: SessionOptions,
    imgsz: int,
    max_mixing_flops: float,
    calibration: str | None,
) -> Predictor:
    """Open the compiled model of a weights file, which is made first where it does not exist.

    Args:
        weights: the file.
        runtime: in which it is to run in float32.
        options: how to open it.
        imgsz: size of the input.
        max_mixing_flops: above it the model is not run in the runtime.
        calibration: labelled images that decide whether it runs in bfloat16 instead; None for float32.

    Raises:
        UnusableEntryError: that does not work, and why.
    """
    folder, entry = _entry(weights, runtime, options.nms)
    if entry.mixing_flops_at(imgsz) > max_mixing_flops:
        name = runtime.name
        raise UnusableEntryError(f"{name} would write out its attention's scores of all pairs at {imgsz} pixels")
    if calibration and (lower := _lower_precision()):
        from regard.runtimes.calibrate import calibrate, calibration_file, load_calibration

        lower_folder, lower_options = _entry(weights, lower, options.nms)[0], replace(options, bfloat16=True)
        file = calibration_file(lower_folder, calibration, imgsz)
        measured = load_calibration(file)
        if measured is None:
            both = (_open_entry(folder, runtime, options), _open_entry(lower_folder, lower, lower_options))
            measured = calibrate(*both, calibration, imgsz)
            with suppress(OSError, RegardError):  # a read-only cache works too
                write_file(file, measured.model_dump_json())
            LOGGER.info("%s", measured)
        if measured.allows_lower:
            return _open_entry(lower_folder, lower, lower_options)
    return _open_entry(folder, runtime, options)


def _lower_precision() -> Runtime | None:
    """Runtime that computes in bfloat16 on this processor."""
    for runtime in RUNTIMES.values():
        if runtime.has_bfloat16() and runtime.is_installed(writing=True):
            return runtime
    warn("bfloat16 needs OpenVINO and a processor that has it: float32 is used")
    return None


def _open_entry(folder: Path, runtime: Runtime, options: SessionOptions) -> Predictor:
    """Open an entry of the cache, and keep what the runtime compiles in it within bounds.

    Raises:
        UnusableEntryError: the runtime cannot run it; the entry is removed then.
    """
    before = compiled_files(folder)
    try:
        opened = runtime.open(model_file(folder, runtime), replace(options, compiled=folder / COMPILED, trust=False))
    except Exception as error:  # the runtimes' errors have no common base
        drop(folder.name)
        raise UnusableEntryError(f"{runtime.name} cannot run it: {reason(error)}") from error
    if compiled_files(folder) != before:
        bound(folder)
    return opened


def _entry(weights: Path, runtime: Runtime, nms: bool | None) -> tuple[Path, Entry]:
    """Find an entry of the cache, or make it.

    Raises:
        UnusableEntryError: the detector cannot be compiled, or the cache not be used.
        RegardError: the weights cannot be read.
    """
    try:
        key = key_of(weights, runtime, one_to_one=nms is False)
        found = look_up(key) or _compile(weights, key, runtime, nms)
    except OSError as error:
        raise UnusableEntryError(f"the cache cannot be used ({error.strerror or error})") from error
    if found is None:
        raise UnusableEntryError("the entry in the cache is gone")
    return found


def _compile(weights: Path, key: str, runtime: Runtime, nms: bool | None) -> tuple[Path, Entry] | None:
    from regard.runtimes.export import write_cached
    from regard.weights.detector import load_detector

    detector = load_detector(weights)
    detector = detector if nms is None else detector.with_nms(nms)
    LOGGER.info("compiling %s for %s: once, later runs find it in the cache", weights, runtime.name)
    try:
        store(key, lambda folder: write_cached(detector, str(weights), runtime, folder))
    except OSError:
        raise
    except Exception as error:  # a converter raises any exception for a layer that it cannot handle
        if not passing_cause(error) and not isinstance(error, ImportError):
            record_failure(key, reason(error))
        raise UnusableEntryError(reason(error)) from error
    return look_up(key)
