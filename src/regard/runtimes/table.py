"""All runtimes. A new runtime needs one row here and no other change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regard.errors import RegardError, nearest, one_of
from regard.runtimes.base import Runtime
from regard.runtimes.header import MARK
from regard.runtimes.onnxruntime import OnnxRuntime
from regard.runtimes.openvino import OpenVINO
from regard.runtimes.pytorch import PyTorch
from regard.runtimes.torchscript import TorchScript
from regard.system.files import reject_other
from regard.weights.paths import CHECKPOINTS, WEIGHTS

RUNTIMES: Mapping[str, Runtime] = {r.name: r for r in (PyTorch(), OnnxRuntime(), OpenVINO(), TorchScript())}
"""The runtimes by name."""


def formats() -> dict[str, Runtime]:
    """The runtimes by the format that they write."""
    return {runtime.format: runtime for runtime in RUNTIMES.values()}


def runtime_to_write(path: Path, format: str | None = None) -> Runtime:
    """Find the runtime of a format, or else that of the path's suffix; a folder means OpenVINO.

    Raises:
        RegardError: neither is known, or the suffix is that of another format.
    """
    by_suffix = {suffix: runtime for runtime in RUNTIMES.values() for suffix in runtime.suffixes}
    if format is not None:
        runtime, other = _runtime_of(format), by_suffix.get(path.suffix)
        if other and other is not runtime:
            what = f"the format is {format}, but {path.suffix!r} is the suffix of {other.format}"
            raise RegardError(what, file=path, expected=f"one of the two, such as {runtime.suffixes[0]!r}")
        return runtime
    if path.is_dir() or not path.suffix:
        return RUNTIMES["openvino"]
    if path.suffix not in by_suffix:
        raise RegardError(
            f"the suffix {path.suffix!r} belongs to no export format",
            file=path,
            expected=", ".join(by_suffix) + ", or a folder for OpenVINO",
            hint=nearest(path.suffix, by_suffix),
        )
    return by_suffix[path.suffix]


def _runtime_of(format: str) -> Runtime:
    if format not in formats():
        expected = one_of(formats())
        raise RegardError(f"unknown format {format!r}", expected=expected, hint=nearest(format, formats()))
    return formats()[format]


def default_path(model: Path, format: str) -> Path:
    """Where an export goes without a path: next to the weights, into a run's folder, or here for a model of the zoo.

    Raises:
        RegardError: what is there was not exported by this package.
    """
    stem = model / "best" if model.is_dir() else model.with_suffix("") if model.is_file() else Path(model.name)
    runtime = _runtime_of(format)
    path = runtime.default_path(stem)
    reject_other(runtime.main_file(path), mark=MARK, hint="give --output")
    return path


def runtime_to_open(path: Path) -> Runtime | None:
    """Find the runtime of an exported file; None for weights and graphs, which any runtime may run.

    A ``.pt``, which may be either, counts as weights.
    """
    if path.is_dir():
        return next((r for r in RUNTIMES.values() if (main := r.found_file(path)) != path and main.is_file()), None)
    if path.suffix in (WEIGHTS, *CHECKPOINTS):
        return None
    return next((r for r in RUNTIMES.values() if path.suffix in r.suffixes), None)
