"""Videos with the boxes drawn."""

from __future__ import annotations

import logging
from contextlib import ExitStack

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.prediction.films import Frame
from regard.system.outputs import Outputs
from regard.system.scratch import plain_path, scratch_folder

log = logging.getLogger("regard.prediction")

CODECS = ("avc1", "mp4v")
"""H.264, and MPEG-4 where the build of OpenCV has no encoder for it, as those from PyPI."""
NO_H264 = "this OpenCV cannot write H.264 (ffmpeg -i IN.mp4 -c:v libx264 -pix_fmt yuv420p OUT.mp4 converts it)"


class Videos:
    """Writes the frames of one video after another, each to a temporary file until it is complete.

    What an exception or Ctrl-C leaves of a video is kept as ``<name>.part.mp4``, until the whole one is there.
    """

    def __init__(self, outputs: Outputs) -> None:
        self._outputs, self._folder = outputs, outputs.folder
        self._writer: cv2.VideoWriter | None = None
        self._stem, self._frames, self._is_reported = "", 0, False
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
            self._writer = self._opened(frame.fps, (width, height))
        assert self._writer is not None
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def _opened(self, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
        """Open a writer of H.264, which browsers play, or else of MPEG-4, which is reported once."""
        for codec in CODECS:
            writer = cv2.VideoWriter(str(self._plain), cv2.VideoWriter.fourcc(*codec), fps, size)
            if writer.isOpened():
                if codec != CODECS[0] and not self._is_reported:
                    log.info("%s.mp4 is in MPEG-4, which browsers do not play: %s", self._stem, NO_H264)
                    self._is_reported = True
                return writer
        raise OSError(f"OpenCV cannot write a video of {size[0]} x {size[1]} pixels at {fps:g} per second")

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
