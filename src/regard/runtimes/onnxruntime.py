"""ONNX Runtime. What it makes of a graph before it runs may be kept next to it: a third of the time to open a model.

An optimised graph suits one processor and one version of the runtime. The name of its file contains a hash of both,
and the hash of its content, so that a damaged one is detected; it is then made again from the model itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from regard.runtimes.base import INPUT, Float32, Runtime, Session, SessionOptions, damaged, file_digest
from regard.runtimes.foreign import foreign_session
from regard.runtimes.header import METADATA_KEY, Header, parse_header
from regard.runtimes.onnx_loops import reject_loops
from regard.runtimes.outputs import Port, check_ports
from regard.system.home import import_onnxruntime
from regard.system.scratch import scratch_folder

if TYPE_CHECKING:
    from torch import nn

    from regard.graph.detector import Detector

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class OnnxRuntime(Runtime):
    """``.onnx`` files, on the processor, or on CUDA where ``onnxruntime-gpu`` is installed."""

    name, format, suffixes = "onnxruntime", "onnx", (".onnx",)
    converters, packages = ("onnx", "onnxscript"), ("onnxruntime",)
    uses_onnx = True

    def write(self, detector: Detector, header: Header, path: Path) -> None:
        """See `Runtime.write`."""
        from regard.runtimes.convert import write_onnx

        write_onnx(detector, header, path)

    def check_layer(self, layer: nn.Module, inputs: tuple[Any, ...], opset: int | None) -> None:
        """See `Runtime.check_layer`."""
        from regard.runtimes.convert import map_shapes, to_onnx

        assert opset is not None
        to_onnx(layer, inputs, map_shapes(inputs), opset=opset)

    def open(self, path: Path, options: SessionOptions) -> Session:
        """See `Runtime.open`."""
        if not options.compiled:
            reject_loops(path)
        try:
            session = _open_kept(path, options) if options.compiled else _session(path, options)
            metadata = session.get_modelmeta().custom_metadata_map
            inputs, outputs = (_ports(ports) for ports in (session.get_inputs(), session.get_outputs()))
        except Exception as error:  # onnxruntime's errors have no common base
            raise damaged(path, "ONNX", error) from error
        given = next(iter(inputs), INPUT)

        def run(images: NDArray[Any], names: Sequence[str]) -> list[Float32]:
            found: list[Float32] = session.run(list(names), {given: images})
            return found

        stated = {} if METADATA_KEY in metadata else metadata
        if foreign := foreign_session(stated, inputs, outputs, run, path, streams=options.streams):
            return foreign
        header = parse_header(metadata.get(METADATA_KEY), path)
        check_ports(header, inputs, outputs, path)
        return Session(header, run, path, streams=options.streams)


def _ports(ports: Iterable[Any]) -> dict[str, Port]:
    """What onnxruntime knows of inputs or outputs; it describes a number as it does an unknown shape."""
    return {
        port.name: Port(
            TYPES.get(port.type, port.type),
            tuple(size if isinstance(size, int) else None for size in port.shape) if port.shape else None,
        )
        for port in ports
    }


def _session(path: Path, options: SessionOptions, *, optimised: bool = False, keep: Path | None = None) -> Any:
    onnxruntime = import_onnxruntime()
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = max(options.threads // options.streams, 1)
    chosen.log_severity_level = 4  # nothing: errors are raised, and text from the file would reach the terminal raw
    if optimised:
        chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if keep:
        chosen.optimized_model_filepath = os.fspath(keep)
    wanted = ["CPUExecutionProvider"] if options.device == "cpu" else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    return onnxruntime.InferenceSession(os.fspath(path), chosen, providers=providers)


def _open_kept(path: Path, options: SessionOptions) -> Any:
    """Open the optimised graph in ``options.compiled``, which is made first where it can be; else the model itself."""
    folder = options.compiled
    assert folder is not None
    prefix = _prefix()
    for file in folder.glob(f"{prefix}-*.onnx"):
        if file.stem == f"{prefix}-{file_digest(file)}":
            with suppress(Exception):  # the model itself is still there
                return _session(file, options, optimised=True)
        with suppress(OSError):
            file.unlink()
    with suppress(Exception):  # such as a full disk
        folder.mkdir(exist_ok=True)
        with scratch_folder(folder) as scratch:
            made = scratch / path.name
            session = _session(path, options, keep=made)
            made.replace(folder / f"{prefix}-{file_digest(made)}.onnx")
        return session
    return _session(path, options)


def _prefix() -> str:
    return hashlib.sha256(json.dumps([import_onnxruntime().__version__, _processor()]).encode()).hexdigest()[:16]


def _processor() -> list[str]:
    """Key that distinguishes processors with different instructions."""
    found = [platform.machine(), platform.processor()]
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.strip():  # one processor is enough
                break
            if line.startswith(("model name", "flags", "Features", "CPU part")):
                found.append(line.strip())
    return found
