"""``torch.export``: PyTorch's own file of a graph, which runs without the classes that the model was made of."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from regard.runtimes.base import Float32, Runtime, Session, SessionOptions, damaged
from regard.runtimes.header import METADATA_KEY, Header, parse_header
from regard.runtimes.programs import read_program, record

if TYPE_CHECKING:
    from regard.graph.detector import Detector


class ExportedProgram(Runtime):
    """``.pt2`` files, on the processor."""

    name, format, suffixes = "torch-export", "pt2", (".pt2",)

    def write(self, detector: Detector, header: Header, path: Path) -> None:
        """See `Runtime.write`."""
        import torch

        from regard.runtimes.convert import EXPORTED_STRIDES, example, exported, image_shapes
        from regard.runtimes.with_nms import select_boxes_operator

        module = exported(detector, header, select_boxes_operator)
        images, shapes = example(header, EXPORTED_STRIDES), image_shapes(header.max_stride)
        program = torch.export.export(module, (images,), dynamic_shapes=shapes)
        torch.export.save(program, path, extra_files={METADATA_KEY: header.model_dump_json()})
        record(path.read_bytes(), path)

    def open(self, path: Path, options: SessionOptions) -> Session:
        """See `Runtime.open`."""
        import torch

        import regard.runtimes.with_nms  # noqa: F401 - the operator that a program may call

        extra: dict[str, Any] = {METADATA_KEY: ""}
        content = io.BytesIO(read_program(path, "torch.export", trust=options.trust))
        try:
            module = torch.export.load(content, extra_files=extra).module()
        except Exception as error:  # it raises no error itself
            raise damaged(path, "torch.export", error) from error
        header = parse_header(extra[METADATA_KEY], path)

        def run(images: NDArray[Any], outputs: Sequence[str]) -> list[Float32]:
            with torch.no_grad():
                results = dict(zip(header.outputs, module(torch.from_numpy(images)), strict=True))
            return [results[name].numpy() for name in outputs]

        return Session(header, run, path)
