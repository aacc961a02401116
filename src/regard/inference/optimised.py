"""What ONNX Runtime makes of a graph before it runs, kept in the cache: a third of opening a model.

An optimised graph suits one processor and one version of the runtime. The name of its file tells them, and the hash of
its content, so that a damaged one is seen; it is then made anew from the model itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from regard.inference.cache import MODEL, ORT_FORMS, digest_of


def open_session(folder: Path, threads: int) -> Any:
    """Return the ``onnxruntime.InferenceSession`` of an entry of the cache, on the processor.

    Args:
        folder: the entry; where it can be written, the optimised graph is kept there.
        threads: how many to compute with.
    """
    import onnxruntime

    prefix = _prefix(onnxruntime.__version__)
    for file in (folder / ORT_FORMS).glob(f"{prefix}-*.onnx"):
        if file.stem == f"{prefix}-{digest_of(file)}":
            with suppress(Exception):  # onnxruntime's errors have no common base; the model itself is still there
                return _session(file, threads, optimised=True)
        with suppress(OSError):
            file.unlink()
    if os.access(folder, os.W_OK):
        with suppress(Exception):  # such as a full disk
            return _keeping(folder, prefix, threads)
    return _session(folder / MODEL, threads)


def _keeping(folder: Path, prefix: str, threads: int) -> Any:
    (folder / ORT_FORMS).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as scratch:
        made = Path(scratch) / MODEL
        session = _session(folder / MODEL, threads, keep=made)
        made.replace(folder / ORT_FORMS / f"{prefix}-{digest_of(made)}.onnx")
    return session


def _session(model: Path, threads: int, *, optimised: bool = False, keep: Path | None = None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; warnings tell which nodes it placed where, and that a graph is kept
    if optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if keep:
        options.optimized_model_filepath = os.fspath(keep)
    return onnxruntime.InferenceSession(os.fspath(model), options, providers=["CPUExecutionProvider"])


def _prefix(version: str) -> str:
    return hashlib.sha256(json.dumps([version, _processor()]).encode()).hexdigest()[:16]


def _processor() -> list[str]:
    """Return what tells processors with other instructions apart."""
    told = [platform.machine(), platform.processor()]
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.strip():  # one processor is enough
                break
            if line.startswith(("model name", "flags", "Features", "CPU part")):
                told.append(line.strip())
    return told
