"""The contract of a runtime, and the session that predicts with a file that it opened.

To add a runtime, write one file with a subclass of `Runtime` and add one row to `regard.runtimes.table.RUNTIMES`.
Nothing here imports torch: with a compiled model, predicting does without it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.config import DetectSettings, ModelSettings
from regard.data.letterbox import GREY
from regard.errors import RegardError, first_line
from regard.runtimes.header import Header
from regard.runtimes.outputs import INPUT as INPUT
from regard.runtimes.outputs import OutputChecks
from regard.system.files import check_readable, is_file, reject_special
from regard.system.resources import available_cores

if TYPE_CHECKING:
    from torch import Tensor, nn

    from regard.graph.detector import Detector
    from regard.types import Predictor

Float32: TypeAlias = NDArray[np.float32]
Run: TypeAlias = Callable[[NDArray[Any], Sequence[str]], list[Float32]]
"""(images (B, 3, H, W), names of outputs) -> those outputs."""


@dataclass(frozen=True)
class SessionOptions:
    """How a runtime opens a file. A runtime ignores what it cannot do.

    Attributes:
        threads: number of processor threads to compute with, over all streams.
        streams: number of threads that will call ``predict`` at the same time.
        bfloat16: whether to compute in bfloat16 instead of float32; only where ``Runtime.has_bfloat16()``.
        device: "cpu", or "auto" or "cuda" to allow a GPU.
        compiled: a folder in which the runtime may keep what it compiles for this processor.
        modules: the user's own layers, by name.
        trust: whether to open a file that is a program, although regard did not write it for this user.
        nms: which branch of a model with two predicts; None for that of the file.
    """

    threads: int = field(default_factory=lambda: available_threads())
    streams: int = 1
    bfloat16: bool = False
    device: str = "cpu"
    compiled: Path | None = None
    modules: Mapping[str, type[nn.Module]] = field(default_factory=dict)
    trust: bool = False
    nms: bool | None = None


class Session:
    """An opened file that predicts: a `regard.types.Predictor`.

    Args:
        header: of the file.
        run: computes named outputs of the network.
        file: for messages about what it computes.
        streams: number of threads that may call ``predict`` at the same time.
    """

    def __init__(self, header: Header, run: Run, file: Path | None = None, *, streams: int = 1) -> None:
        self.header, self.file, self.streams = header, file, streams
        self.run = first_call_alone(run) if streams > 1 else run

    @property
    def names(self) -> Mapping[int, str]:
        """Class names, by class index."""
        return self.header.names

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels per cell of each detection level."""
        return self.header.strides

    @property
    def max_stride(self) -> int:
        """Number that the sides of the input must be multiples of, in pixels."""
        return self.header.max_stride

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(height, width) of the only images that the file takes; None where it takes any."""
        return None

    @property
    def static_side(self) -> int | None:
        """Side in pixels of the squares to which a file of fixed size pads images; None for other files."""
        return self.header.imgsz if self.header.static else None

    @property
    def nms(self) -> DetectSettings | None:
        """Settings of the NMS inside, whose detections ``predict`` gives; None without."""
        return self.header.nms

    @property
    def whole_pixels(self) -> bool:
        """Whether boxes are brought back to the image in whole pixels: see `regard.data.letterbox`."""
        return self.header.whole_pixels

    @property
    def one_to_one(self) -> bool:
        """Whether the boxes are those of a one-to-one branch, which need no NMS."""
        return self.header.one_to_one

    def with_nms(self, nms: bool) -> Session:
        """The session itself, if its boxes are of the branch that is asked for; see `Detector.with_nms`.

        Raises:
            RegardError: the file has the other branch.
        """
        if nms != self.one_to_one:
            return self
        if nms:
            what, hint = "the file has the one-to-one branch of its model only", "leave out --nms, or export it without"
        else:
            what, hint = "the file has no one-to-one branch: its boxes need NMS", "leave out --no-nms"
            hint += "; a model that has one (YOLOv10, YOLO26) is exported with it by regard export --no-nms"
        raise RegardError(what, file=self.file, hint=hint)

    def without_nms(self) -> Session:
        """The same session, whose ``predict`` gives all boxes although there is NMS inside."""
        return Session(self.header.model_copy(update={"nms": None}), self.run, self.file, streams=self.streams)

    def predict(self, images: NDArray[np.uint8], conf: float) -> list[Float32]:
        """See `regard.types.Predictor.predict`; images for a file of fixed size are padded to it, one by one.

        Raises:
            RegardError: the program in the file fails, or computes what its header does not describe; or the images are
                larger than the fixed size of the file.
        """
        header = self.header
        if header.static:
            return [self._predict(self._padded(image), conf)[0] for image in images]
        return self._predict(contiguous(images), conf)

    def _padded(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(3, H, W) -> (1, 3, S, S), the fixed size; the image stays at the top left."""
        side = self.header.imgsz
        if max(image.shape[1:]) > side:
            what = f"the file takes images of {side} pixels, not of {image.shape[2]} x {image.shape[1]}"
            hint = f"give --imgsz {side} (in Python: imgsz={side}), or export it without --static"
            raise RegardError(what, file=self.file, hint=hint)
        padded = np.full((1, 3, side, side), GREY, np.uint8)
        padded[0, :, : image.shape[1], : image.shape[2]] = image
        return padded

    def _predict(self, images: NDArray[np.uint8], conf: float) -> list[Float32]:
        header = self.header
        checks = OutputChecks(header, images, self.file)
        if header.raw:
            levels = self._compute(images, header.outputs)
            checks.levels(levels)
            return [checks.rows(header.raw.decode([level[i] for level in levels], conf)) for i in range(len(images))]
        pixels = images.astype(np.float32) / np.float32(255)
        if header.nms:
            (detections,) = self._compute(pixels, ("detections",))
            checks.detections(detections)
            per_image = (detections[detections[:, 0] == i] for i in range(len(images)))
            return [checks.rows(detections_as_predictions(rows, len(self.names))) for rows in per_image]
        boxes, scores = self._compute(pixels, ("boxes", "scores"))
        checks.decoded(boxes, scores)
        # A NaN is not below the threshold either: it stays, and is found.
        kept = (~(s <= conf).all(axis=1) for s in scores)
        return [checks.rows(np.concatenate((b, s), axis=1)[k]) for b, s, k in zip(boxes, scores, kept, strict=True)]

    def _compute(self, images: NDArray[Any], outputs: Sequence[str]) -> list[Float32]:
        try:
            results = self.run(images, outputs)
        except (RegardError, MemoryError):
            raise
        except Exception as error:  # the runtimes' errors have no common base
            what = f"the program in the file fails on images of shape {images.shape}: {reason(error)}"
            raise RegardError(what, file=self.file) from error
        return results


def detections_as_predictions(detections: Float32, nc: int) -> Float32:
    """Turn detections (n, 7) of NMS inside a file into (n, 4 + nc), with scores of 0 for all classes but one."""
    predictions = np.zeros((len(detections), 4 + nc), np.float32)
    low, high = detections[:, 1:3], detections[:, 3:5]
    predictions[:, :2], predictions[:, 2:4] = (low + high) / 2, high - low
    predictions[np.arange(len(detections)), 4 + detections[:, 6].astype(np.int64)] = detections[:, 5]
    return predictions


def contiguous(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Copy (B, 3, H, W) images, where needed, so that each channel is contiguous, as the runtimes read them."""
    if images.flags.c_contiguous:
        return images
    planes = np.empty(images.shape, np.uint8)
    for own, image in zip(planes, images, strict=True):
        cv2.split(image.transpose(1, 2, 0), list(own))  # writes in place, ten times as fast as a transposed copy
    return planes


def first_call_alone(run: Run) -> Run:
    """Let several threads call ``run``, but none before the first call has ended.

    On their first call bindings fill static variables. In OpenVINO's (2026.4) a second thread that comes meanwhile
    waits for that while it has Python's lock, which the first one needs, and both wait forever.
    """
    lock, is_open = threading.Lock(), threading.Event()

    def guarded(images: NDArray[Any], outputs: Sequence[str]) -> list[Float32]:
        if is_open.is_set():
            return run(images, outputs)
        with lock:
            results = run(images, outputs)
            is_open.set()
        return results

    return guarded


def check_input_size(predictor: object, settings: ModelSettings) -> None:
    """Check the size that was asked for, if it was, against that of a file which takes images of one size.

    Raises:
        RegardError: it is another one.
    """
    size, asked = getattr(predictor, "input_size", None), settings.imgsz
    if size and "imgsz" in settings.model_fields_set and ((asked, asked) if isinstance(asked, int) else asked) != size:
        what = f"the file takes images of {size[0]} x {size[1]} pixels only, not of imgsz {settings.imgsz}"
        raise RegardError(what, file=getattr(predictor, "file", None), hint="leave out --imgsz (in Python: imgsz=...)")


def available_threads() -> int:
    """Number of threads to compute with: torch's where it is loaded, else ``OMP_NUM_THREADS``, else one per core."""
    if torch := sys.modules.get("torch"):
        return int(torch.get_num_threads())
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return available_cores()


class Runtime:
    """A way to run a detector outside training: how its files are written and opened.

    Attributes:
        name: as ``--backend`` takes it.
        format: as ``regard export --format`` takes it.
        suffixes: of its files; the first is that of a path that was not given.
        converters: packages that writing needs.
        packages: packages that running needs.
        uses_onnx: whether files are converted to ONNX, or by way of it, so that its operators have a version.
    """

    name: str
    format: str
    suffixes: tuple[str, ...]
    converters: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    uses_onnx: bool = False

    def write(self, detector: Detector, header: Header, path: Path) -> None:
        """Write a detector to a file; other files may go next to it.

        Args:
            detector: in evaluation mode, on the CPU, in float32.
            header: metadata of the file, which also determines its outputs; see `regard.runtimes.convert.exported`.
            path: the main file.

        Raises:
            Exception: any exception of a converter for a layer that it cannot convert.
        """
        raise NotImplementedError

    def open(self, path: Path, options: SessionOptions) -> Predictor:
        """Open a file that ``write`` wrote, usually as a `Session`.

        Raises:
            RegardError: the file is damaged or was not exported by regard.
        """
        raise NotImplementedError

    def check_layer(self, layer: nn.Module, inputs: tuple[Tensor, ...], opset: int | None) -> None:
        """Convert one layer by itself, to find out which one a converter fails on; does nothing where not defined.

        Raises:
            Exception: any exception of the converter.
        """

    def has_bfloat16(self) -> bool:
        """Whether the runtime can compute in bfloat16 on this processor."""
        return False

    def main_file(self, path: Path) -> Path:
        """The main file of an export to ``path``."""
        return path

    def found_file(self, path: Path) -> Path:
        """The main file of an export in or at ``path`` that is there, by whoever wrote it."""
        return self.main_file(path)

    def default_path(self, stem: Path) -> Path:
        """Where an export goes that no path was given for."""
        return stem.with_name(stem.name + self.suffixes[0])

    def is_installed(self, *, writing: bool = False) -> bool:
        """Whether the packages for running, or also those for writing, are installed."""
        return not self._missing(writing)

    def require_packages(self, *, writing: bool = False) -> None:
        """Check that the packages for running, or also those for writing, are installed.

        Raises:
            RegardError: one is not.
        """
        if missing := self._missing(writing):
            raise RegardError(f"this needs the package {missing[0]}", hint='run: pip install "regard[export]"')

    def _missing(self, writing: bool) -> list[str]:
        needed = (*self.converters, *self.packages) if writing else self.packages
        return [package for package in needed if find_spec(package) is None]


def file_digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def damaged(path: Path, kind: str, error: Exception) -> RegardError:
    """Make the error for a file that a runtime cannot open; raises another if it cannot be read at all."""
    if is_file(path):
        check_readable(path)
    reject_special(path)
    return RegardError(f"the file is damaged or no {kind} file ({reason(error)})", file=path)


def reason(error: BaseException) -> str:
    """First line of what was raised at the bottom, where one error wraps another."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
