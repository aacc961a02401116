"""The header inside every exported file: what its numbers mean, and where it came from."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from regard.config import DetectSettings, Settings
from regard.errors import RegardError
from regard.nn.raw_levels import RawDecoder

METADATA_KEY = "regard"
"""Name of the header in ONNX's ``metadata_props``, OpenVINO's ``rt_info`` and TorchScript's extra files."""

FORMAT_VERSION = 2
"""Version 1 had one output of decoded boxes, objectness and class probabilities."""


class Header(Settings):
    """What a program needs to know to use an exported file, and a person to know where it came from."""

    format_version: int = Field(default=FORMAT_VERSION, ge=1)
    regard_version: str
    names: dict[int, str] = Field(description="class id to name")
    imgsz: int = Field(ge=1, le=2**16, description="side of the exported input in pixels; others work too")
    max_stride: int = Field(ge=1, le=2**12, description="the sides of an input are multiples of this, in pixels")
    strides: tuple[int, ...] = Field(description="input pixels per cell of each level")
    graph: str = Field(description="the model graph as YAML, anchors included")
    nms: DetectSettings | None = Field(default=None, description="settings of the NMS inside; None without")
    raw: RawDecoder | None = Field(
        default=None,
        description="how to decode the raw levels that the file computes from 8-bit images; None where the file "
        "decodes them itself, from images in 0..1",
    )
    opset: int | None = Field(default=None, description="version of ONNX's operators; None where there are none")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        if self.raw:
            return tuple(f"level{i}" for i in range(len(self.strides)))
        return ("boxes", "scores") if self.nms is None else ("detections", "boxes", "scores")


def parse_header(document: str | None, path: Path) -> Header:
    """Read the header of an exported file.

    Raises:
        RegardError: there is none, so the meaning of the outputs is unknown; or it is damaged, or of another version.
    """
    if not document:
        raise RegardError(
            "the file has no description of its outputs: it was not exported by regard",
            file=path,
            expected="a file written by `regard export`",
        )
    try:
        version = _Version.model_validate_json(document).format_version
        header = Header.model_validate_json(document) if version == FORMAT_VERSION else None
    except ValidationError as error:
        raise RegardError(f"the header in the file is damaged ({error.errors()[0]['msg']})", file=path) from error
    if header is None:
        newer = version > FORMAT_VERSION
        raise RegardError(
            f"the file has format version {version}",
            file=path,
            expected=f"version {FORMAT_VERSION}",
            hint="a newer regard wrote it: upgrade regard" if newer else "an older regard wrote it: export it again",
        )
    return header


class _Version(BaseModel):
    format_version: int
