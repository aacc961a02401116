"""Videos with the boxes drawn."""

from __future__ import annotations

from contextlib import ExitStack

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.prediction.films import Frame
from regard.prediction.outputs import Outputs
from regard.system.scratch import plain_path, scratch_folder


class Videos:
    """Writes the frames of one video after another, each to a temporary file until it is complete.

    What an exception or Ctrl-C leaves of a video is kept as ``<name>.part.mp4``, until the whole one is there.
    """

    def __init__(self, outputs: Outputs) -> None:
        self._outputs, self._folder = outputs, outputs.folder
        self._writer: cv2.VideoWriter | None = None
        self._stem, self._frames = "", 0
        self._part = self._plain = outputs.folder
        self._scratch = ExitStack()

    def __enter__(self) -> Videos:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        with self._scratch:
            self._finish(".mp4" if kind is None else ".part.mp4", is_whole=kind is None)

    def add(self, frame: Frame, image: NDArray[np.uint8], stem: str) -> None:
        """Append a frame."""
        if stem != self._stem or self._writer is None:
            self._finish(".mp4")
            self._outputs.check(self._folder / f"{stem}.mp4", frame.video)
            height, width = image.shape[:2]
            self._stem, self._frames = stem, 0
            self._part = self._scratch.enter_context(scratch_folder(self._folder)) / "video.mp4"
            self._plain = self._scratch.enter_context(plain_path(self._part))
            self._writer = cv2.VideoWriter(
                str(self._plain), cv2.VideoWriter.fourcc(*"mp4v"), frame.fps, (width, height)
            )
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write a video of {width} x {height} pixels at {frame.fps:g} per second")
        assert self._writer is not None
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def _finish(self, suffix: str, *, is_whole: bool = True) -> None:
        """Check that what was written can be read, which OpenCV does not say by itself, and rename it."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        with self._outputs.errors(), self._scratch:
            reader = cv2.VideoCapture(str(self._plain))
            there = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
            reader.release()
            if is_whole and there < self._frames:
                raise OSError(f"of {self._frames} frames of {self._stem}.mp4 {max(there, 0)} were written")
            if there > 0:
                path, unfinished = (self._folder / f"{self._stem}{end}" for end in (suffix, ".part.mp4"))
                self._outputs.move(self._part, path)
                if is_whole:
                    self._outputs.written.append(path)
                if is_whole and unfinished.exists():
                    self._outputs.check(unfinished).unlink()
