"""OpenVINO, in float32, or in bfloat16 where the processor has it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from regard.errors import RegardError
from regard.runtimes.base import INPUT, Float32, Run, Session, SessionOptions, damaged
from regard.runtimes.foreign import foreign_session, metadata_of_folder
from regard.runtimes.header import METADATA_KEY, Header, parse_header
from regard.runtimes.onnxruntime import OnnxRuntime
from regard.runtimes.outputs import Port, Shape, check_ports
from regard.system.files import is_file, is_there
from regard.system.home import import_openvino
from regard.system.xml import read_xml

if TYPE_CHECKING:
    from regard.graph.detector import Detector

TYPES = {"f32": "float32", "f16": "float16", "u8": "uint8"}

ENDLESS = ("loop", "tensoriterator")
"""Operators that may never end, which regard never writes; OpenVINO reads their names in any case."""

FILE = "detector.xml"
"""Name of the graph if the path is a folder; the weights are next to it as ``.bin``."""


@cache
def openvino_core() -> Any:
    """The ``openvino.Core`` of this process, made on the first call and never destroyed.

    Each core that is made gives its thread an alternate stack for signals, and restores the one before when it goes
    (OpenVINO 2026.4). Where an earlier core has gone first that stack no longer exists, and the next signal, such as
    that of a child that ends, kills the process without a message.
    """
    return import_openvino().Core()


class OpenVINO(OnnxRuntime):
    """An ``.xml`` with a ``.bin`` next to it, converted by way of ONNX."""

    name, format, suffixes, packages = "openvino", "openvino", (".xml",), ("openvino",)

    def write(self, detector: Detector, header: Header, path: Path) -> None:
        """See `Runtime.write`."""
        onnx = path.with_suffix(".onnx")
        super().write(detector, header, onnx)
        model = openvino_core().read_model(onnx)
        model.set_rt_info(header.model_dump_json(), METADATA_KEY)
        try:
            import_openvino().save_model(model, path, compress_to_fp16=False)
        except RuntimeError as error:  # all that it says is "iostream error"
            raise OSError(errno.EIO, "OpenVINO could not write it; is the disk full?", os.fspath(path)) from error
        onnx.unlink()

    def open(self, path: Path, options: SessionOptions) -> Session:
        """See `Runtime.open`."""
        config: dict[str, Any] = {
            # Left to itself OpenVINO computes in bfloat16 where the processor can, and boxes are off by pixels.
            "INFERENCE_PRECISION_HINT": "bf16" if options.bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": options.threads,
            "NUM_STREAMS": options.streams,
        }
        if options.compiled and os.access(options.compiled.parent, os.W_OK):
            config["CACHE_DIR"] = os.fspath(options.compiled)
        weights = path.with_suffix(".bin")
        if is_there(weights) and not is_file(weights):
            raise RegardError("is not a regular file", file=weights, expected="the weights of the model")
        try:
            # Reading the model for its ``rt_info`` would take half as long again as opening a compiled one.
            # It must be XML: OpenVINO would try other formats, and print what it finds.
            root = read_xml(path, plain=True)
            if any(element.get("type", "").lower() in ENDLESS for element in root.iter()):
                raise RegardError("the program has a loop, which may never end", file=path)
            document = root.find(f".//{METADATA_KEY}")
            compiled = openvino_core().compile_model(path, "CPU", config)
            inputs, outputs = _ports(compiled.inputs), _ports(compiled.outputs)
        except RuntimeError as error:
            raise damaged(path, "OpenVINO", error) from error
        stated = {} if document is not None else metadata_of_folder(path)
        if foreign := foreign_session(stated, inputs, outputs, _run_first(compiled), path):
            return foreign
        header = parse_header(None if document is None else document.get("value"), path)
        check_ports(header, inputs, outputs, path)
        return Session(header, _run(compiled), path, streams=options.streams)

    def has_bfloat16(self) -> bool:
        """See `Runtime.has_bfloat16`."""
        return self.is_installed() and "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")

    def main_file(self, path: Path) -> Path:
        """See `Runtime.main_file`; a path without the suffix is a folder."""
        return path if path.suffix == ".xml" else path / FILE

    def found_file(self, path: Path) -> Path:
        """See `Runtime.found_file`; in a folder of another package the only graph that is there."""
        main = self.main_file(path)
        if main == path or main.is_file() or not path.is_dir():
            return main
        graphs = sorted(path.glob("*.xml"))
        return graphs[0] if len(graphs) == 1 else main

    def default_path(self, stem: Path) -> Path:
        """See `Runtime.default_path`: a folder."""
        return stem.with_name(f"{stem.name}_openvino")


def _ports(ports: Iterable[Any]) -> dict[str, Port]:
    named = {port.get_any_name() if port.get_names() else f"unnamed{i}": port for i, port in enumerate(ports)}
    return {name: Port(_type_of(port), _shape_of(port)) for name, port in named.items()}


def _type_of(port: Any) -> str:
    name: str = port.get_element_type().get_type_name()
    return TYPES.get(name, name)


def _shape_of(port: Any) -> Shape | None:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return None
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)


def _run_first(compiled: Any) -> Run:
    """Call a compiled model of one input and one output, which may have no names."""
    request = compiled.create_infer_request()

    def run(images: NDArray[Any], outputs: Sequence[str]) -> list[Float32]:  # noqa: ARG001 - see `Run`
        request.infer([images])
        return [request.get_output_tensor(0).data]

    return run


def _run(compiled: Any) -> Run:
    """Call a compiled model by an inference request per thread."""
    own = threading.local()

    def run(images: NDArray[Any], outputs: Sequence[str]) -> list[Float32]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        own.request.infer({INPUT: images}, share_inputs=True)
        # Views, which are read before the same thread asks for the next images.
        return [own.request.get_tensor(name).data for name in outputs]

    return run
