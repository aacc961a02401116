"""The header inside every exported file: the meaning of its outputs, and its origin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError, model_validator

from regard.config import DetectSettings, Settings
from regard.config.faults import first_fault
from regard.errors import RegardError
from regard.nn.raw_levels import DistanceDecoder, RawDecoder

METADATA_KEY = "regard"
"""Name of the header in ONNX's ``metadata_props``, OpenVINO's ``rt_info`` and TorchScript's extra files."""

MARK = b"regard_version"
"""In every file with such a header."""

FORMAT_VERSION = 2
"""Version 1 had one output of decoded boxes, objectness and class probabilities."""

MOST_STRIDE, MOST_LEVELS, MOST_CLASSES = 2**12, 64, 2**16
"""Largest stride in pixels, and largest numbers of levels and classes, of a file that is opened."""


class Header(Settings):
    """What is needed to use an exported file, and to see where it came from."""

    format_version: int = Field(default=FORMAT_VERSION, ge=1)
    regard_version: str
    names: dict[int, str] = Field(min_length=1, max_length=MOST_CLASSES, description="class id to name")
    imgsz: int = Field(ge=1, le=2**16, description="side of the exported input in pixels; others work, unless static")
    static: bool = Field(default=False, description="whether the input is one image of side imgsz, and no other")
    max_stride: int = Field(ge=1, le=MOST_STRIDE, description="the sides of an input are multiples of this, in pixels")
    strides: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, max_length=MOST_LEVELS, description="input pixels per cell of each level"
    )
    graph: str = Field(description="the model graph as YAML, anchors included")
    nms: DetectSettings | None = Field(default=None, description="settings of the NMS inside; None without")
    one_to_one: bool = Field(
        default=False, description="whether the boxes are those of a one-to-one branch, which need no NMS"
    )
    whole_pixels: bool = Field(
        default=False, description="whether boxes are brought back to an image as in Ultralytics, not as in YOLOv5"
    )
    raw: RawDecoder | DistanceDecoder | None = Field(
        default=None,
        description="how to decode the raw levels that the file computes from 8-bit images; None where the file "
        "decodes them itself, from images in 0..1",
    )
    opset: int | None = Field(default=None, description="version of ONNX's operators; None where there are none")

    @model_validator(mode="after")
    def _consistent(self) -> Header:
        if sorted(self.names) != list(range(len(self.names))):
            raise ValueError("the class ids are not 0, 1, 2 and so on")
        if max(self.strides) > self.max_stride:
            raise ValueError("a stride is above the largest stride")
        if self.raw and (self.raw.strides != self.strides or len(self.raw.channels(1)) != len(self.strides)):
            raise ValueError("the levels of the decoder are not those of the file")
        if self.nms and self.one_to_one:
            raise ValueError("there is NMS for boxes that need none")
        return self

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
        fault = first_fault(error)
        what = f"the header in the file is damaged: {fault.what}"
        raise RegardError(what, file=path, expected=fault.expected) from error
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
