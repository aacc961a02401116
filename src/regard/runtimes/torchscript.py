"""TorchScript, which runs with PyTorch's C++ library and without Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from regard.runtimes.base import Float32, Runtime, Session, SessionOptions, damaged
from regard.runtimes.header import METADATA_KEY, Header, parse_header

if TYPE_CHECKING:
    from torch import nn

    from regard.graph.detector import Detector


class TorchScript(Runtime):
    """``.torchscript`` files, on the processor."""

    name, format, suffixes = "torchscript", "torchscript", (".torchscript", ".pt")

    def write(self, detector: Detector, header: Header, path: Path) -> None:
        """See `Runtime.write`."""
        import torch

        from regard.runtimes.convert import TRACED_STRIDES, example, exported, quiet, to_torchscript

        traced = to_torchscript(exported(detector, header), (example(header, TRACED_STRIDES),))
        with quiet():
            torch.jit.save(traced, path, _extra_files={METADATA_KEY: header.model_dump_json()})

    def check_layer(self, layer: nn.Module, inputs: tuple[Any, ...], opset: int | None) -> None:  # noqa: ARG002
        """See `Runtime.check_layer`."""
        from regard.runtimes.convert import to_torchscript

        to_torchscript(layer, inputs)

    def open(self, path: Path, options: SessionOptions) -> Session:  # noqa: ARG002 - PyTorch has its own threads
        """See `Runtime.open`."""
        import torch

        from regard.runtimes.convert import quiet

        extra: dict[str, str | bytes] = {METADATA_KEY: ""}
        try:
            with quiet():
                module = torch.jit.load(path, map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            raise damaged(path, "TorchScript", error) from error
        content = extra[METADATA_KEY]
        header = parse_header(content.decode(errors="replace") if isinstance(content, bytes) else content, path)

        def run(images: NDArray[Any], outputs: Sequence[str]) -> list[Float32]:
            with torch.no_grad():
                results = dict(zip(header.outputs, module(torch.from_numpy(images)), strict=True))
            return [results[name].numpy() for name in outputs]

        return Session(header, run)
