"""Files that Ultralytics and YOLOv5 exported (ONNX, OpenVINO): recognised by their metadata and the form of the output.

=====================  ==============================================================================================
(B, 4 + classes, N)    centre x, centre y, width, height in input pixels, class scores: YOLOv8 and later
(B, K, 6)              left, top, right, bottom, score, class, best first: with NMS inside, or of a one-to-one branch
(B, N, 5 + classes)    as the first with an objectness before the class probabilities: YOLOv5's own export
=====================  ==============================================================================================

Images are RGB from 0 to 1. Most such files take one image of one size: `input_size` states it. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from regard import __version__
from regard.config import DetectSettings
from regard.config.commands import MOST_DETECTIONS
from regard.config.faults import first_fault
from regard.errors import RegardError, warn
from regard.nn.raw_levels import class_scores
from regard.runtimes.base import Float32, Run, Session, contiguous, detections_as_predictions
from regard.runtimes.header import MOST_CLASSES, MOST_STRIDE, Header
from regard.runtimes.outputs import OutputChecks, Port, check_input
from regard.system.files import is_file
from regard.system.loaders import parse_yaml, read_yaml

INSIDE = DetectSettings(conf=0.25, iou=0.7, max_det=MOST_DETECTIONS)
"""Thresholds of NMS that Ultralytics includes by default; the file does not state them. Its limit is its last row."""

AUTHOR, TASK = "Ultralytics", "detect"
FLOATS = {"float32": np.float32, "float16": np.float16}


class _Arguments(BaseModel):
    nms: bool | Literal["None"] | None = None

    @property
    def has_nms(self) -> bool:
        """Whether NMS is inside; unknown and "None" are no."""
        return self.nms is True


class _Metadata(BaseModel):
    """What such files state, as text or as YAML; everything else is ignored."""

    stride: int = Field(ge=1, le=MOST_STRIDE)
    names: dict[int, str] = Field(min_length=1, max_length=MOST_CLASSES)
    author: str | None = None
    task: str = TASK
    end2end: bool | None = None
    args: _Arguments = _Arguments()


@dataclass(frozen=True)
class Layout:
    """The form of the input and the output of a file.

    Attributes:
        kind: see the table of this module.
        batch: images that it takes at a time; None for any number.
        size: (height, width) that they have; None for any multiple of the stride.
        dtype: of their values.
        output: name of the output.
    """

    kind: Literal["decoded", "rows", "yolov5"]
    batch: int | None
    size: tuple[int, int] | None
    dtype: str
    output: str


def foreign_session(
    metadata: Mapping[str, Any],
    inputs: Mapping[str, Port],
    outputs: Mapping[str, Port],
    run: Run,
    file: Path,
    *,
    streams: int = 1,
) -> Session | None:
    """Make a session for a file that one of these packages exported; None where it is none of theirs.

    Args:
        metadata: of the file; values as text or as read from YAML.
        inputs: of the program.
        outputs: likewise.
        run: computes named outputs of the program.
        file: for messages.
        streams: number of threads that may call ``run`` at the same time.

    Raises:
        RegardError: the file is for another task than detection, or does not fit its metadata.
    """
    if not {"names", "stride"} <= metadata.keys():
        return None
    stated = _stated(metadata, file)
    if stated.task != TASK:
        raise RegardError(f"the file was exported for the task {stated.task!r}", file=file, expected="detect")
    layout = _layout(stated, inputs, outputs, file)
    is_rows = layout.kind == "rows"
    one_to_one = is_rows and (not stated.args.has_nms if stated.end2end is None else stated.end2end)
    try:
        header = Header(
            regard_version=__version__,
            names=stated.names,
            imgsz=max(layout.size or (20 * stated.stride,)),
            max_stride=stated.stride,
            strides=(stated.stride,),
            graph="",
            nms=INSIDE if is_rows and not one_to_one else None,
            one_to_one=one_to_one,
            whole_pixels=layout.kind != "yolov5",
        )
    except RegardError as error:
        raise RegardError(f"the metadata in the file: {error.what}", file=file) from error
    return ForeignSession(header, layout, run, file, streams=streams)


def _stated(metadata: Mapping[str, Any], file: Path) -> _Metadata:
    """Check what the metadata state."""
    try:
        texts = {key: _plain(metadata[key], file) for key in _Metadata.model_fields if key in metadata}
        if isinstance(texts["names"], list):
            texts["names"] = dict(enumerate(texts["names"]))
        return _Metadata.model_validate(texts)
    except ValidationError as error:
        fault = first_fault(error)
        raise RegardError(f"the metadata in the file: {fault.what}", file=file, expected=fault.expected) from error


def metadata_of_folder(file: Path) -> Mapping[str, Any]:
    """Read the metadata next to an OpenVINO graph; nothing where there are none."""
    for beside in (file.with_name("metadata.yaml"), file.with_suffix(".yaml")):
        if is_file(beside):
            document = read_yaml(beside)[0]
            return document if isinstance(document, dict) else {}
    return {}


def _plain(value: Any, file: Path) -> Any:
    """Turn what ONNX stores as text, a literal of Python, into its value; most of it is YAML too."""
    return parse_yaml(value, file)[0] if isinstance(value, str) and value[:1] in ("{", "[") else value


def _layout(stated: _Metadata, inputs: Mapping[str, Port], outputs: Mapping[str, Port], file: Path) -> Layout:
    if len(inputs) != 1:
        raise RegardError(f"the program has {len(inputs)} inputs", file=file, expected="images")
    (taken,) = inputs.values()
    if taken.shape is None or len(taken.shape) != 4 or taken.shape[1] not in (3, None) or taken.dtype not in FLOATS:
        raise RegardError(
            f"the program takes {taken.dtype} {taken.shape}", file=file, expected="RGB images (B, 3, H, W)"
        )
    check_input(taken.shape, file)
    batch, _, height, width = taken.shape
    size = (height, width) if height and width else None
    name, given = next(iter(outputs.items()))
    kind = _kind(given.shape, len(stated.names), stated)
    if kind is None:
        raise RegardError(
            f"the program computes {name!r} of shape {given.shape} for {len(stated.names)} classes",
            file=file,
            expected="(B, 4 + classes, N), (B, K, 6), or (B, N, 5 + classes) of YOLOv5",
        )
    return Layout(kind, batch, size, taken.dtype or "", name)


def _kind(
    shape: tuple[int | None, ...] | None, classes: int, stated: _Metadata
) -> Literal["decoded", "rows", "yolov5"] | None:
    if shape is None or len(shape) != 3:
        return None
    if stated.author != AUTHOR and shape[2] == 5 + classes:
        return "yolov5"
    if shape[2] == 6 and (stated.end2end or stated.args.has_nms or shape[1] != 4 + classes):
        return "rows"
    return "decoded" if shape[1] == 4 + classes else None


class ForeignSession(Session):
    """An opened file of another package.

    Args:
        header: made from its metadata.
        layout: of its input and output.
        run: computes its output.
        file: for messages.
        streams: see `Session`.
    """

    def __init__(self, header: Header, layout: Layout, run: Run, file: Path | None = None, *, streams: int = 1) -> None:
        super().__init__(header, run, file, streams=streams)
        self.layout = layout

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(height, width) of the images, where the file takes no other."""
        return self.layout.size

    def predict(self, images: NDArray[np.uint8], conf: float) -> list[Float32]:
        """See `regard.types.Predictor.predict`.

        Raises:
            RegardError: images of another size than the file takes; or it computes what it does not describe.
        """
        size = (images.shape[2], images.shape[3])
        if self.input_size not in (None, size):
            raise RegardError(f"images of {size[0]} x {size[1]}", file=self.file, expected=f"{self.input_size}")
        pixels = np.divide(contiguous(images), np.float32(255), dtype=np.float32)
        step = self.layout.batch or len(images)
        found: list[Float32] = []
        for start in range(0, len(images), step):
            part = pixels[start : start + step]
            padded = part
            if len(part) < step:
                padded = np.concatenate((part, np.zeros((step - len(part), *part.shape[1:]), np.float32)))
            (output,) = self._compute(padded.astype(FLOATS[self.layout.dtype], copy=False), (self.layout.output,))
            checks = OutputChecks(self.header, padded, self.file)
            checks.foreign(output, self.layout.kind)
            decode = {"decoded": _decoded, "rows": self._from_rows, "yolov5": _yolov5}[self.layout.kind]
            found += [checks.rows(decode(own.astype(np.float32), conf)) for own in output[: len(part)]]
        return found

    def _from_rows(self, rows: Float32, conf: float) -> Float32:
        kept = rows[~(rows[:, 4] <= max(conf, 0))]  # zeros fill the rest
        if self.header.nms and len(kept) == len(rows):
            what = f"the exported file has NMS inside that gives at most {len(rows)} detections per image"
            warn(f"{what}; export it without NMS for more")
        image = np.zeros((len(kept), 1), np.float32)
        return detections_as_predictions(np.concatenate((image, kept), axis=1), len(self.names))


def _decoded(output: Float32, conf: float) -> Float32:
    """(4 + nc, N) -> (n, 4 + nc); a NaN is not below the threshold either: it stays, and is found."""
    return np.ascontiguousarray(output[:, ~(output[4:].max(axis=0) <= conf)].T)


def _yolov5(output: Float32, conf: float) -> Float32:
    """(N, 5 + nc) -> (n, 4 + nc)."""
    likely = output[~(output[:, 4] <= conf)]
    rows = np.concatenate((likely[:, :4], class_scores(likely)), axis=1)
    return rows[~(rows[:, 4:].max(axis=1) <= conf)]
