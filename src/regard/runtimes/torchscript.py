"""TorchScript, which runs with PyTorch's C++ library and without Python."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipFile

from numpy.typing import NDArray

from regard.runtimes.base import Float32, Runtime, Session, SessionOptions, damaged
from regard.runtimes.header import METADATA_KEY, Header, parse_header
from regard.runtimes.programs import read_program, record
from regard.weights.archive import ZIP_ERRORS

if TYPE_CHECKING:
    from torch import nn

    from regard.graph.detector import Detector


MOST_HEADER = 16 * 2**20
"""Largest header that is read, in bytes."""


class TorchScript(Runtime):
    """``.torchscript`` files, on the processor. Opening one runs it: see `regard.runtimes.programs`."""

    name, format, suffixes = "torchscript", "torchscript", (".torchscript", ".pt")

    def write(self, detector: Detector, header: Header, path: Path) -> None:
        """See `Runtime.write`."""
        import torch

        from regard.runtimes.convert import TRACED_STRIDES, example, exported, quiet, to_torchscript

        traced = to_torchscript(exported(detector, header), (example(header, TRACED_STRIDES),))
        content = io.BytesIO()  # torch ends the process where it writes to a full disk itself
        with quiet():
            torch.jit.save(traced, content, _extra_files={METADATA_KEY: header.model_dump_json()})
        path.write_bytes(content.getbuffer())
        record(content.getvalue(), path)

    def check_layer(self, layer: nn.Module, inputs: tuple[Any, ...], opset: int | None) -> None:  # noqa: ARG002
        """See `Runtime.check_layer`."""
        from regard.runtimes.convert import to_torchscript

        to_torchscript(layer, inputs)

    def open(self, path: Path, options: SessionOptions) -> Session:
        """See `Runtime.open`."""
        import torch

        from regard.runtimes.convert import quiet

        header = parse_header(_header(path), path)
        program = io.BytesIO(read_program(path, "TorchScript", trust=options.trust))
        try:
            with quiet():
                module = torch.jit.load(program, map_location="cpu")  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            raise damaged(path, "TorchScript", error) from error

        def run(images: NDArray[Any], outputs: Sequence[str]) -> list[Float32]:
            with torch.no_grad():
                results = dict(zip(header.outputs, module(torch.from_numpy(images)), strict=True))
            return [results[name].numpy() for name in outputs]

        return Session(header, run, path)


def _header(path: Path) -> str | None:
    """Read the header from the archive, where nothing runs; None if there is none.

    Raises:
        RegardError: the file is damaged.
    """
    try:
        with ZipFile(path) as archive:
            entry = next((i for i in archive.infolist() if i.filename.endswith(f"/extra/{METADATA_KEY}")), None)
            if entry is None:
                return None
            if entry.compress_type != ZIP_STORED or entry.file_size > MOST_HEADER:
                raise ValueError("its header is compressed, or too large")
            return archive.read(entry).decode(errors="replace")
    except ZIP_ERRORS as error:
        raise damaged(path, "TorchScript", error) from error
