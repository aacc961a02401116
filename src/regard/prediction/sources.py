"""Sources of images: files, folders, patterns, lists, URLs, arrays, videos, cameras, all as one stream of frames."""

from __future__ import annotations

import glob
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regard.config import PredictSettings
from regard.data.formats.yolo import listed_images
from regard.data.images import IMAGE_SUFFIXES, ImageFile, decode_bytes, undecoded
from regard.data.paths import files_below
from regard.errors import RegardError, warn
from regard.prediction.films import VIDEO_SUFFIXES, Frame, film_frames, is_film
from regard.prediction.inputs import EXPECTED, is_image, to_rgb
from regard.prediction.live import is_live, live_frames
from regard.system.files import is_file, is_folder, matching_files, nearest_path, reject_special
from regard.system.prefetch import prefetch_map

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
"""Files that are read in folders."""
LIST_SUFFIX = ".txt"
"""Suffix of a list of files."""
IDLE_SECONDS, DOWNLOAD_SECONDS, DOWNLOAD_BYTES = 20, 60, 64 * 2**20
"""Time without an answer of a URL, time for all of it, with its name, redirects and headers, and size of its body."""
READERS = 2
"""Number of threads that decode the images of a folder: one is enough for a CPU, but not for a GPU."""
SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)

Source: TypeAlias = "str | Path | int | NDArray[Any] | Image.Image | Tensor | bytes | Iterable[Any]"
"""A file, folder, glob pattern, ``list.txt`` of files, http(s) URL, camera or stream; an image in memory as
`regard.prediction.inputs.to_rgb` takes it; or any iterable of those, which is read as it is needed.
"""


def warn_of_skipped(error: RegardError) -> None:
    """Warn that a source is left out, and why."""
    warn(f"{error}\n  skipped")


@dataclass(frozen=True)
class Reading:
    """How sources are read.

    Attributes:
        vid_stride: every how many frames of a video one is read.
        recursive: whether the subfolders of folders are read.
        skip: is called with the reason for each file that is skipped.
        skip_source: the same for each source of several that is skipped; `frames` sets it.
    """

    vid_stride: int = PredictSettings().vid_stride
    recursive: bool = False
    skip: Callable[[RegardError], None] = warn_of_skipped
    skip_source: Callable[[RegardError], None] = warn_of_skipped


READING = Reading()


def frames(source: Source, reading: Reading = READING) -> Iterator[Frame]:
    """Yield the images of a source one by one, in sorted order within a folder or pattern.

    Of several sources, those that do not exist or cannot be read are skipped with a warning, so that one of them does
    not stop the others.

    Raises:
        RegardError: the only source that is named, or all of them, cannot be found or read; or ``source`` is nothing
            that can be read.
    """
    absent: list[RegardError] = []

    def skip(error: RegardError) -> None:
        absent.append(error)
        reading.skip(error)

    is_empty = True
    for frame in _frames(source, replace(reading, skip_source=skip), keep=True, only=True):
        yield frame
        is_empty = False
    if absent and is_empty:
        raise absent[0]


def check_source(source: Source, *, recursive: bool = False) -> None:
    """Check that there is something to read, as far as names of files show it, before a model is opened for it.

    Raises:
        RegardError: the only source that is named, or all of them, cannot be found.
    """
    absent: list[RegardError] = []
    for item in source if isinstance(source, list | tuple) else [source]:
        if not isinstance(item, str | Path) or _is_url(name := str(item)) or is_live(name) or is_file(Path(name)):
            return
        try:
            _paths(name, Reading(recursive=recursive))
        except RegardError as error:
            absent.append(error)
        else:
            return
    if absent:
        raise absent[0]


def _frames(source: Source, reading: Reading, *, keep: bool, only: bool) -> Iterator[Frame]:
    """Yield images.

    Args:
        source: what to read.
        reading: how.
        keep: whether frames may refer to images in memory, to read them again.
        only: whether there are no other sources.
    """
    if isinstance(source, (str, Path)) or (isinstance(source, int) and not isinstance(source, bool)):
        try:
            yield from _named_frames(str(source), reading, only)
        except RegardError as error:
            if only:
                raise
            reading.skip_source(error)
    elif is_image(source):
        yield Frame(to_rgb(source), _name_of(source), read=partial(to_rgb, source) if keep else None)
    elif isinstance(source, Iterable) and not isinstance(source, Mapping):
        keep, only = keep and not isinstance(source, Iterator), only and _is_one(source)
        for item in source:
            yield from _frames(item, reading, keep=keep, only=only)
    else:
        what = "no source is given: it is None" if source is None else f"cannot read images from a {_kind(source)}"
        raise RegardError(what, expected=f"a path, folder, pattern, video or URL; {EXPECTED}; or a list of those")


def is_single_image(source: Source) -> bool:
    """Whether a source is one image rather than any number of them."""
    if not isinstance(source, (str, Path)):
        return is_image(source)
    path = Path(source)
    return _is_url(str(source)) or (is_file(path) and not is_film(path) and path.suffix.lower() != LIST_SUFFIX)


def holds_one_image(source: Source) -> bool:
    """Whether a source is one image, or a sequence of one."""
    return is_single_image(source) or (_is_one(source) and is_single_image(source[0]))  # type: ignore[index]


def _is_one(source: object) -> bool:
    return isinstance(source, Sequence) and not isinstance(source, str) and len(source) == 1


def _name_of(image: object) -> str:
    """File that a PIL image was opened from, "" for any other image."""
    name = getattr(image, "filename", "")
    return name if isinstance(name, str) else ""


def _kind(value: object) -> str:
    return type(value).__name__


def _named_frames(name: str, reading: Reading, only: bool) -> Iterator[Frame]:
    if _is_url(name):
        image = _download(name)
        yield Frame(image, name, read=partial(to_rgb, image))
        return
    if is_live(name):
        yield from live_frames(name, reading.vid_stride)
        return
    paths = _paths(name, reading)
    for path, read in zip(paths, prefetch_map(_read, paths, READERS), strict=True):
        try:
            yield from film_frames(path, reading.vid_stride) if read is None else [_checked(read)]
        except RegardError as error:
            if only and paths == [Path(name)]:
                raise
            reading.skip(error)


def _read(path: Path) -> Frame | RegardError | None:
    """Decode an image file; a failure is a value, and None is a film, which is read frame by frame."""
    if is_film(path):
        return None
    try:
        return Frame(ImageFile(path).read(), str(path), read=ImageFile(path).read)
    except RegardError as error:
        return error


def _checked(read: Frame | RegardError) -> Frame:
    if isinstance(read, RegardError):
        raise read
    return read


def _paths(name: str, reading: Reading) -> list[Path]:
    path, hint = Path(name), None
    if not name:
        raise RegardError("an empty name is given as a source", expected="a file, folder, pattern or URL")
    if is_file(path):
        return _listed(path, reading) if path.suffix.lower() == LIST_SUFFIX else [path]
    if is_folder(path):
        inside = files_below(path) if reading.recursive else sorted(path.iterdir())
        found = [p for p in inside if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
        if not found and any(p.suffix.lower() in SUFFIXES for p in files_below(path)):
            hint = "its subfolders have some: use --recursive (in Python: recursive=True)"
    elif glob.has_magic(name):
        found = matching_files(name)
        if not found and not re.search("[*?]", name):  # brackets in the name of a file that is not there
            raise _nothing_there(name)
    else:
        raise _nothing_there(name)
    if not found:
        expected = f"files that end in {' '.join(sorted(SUFFIXES))}"
        raise RegardError("no images or videos found", file=name, expected=expected, hint=hint)
    return found


def _listed(file: Path, reading: Reading) -> list[Path]:
    """Find the files that a text file lists, one path per line, relative to the list or to the working directory."""
    found, problems = listed_images(file, [file.parent, Path()], {})
    for problem in problems:
        error = RegardError(f"{problem.kind}: {problem.found}", file=file)
        if problem.lost:
            reading.skip(error)
        else:
            warn(f"{error}: {problem.done}")
    if not found:
        raise RegardError("lists no file that exists", file=file, expected="one path of an image or video per line")
    return found


def _nothing_there(name: str) -> RegardError:
    """Describe a source that is neither a file nor a folder."""
    reject_special(name)
    if stream := SCHEME.match(name):
        expected = "http or https for an image, rtsp or rtmp for a stream"
        return RegardError(f"{name!r}: {stream[1]} addresses are not read", expected=expected)
    return RegardError("no such file or folder", file=name, hint=nearest_path(Path(name)))


def _is_url(name: str) -> bool:
    return name.lower().startswith(("http://", "https://"))


def _download(url: str) -> NDArray[np.uint8]:
    import http.client  # not at the top: the import takes 20 ms, which files do not need

    answer: list[bytes | Exception] = []
    # The timeout of a socket begins again with every byte, and none applies to the look-up of a name.
    reader = threading.Thread(target=_fetch, args=(url, answer), daemon=True)
    reader.start()
    reader.join(DOWNLOAD_SECONDS)
    data = answer[0] if answer else TimeoutError(f"more than {DOWNLOAD_SECONDS} seconds")
    if isinstance(data, OSError | http.client.HTTPException | ValueError):
        reason = getattr(data, "reason", data)
        reason = getattr(reason, "strerror", None) or reason
        raise RegardError(f"cannot download {url} ({reason})", hint="save the image and give its path") from data
    if isinstance(data, Exception):
        raise data
    image = decode_bytes(data)
    if image is None:
        raise undecoded(data, url)
    return image


def _fetch(url: str, answer: list[bytes | Exception]) -> None:
    """Add the body of a URL, or the exception, to ``answer``."""
    import urllib.request

    try:
        end, data = time.monotonic() + DOWNLOAD_SECONDS, b""
        with urllib.request.urlopen(url, timeout=IDLE_SECONDS) as response:
            while block := response.read1(2**20):
                data += block
                if len(data) > DOWNLOAD_BYTES or time.monotonic() > end:
                    raise ValueError(f"more than {DOWNLOAD_BYTES:,} bytes or {DOWNLOAD_SECONDS} seconds")
        answer.append(data)
    except Exception as error:  # raised where it is waited for
        answer.append(error)
