"""Image files, decoded to upright RGB with three channels of eight bits."""

from __future__ import annotations

import io
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import ImageSource
from regard.errors import RegardError
from regard.system.files import check_readable, is_file, reject_special

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger("regard.data")

JPEG_SUFFIXES = frozenset({".jfif", ".jpe", ".jpeg", ".jpg"})

IMAGE_SUFFIXES = JPEG_SUFFIXES | {
    *(".avif", ".bmp", ".dib", ".gif", ".jp2", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
}
"""Lower-case suffixes of image files; of an animation the first frame is read."""

ANY_DEPTH = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH

REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
    (0, ANY_DEPTH),
)
"""For each of OpenCV's reduced decodings, how many times the long side must be as long as the training size."""

MAX_PIXELS = os.environ.get("OPENCV_IO_MAX_IMAGE_PIXELS", "2**30")
"""Largest image that OpenCV decodes; ``regard`` sets the variable before OpenCV is loaded, unless the user has."""
LIMIT = f"at most {MAX_PIXELS} pixels"
LIMIT_HINT = "the environment variable OPENCV_IO_MAX_IMAGE_PIXELS sets another limit"
MAX_BYTES = 2**30
"""Largest file that is decoded from memory."""

EXIF_ORIENTATION = 0x0112
"""EXIF tag of the camera's orientation: 1 is upright, 5 to 8 swap width and height; others do not exist."""


@dataclass(frozen=True)
class ImageFile:
    """An image in a file, read with OpenCV.

    The pixels are those of ``cv2.imread(path, IMREAD_COLOR)`` in RGB order: rotated upright by EXIF, grayscale
    repeated over three channels, alpha dropped, and 16 bits scaled by their range to eight. A truncated JPEG is decoded
    as far as its data reaches (``cv2.imdecode`` would reject it).
    """

    path: Path

    @property
    def name(self) -> str:
        """The path as text."""
        return str(self.path)

    def read(self) -> NDArray[np.uint8]:
        """Decode the image to (H, W, 3) uint8 RGB, upright.

        Raises:
            RegardError: the file is missing, or OpenCV cannot decode it.
        """
        return self._read(ANY_DEPTH)

    def read_reduced(self, imgsz: int) -> NDArray[np.uint8]:
        """Decode a JPEG at the smallest of 1, 1/2, 1/4 and 1/8 of its size whose long side is at least ``imgsz``.

        Other formats are decoded at their full size. A JPEG is reduced while it is decoded, by a smaller inverse
        transform. That takes a fraction of the time and averages over areas, as shrinking afterwards does, although
        the last bits differ.

        Raises:
            RegardError: as for ``read``.
        """
        size = _header_size(self.path) if self.path.suffix.lower() in JPEG_SUFFIXES else None
        shrink = max(size) // imgsz if size else 1
        return self._read(next(flag for least, flag in REDUCED if shrink >= least))

    def _read(self, flag: int) -> NDArray[np.uint8]:
        if not is_file(self.path):  # otherwise OpenCV would print a warning
            reject_special(self.path)
            raise RegardError("the image file does not exist", file=self.path)
        bgr = decode(self.path, flag)
        if bgr is None:
            check_readable(self.path)
            if pixels := excess_pixels(self.path):
                raise RegardError(
                    f"the image has more pixels than are decoded: {pixels}",
                    file=self.path,
                    expected=LIMIT,
                    hint=LIMIT_HINT,
                )
            raise RegardError(
                "the file is not an image that OpenCV can decode",
                file=self.path,
                expected=f"one of {', '.join(sorted(IMAGE_SUFFIXES))}, of up to {MAX_PIXELS} pixels",
            )
        return cv2.cvtColor(to_eight_bits(bgr), cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def to_eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale 16-bit or floating-point pixels, the smallest to 0 and the largest to 255; 8 bits stay as they are.

    Cameras store 10, 12 or 14 bits in 16, whose upper eight bits would be almost black.

    Example:
        >>> to_eight_bits(np.array([[1000, 1500, 2000]], np.uint16)).tolist()
        [[0, 128, 255]]
    """
    if pixels.dtype == np.uint8:
        return pixels
    finite = np.nan_to_num(pixels.astype(np.float32), posinf=0, neginf=0)
    low, high = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
    return np.rint((finite - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)


def decode_bytes(data: bytes) -> NDArray[np.uint8] | None:
    """Decode the content of an image file to (H, W, 3) uint8 RGB, as `ImageFile.read` does, or None."""
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), ANY_DEPTH) if data else None
    except cv2.error:  # for example more pixels than OpenCV accepts
        return None
    return None if bgr is None else cv2.cvtColor(to_eight_bits(bgr), cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def undecoded(data: bytes, what: str) -> RegardError:
    """Describe why `decode_bytes` has found no image in ``data``, which ``what`` names: it is none, or is too large."""
    if pixels := excess_pixels(io.BytesIO(data)):
        return RegardError(f"{what} has more pixels than are decoded: {pixels}", expected=LIMIT, hint=LIMIT_HINT)
    return RegardError(f"{what} is not an image", expected="an image file that OpenCV decodes")


def excess_pixels(source: Path | IO[bytes]) -> str:
    """Width and height in pixels that the header of an image states; "" if they are not more than OpenCV decodes."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # nothing is decoded here
            with Image.open(source) as header:
                width, height = header.size
        return f"{width} x {height}" if width * height > int(MAX_PIXELS) else ""
    except Image.DecompressionBombError:
        return f"over {MAX_PIXELS}"
    except Exception:  # of a damaged file Pillow raises errors of any kind
        return ""


def read_reduced(image: ImageSource, imgsz: int) -> NDArray[np.uint8]:
    """Decode an image at a reduced size where its format allows it; see `ImageFile.read_reduced`.

    Raises:
        RegardError: the image cannot be read.
    """
    return image.read_reduced(imgsz) if isinstance(image, ImageFile) else image.read()


class ReadFailures:
    """Warns of each image that cannot be read, and gives up if there are too many.

    Args:
        total: number of images. A hundredth of them may fail, or up to ten that are at most half of them.
    """

    def __init__(self, total: int) -> None:
        self._most = max(total // 100, min(total // 2, 10))
        self._failed: set[str] = set()

    def add(self, name: str, error: RegardError) -> None:
        """Record that the image ``name`` cannot be read, and is replaced by an empty one.

        Raises:
            RegardError: ``error``, if too many images cannot be read.
        """
        if name in self._failed:
            return
        self._failed.add(name)
        if len(self._failed) > self._most:
            raise error
        log.warning("%s: %s; an empty image is used instead", name, error.what)


def decode(path: Path, flag: int) -> cv2.typing.MatLike | None:
    """Decode to (H, W, 3) BGR, or as ``flag`` says, or None; from memory if OpenCV fails on the file.

    OpenCV 5.0 does so for rotated TIFFs.
    """
    try:
        bgr = cv2.imread(str(path), flag) if is_encodable(path) else None
        if bgr is None and 0 < path.stat().st_size <= MAX_BYTES:
            bgr = cv2.imdecode(np.fromfile(path, dtype=np.uint8), flag)
    except (cv2.error, OSError):  # for example more pixels than OpenCV accepts
        return None
    return bgr


def is_encodable(path: Path) -> bool:
    """Check that a path is valid UTF-8, as OpenCV needs; its bindings crash the process on any other."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def image_size(image: ImageSource) -> tuple[int, int]:
    """Determine (height, width) in pixels of the upright image, from the file's header if possible.

    Raises:
        RegardError: the image cannot be read.
    """
    if isinstance(image, ImageFile):
        size = _header_size(image.path)
        if size is not None:
            return size
    height, width = image.read().shape[:2]
    return height, width


def exif_orientation(image: Image.Image) -> int:
    """Look up the camera's orientation, 1 to 8; 1 if the file states none or one that does not exist, such as 0."""
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _header_size(path: Path) -> tuple[int, int] | None:
    """Read the upright size from the header; None if only decoding determines it reliably."""
    from PIL import Image  # not at the top: prediction reads no headers

    if not is_file(path):  # a pipe would be waited for
        return None
    try:
        with Image.open(path) as header:
            orientation = exif_orientation(header)
            width, height = header.size
            if orientation == 1:
                return height, width
            if header.format == "JPEG":  # OpenCV's versions differ in which other formats they rotate
                return (width, height) if orientation in (5, 6, 7, 8) else (height, width)
    except Exception:  # of a damaged file Pillow raises errors of any kind; OpenCV then decides
        return None
    return None
