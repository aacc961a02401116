"""Sources of images: files, folders, glob patterns, URLs, arrays and videos, all as one stream of frames."""

from __future__ import annotations

import contextlib
import glob
import itertools
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.data.images import IMAGE_SUFFIXES, ImageFile, decode_bytes
from regard.errors import RegardError, RegardWarning, nearest
from regard.prediction.inputs import EXPECTED, is_image, to_rgb
from regard.system.files import is_file, is_folder
from regard.system.prefetch import prefetch_map
from regard.system.scratch import plain_path

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
DOWNLOAD_SECONDS, DOWNLOAD_BYTES = 20, 64 * 2**20
"""Time without an answer, and three times that in all; and size, of the body of a URL."""
FPS, MAX_FPS = 25.0, 1000.0
"""Frames per second of a video that does not state them, and the most that are believed."""
READERS = 2
"""Number of threads that decode the images of a folder: one is enough for a CPU, but not for a GPU."""
SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)

Source: TypeAlias = "str | Path | int | NDArray[Any] | Image.Image | Tensor | bytes | Iterable[Any]"
"""A file, folder, glob pattern or http(s) URL; an image in memory as `regard.prediction.inputs.to_rgb` takes it; or any
iterable of those, which is read as it is needed."""


@dataclass(frozen=True)
class Frame:
    """One image to process.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        source: a path, a URL, ``video.mp4#17`` for the frame 17 (counted from 0) of a video, "" for an array.
        video: the path of the video that contains the frame, else "".
        fps: frames per second of that video.
        read: reads the image again; None for what an iterator made, which would otherwise stay in memory.
    """

    image: NDArray[np.uint8]
    source: str
    video: str = ""
    fps: float = 0.0
    read: Callable[[], NDArray[np.uint8]] | None = None


def frames(source: Source, *, keep: bool = True) -> Iterator[Frame]:
    """Yield the images of a source one by one, in sorted order within a folder or pattern.

    Files in a folder or pattern that cannot be read are skipped with a warning, so that one damaged file does not stop
    the others.

    Args:
        source: what to read.
        keep: whether frames may refer to images in memory, to read them again.

    Raises:
        RegardError: the file does not exist or cannot be read, the folder contains no images or videos, or ``source``
            is nothing that can be read.
    """
    if isinstance(source, (str, Path)) or (isinstance(source, int) and not isinstance(source, bool)):
        yield from _named_frames(str(source))
    elif is_image(source):
        yield Frame(to_rgb(source), _name_of(source), read=partial(to_rgb, source) if keep else None)
    elif isinstance(source, Iterable) and not isinstance(source, Mapping):
        for item in source:
            yield from frames(item, keep=keep and not isinstance(source, Iterator))
    else:
        what = "no source is given: it is None" if source is None else f"cannot read images from a {_kind(source)}"
        raise RegardError(what, expected=f"a path, folder, pattern, video or URL, {EXPECTED}, or a list of those")


def is_single_image(source: Source) -> bool:
    """Whether a source is one image rather than any number of them."""
    if not isinstance(source, (str, Path)):
        return is_image(source)
    name = str(source)
    return _is_url(name) or (is_file(name) and Path(name).suffix.lower() not in VIDEO_SUFFIXES)


def holds_one_image(source: Source) -> bool:
    """Whether a source is one image, or a sequence of one."""
    if is_single_image(source):
        return True
    if not isinstance(source, Sequence) or isinstance(source, str):
        return False
    return len(source) == 1 and is_single_image(source[0])


def _name_of(image: object) -> str:
    """File that a PIL image was opened from, "" for any other image."""
    name = getattr(image, "filename", "")
    return name if isinstance(name, str) else ""


def _kind(value: object) -> str:
    return type(value).__name__


def _named_frames(name: str) -> Iterator[Frame]:
    if _is_url(name):
        image = _download(name)
        yield Frame(image, name, read=partial(to_rgb, image))
        return
    paths = _paths(name)
    for path, read in zip(paths, prefetch_map(_read, paths, READERS), strict=True):
        try:
            yield from _video_frames(path) if read is None else [_checked(read)]
        except RegardError as error:
            if paths == [Path(name)]:
                raise
            warnings.warn(f"{error}\n  skipped", RegardWarning, stacklevel=2)


def _read(path: Path) -> Frame | RegardError | None:
    """Decode an image file; a failure is a value, and None is a video, which is read frame by frame."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return None
    try:
        return Frame(ImageFile(path).read(), str(path), read=ImageFile(path).read)
    except RegardError as error:
        return error


def _checked(read: Frame | RegardError) -> Frame:
    if isinstance(read, RegardError):
        raise read
    return read


def _paths(name: str) -> list[Path]:
    path = Path(name)
    if is_file(path):
        return [path]
    if is_folder(path):
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    elif glob.has_magic(name):
        found = sorted(p for p in map(Path, glob.glob(name, recursive=True)) if is_file(p))
    else:
        raise _nothing_there(name)
    if not found:
        kinds = " ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
        raise RegardError("no images or videos found", file=name, expected=f"files that end in {kinds}")
    return found


def _nothing_there(name: str) -> RegardError:
    """Describe a source that is neither a file nor a folder."""
    stream = SCHEME.match(name)
    if stream or name.isdigit() or name.startswith("/dev/video"):
        what = f"{stream[1]} streams are not read" if stream else "cameras are not read"
        hint = "record a video and give its path; a camera's frames, as RGB arrays, go to regard.predict in Python"
        return RegardError(f"{name!r}: {what}", expected="files, folders, patterns, or http(s) URLs", hint=hint)
    folder = Path(name).parent
    neighbours = [p.name for p in folder.iterdir()] if is_folder(folder) else []
    return RegardError("no such file or folder", file=name, hint=nearest(Path(name).name, neighbours))


def _video_frames(path: Path) -> Iterator[Frame]:
    if not is_file(path):  # FFmpeg would wait for a pipe
        raise RegardError("cannot be read", file=path, expected="a file")
    number = 0
    with _opened(path) as video:
        stated = video.get(cv2.CAP_PROP_FPS)
        fps = stated if 0 < stated <= MAX_FPS else FPS
        while True:
            there_is_more, bgr = video.read()
            if not there_is_more:
                break
            yield Frame(_to_rgb(bgr), f"{path}#{number}", str(path), fps, partial(_read_again, path, number))
            number += 1
    if number == 0:
        raise RegardError("cannot read this video", file=path, expected="a format that OpenCV's FFmpeg decodes")


def _read_again(path: Path, number: int) -> NDArray[np.uint8]:
    """Decode a video up to a frame: seeking is exact in few formats only."""
    return next(itertools.islice(_video_frames(path), number, None)).image


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    """Open a video with FFmpeg alone: OpenCV's other readers take names for patterns and print what they read."""
    with plain_path(path) as plain:
        video = cv2.VideoCapture(str(plain), cv2.CAP_FFMPEG)
        try:
            yield video
        finally:
            video.release()


def _is_url(name: str) -> bool:
    return name.lower().startswith(("http://", "https://"))


def _download(url: str) -> NDArray[np.uint8]:
    import http.client  # not at the top: the import takes 20 ms, which files do not need
    import urllib.request

    try:
        end = time.monotonic() + 3 * DOWNLOAD_SECONDS
        data = b""
        with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as response:
            while block := response.read1(2**20):
                data += block
                if len(data) > DOWNLOAD_BYTES or time.monotonic() > end:
                    raise ValueError(f"more than {DOWNLOAD_BYTES:,} bytes or {3 * DOWNLOAD_SECONDS} seconds")
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise RegardError(f"cannot download {url} ({reason})", hint="save the image and give its path") from error
    image = decode_bytes(data)
    if image is None:
        raise RegardError(f"{url} is not an image", expected="an image file that OpenCV decodes")
    return image


def _to_rgb(bgr: cv2.typing.MatLike) -> NDArray[np.uint8]:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
