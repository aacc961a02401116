"""Files of many frames: videos, animations, files of several pages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.data.images import ANY_DEPTH, to_eight_bits
from regard.errors import RegardError
from regard.prediction.inputs import to_rgb
from regard.system.files import is_file, reject_special
from regard.system.scratch import plain_path

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
ANIMATION_SUFFIXES, PAGED_SUFFIXES = frozenset({".avif", ".gif", ".webp"}), frozenset({".tif", ".tiff"})
FPS, MAX_FPS = 25.0, 1000.0
"""Frames per second of a video that does not state them, and the most that are believed."""


@dataclass(frozen=True)
class Frame:
    """One image to process.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        source: a path, a URL, ``video.mp4#17`` for the frame 17 (counted from 0) of a video or of a file of several
            pages, "" for an array.
        video: the path or name of the video that contains the frame, else "".
        fps: frames per second of that video, of those that are read.
        read: reads the image again; None for what an iterator or a camera made, which would otherwise stay in memory.
        number: of the frame in its video or file, if that contains several.
    """

    image: NDArray[np.uint8]
    source: str
    video: str = ""
    fps: float = 0.0
    read: Callable[[], NDArray[np.uint8]] | None = None
    number: int | None = None


def is_film(path: Path) -> bool:
    """Whether a file is a video, an animation or a file of several pages."""
    suffix = path.suffix.lower()
    return suffix in VIDEO_SUFFIXES or (suffix in ANIMATION_SUFFIXES | PAGED_SUFFIXES and _page_count(path) > 1)


def film_frames(path: Path, stride: int = 1) -> Iterator[Frame]:
    """Yield every ``stride``-th frame of a file.

    Raises:
        RegardError: no frame can be decoded.
    """
    if not is_file(path):  # FFmpeg would wait for a pipe
        reject_special(path)
        raise RegardError("cannot be read", file=path, expected="a file")
    suffix = path.suffix.lower()
    if suffix in PAGED_SUFFIXES:
        for number in range(0, _page_count(path), stride):
            yield Frame(_page(path, number), f"{path}#{number}", read=partial(_page, path, number), number=number)
    elif suffix in ANIMATION_SUFFIXES:
        yield from _animation(path, stride)
    else:
        with plain_path(path) as plain:
            # OpenCV's other readers take names for patterns and print what they read
            video = cv2.VideoCapture(str(plain), cv2.CAP_FFMPEG)
            count = 0
            for count, frame in enumerate(captured(video, str(path), stride), 1):
                yield replace(frame, read=partial(_read_again, path, stride * (count - 1)))
        if not count:
            raise RegardError("cannot read this video", file=path, expected="a format that OpenCV's FFmpeg decodes")


def captured(video: cv2.VideoCapture, name: str, stride: int) -> Iterator[Frame]:
    """Yield every ``stride``-th frame of an open video, and release it at the end."""
    try:
        stated = video.get(cv2.CAP_PROP_FPS)
        fps = (stated if 0 < stated <= MAX_FPS else FPS) / stride
        for number in itertools.count():
            if not video.grab():
                return
            if number % stride == 0:
                is_decoded, bgr = video.retrieve()
                if not is_decoded:
                    return
                yield Frame(_to_rgb(bgr), f"{name}#{number}", name, fps, number=number)
    finally:
        video.release()


def _read_again(path: Path, number: int) -> NDArray[np.uint8]:
    """Decode a film up to a frame: seeking is exact in few formats only."""
    return next(itertools.islice(film_frames(path), number, None)).image


def _page_count(path: Path) -> int:
    """Number of images in a file; 1 if it cannot be read."""
    if not is_file(path):
        return 1
    if path.suffix.lower() in PAGED_SUFFIXES:
        with plain_path(path) as plain:
            try:
                return int(cv2.imcount(str(plain), ANY_DEPTH))
            except cv2.error:
                return 1
    from PIL import Image  # not at the top: other files do not need it

    try:
        with Image.open(path) as opened:
            return int(getattr(opened, "n_frames", 1))
    except Exception:  # of a damaged file Pillow raises errors of any kind; OpenCV then decides
        return 1


def _page(path: Path, number: int) -> NDArray[np.uint8]:
    with plain_path(path) as plain:
        try:
            is_read, pages = cv2.imreadmulti(str(plain), start=number, count=1, flags=ANY_DEPTH)
        except cv2.error:
            is_read, pages = False, ()
    if not is_read or not pages:
        raise RegardError(f"page {number} cannot be decoded", file=path)
    return _to_rgb(to_eight_bits(pages[0]))


def _animation(path: Path, stride: int) -> Iterator[Frame]:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            count = int(getattr(opened, "n_frames", 1))
            for number in range(0, count, stride):
                opened.seek(number)
                image = to_rgb(opened)
                milliseconds = float(opened.info.get("duration", 0) or 1000 / FPS)
                fps = min(1000 / milliseconds, MAX_FPS) / stride
                yield Frame(
                    image, f"{path}#{number}", str(path), fps, partial(_read_again, path, number), number=number
                )
    except RegardError:
        raise
    except Exception as error:  # of a damaged file Pillow raises errors of any kind
        raise RegardError(f"cannot be decoded any further ({error})", file=path) from error


def _to_rgb(bgr: cv2.typing.MatLike) -> NDArray[np.uint8]:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
