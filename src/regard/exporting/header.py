"""What an exported file says about itself, which format a path means, and what each format needs installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from regard.config import DetectSettings, Settings
from regard.errors import RegardError, nearest

Format = Literal["onnx", "openvino", "torchscript"]
FORMATS: tuple[Format, ...] = ("onnx", "openvino", "torchscript")

FORMAT_VERSION = 2
METADATA_KEY = "regard"
"""Where the header stands: in ONNX's ``metadata_props``, OpenVINO's ``rt_info``, TorchScript's extra files."""

SUFFIXES: dict[str, Format] = {".onnx": "onnx", ".xml": "openvino", ".torchscript": "torchscript", ".pt": "torchscript"}
OPENVINO_FILE = "detector.xml"
"""The graph's name where the path is a folder; the weights lie beside it as ``.bin``."""

PACKAGES: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),  # the graph takes the way over ONNX
    "torchscript": (),
}


class ExportHeader(Settings):
    """What a program needs to know to use the file, and a person to know where it came from."""

    format_version: int = Field(default=FORMAT_VERSION, ge=1)
    regard_version: str
    names: dict[int, str] = Field(description="class id to name")
    imgsz: int = Field(ge=1, description="side of the input that it was exported for, in pixels; others work too")
    max_stride: int = Field(ge=1, description="the sides of an input are multiples of this, in pixels")
    strides: tuple[int, ...] = Field(description="input pixels per cell of each level")
    graph: str = Field(description="the model graph as YAML, anchors included")
    nms: DetectSettings | None = Field(default=None, description="settings of the suppression inside; None without")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return ("boxes", "scores") if self.nms is None else ("detections", "boxes", "scores")


def parse_header(document: str | None, path: Path) -> ExportHeader:
    """Read the header of an exported file.

    Raises:
        RegardError: there is none, so that the outputs cannot be understood; or it is damaged, or of another version.
    """
    if document is None:
        raise RegardError(
            "the file does not say what its outputs mean: it was not exported by regard",
            file=path,
            expected="a file written by `regard export`",
        )
    try:
        header = ExportHeader.model_validate_json(document)
    except ValidationError as error:
        raise RegardError(f"the header in the file is damaged ({error.errors()[0]['msg']})", file=path) from error
    if header.format_version != FORMAT_VERSION:
        is_newer = header.format_version > FORMAT_VERSION
        raise RegardError(
            f"the file has format version {header.format_version}",
            file=path,
            expected=f"version {FORMAT_VERSION}",
            hint="a newer regard wrote it: upgrade regard" if is_newer else "export the weights again",
        )
    return header


def format_of(path: Path, asked: str | None = None) -> Format:
    """Return the format that was asked for, or else the one that the path's suffix means; a folder means OpenVINO.

    Raises:
        RegardError: neither says.
    """
    if asked is not None:
        for name in FORMATS:
            if name == asked:
                return name
        raise RegardError(
            f"unknown format {asked!r}",
            expected="one of " + ", ".join(FORMATS),
            hint=nearest(asked, FORMATS),
        )
    if path.is_dir() or not path.suffix:
        return "openvino"
    if path.suffix in SUFFIXES:
        return SUFFIXES[path.suffix]
    raise RegardError(
        f"the suffix {path.suffix!r} belongs to no export format",
        file=path,
        expected=", ".join(SUFFIXES) + ", or a folder for OpenVINO",
        hint=nearest(path.suffix, SUFFIXES),
    )


def is_exported(path: Path) -> bool:
    """Whether a path means an export rather than weights; ``.pt``, which may be either, counts as weights."""
    if path.is_dir():
        return (path / OPENVINO_FILE).is_file()
    return path.suffix in SUFFIXES and path.suffix != ".pt"


def file_of(path: Path, form: Format) -> Path:
    """Return the main file of an export to ``path``: the graph in it where it means an OpenVINO folder."""
    return path / OPENVINO_FILE if form == "openvino" and path.suffix != ".xml" else path


def require_packages(*packages: str) -> None:
    """Ask for the optional packages.

    Raises:
        RegardError: one is not installed.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise RegardError(f"this needs the package {missing[0]}", hint='run: pip install "regard[export]"')
