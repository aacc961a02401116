"""Images from files: always upright, three channels, eight bits, RGB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import ImageSource
from regard.errors import RegardError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Lower-case suffixes of the files that are taken for images."""

JPEG_SUFFIXES = frozenset({".jpeg", ".jpg"})

REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
    (0, cv2.IMREAD_COLOR),
)
"""How often the training size has to fit into the long side, for each of OpenCV's reduced decodings."""

EXIF_ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held: 1 is upright, 5 to 8 swap width and height."""


@dataclass(frozen=True)
class ImageFile:
    """An image in a file, read with OpenCV.

    Pixels are those of ``cv2.imread(path, IMREAD_COLOR)`` in RGB order: turned upright by EXIF, grayscale repeated
    over three channels, alpha dropped, and of 16 bits the upper eight kept. A JPEG that breaks off is read as far as it
    goes (``cv2.imdecode`` would refuse it).
    """

    path: Path

    @property
    def name(self) -> str:
        """The path as text."""
        return str(self.path)

    def read(self) -> NDArray[np.uint8]:
        """Return the image as (H, W, 3) uint8 RGB, upright.

        Raises:
            RegardError: the file is missing or holds no image that OpenCV can decode.
        """
        return self._read(cv2.IMREAD_COLOR)

    def read_reduced(self, imgsz: int) -> NDArray[np.uint8]:
        """Return the image, a JPEG at the least of 1, 1/2, 1/4 and 1/8 of its size whose long side is still ``imgsz``.

        A JPEG is reduced while it is decoded (by a smaller inverse transform), which takes a fraction of the time and
        averages over areas as shrinking afterwards does, though not to the same last bits.

        Raises:
            RegardError: as for ``read``.
        """
        size = _header_size(self.path) if self.path.suffix.lower() in JPEG_SUFFIXES else None
        shrink = max(size) // imgsz if size else 1
        return self._read(next(flag for least, flag in REDUCED if shrink >= least))

    def _read(self, flag: int) -> NDArray[np.uint8]:
        if not self.path.is_file():  # OpenCV would add a warning of its own
            raise RegardError("there is no such image", file=self.path)
        bgr = _decode(self.path, flag)
        if bgr is None:
            raise RegardError(
                "the file is not an image that OpenCV can decode",
                file=self.path,
                expected="one of " + ", ".join(sorted(IMAGE_SUFFIXES)),
            )
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_reduced(image: ImageSource, imgsz: int) -> NDArray[np.uint8]:
    """Return an image whose long side is at least ``imgsz``, or its own; see `ImageFile.read_reduced`.

    Raises:
        RegardError: the image cannot be read.
    """
    return image.read_reduced(imgsz) if isinstance(image, ImageFile) else image.read()


def _decode(path: Path, flag: int) -> cv2.typing.MatLike | None:
    """Return (H, W, 3) BGR, or None; from memory where OpenCV fails from the file (5.0 does on rotated TIFFs)."""
    try:
        bgr = cv2.imread(str(path), flag)
        if bgr is None and path.stat().st_size:
            bgr = cv2.imdecode(np.fromfile(path, dtype=np.uint8), flag)
    except (cv2.error, OSError):  # among others, more pixels than OpenCV is willing to decode
        return None
    return bgr


def image_size(image: ImageSource) -> tuple[int, int]:
    """Return (height, width) in pixels of the upright image, from the file's header where that suffices.

    Raises:
        RegardError: the image cannot be read.
    """
    if isinstance(image, ImageFile):
        size = _header_size(image.path)
        if size is not None:
            return size
    height, width = image.read().shape[:2]
    return height, width


def _header_size(path: Path) -> tuple[int, int] | None:
    """Return the upright size that the header states, or None where only decoding tells it for certain."""
    from PIL import Image  # here, because predicting reads no headers

    try:
        with Image.open(path) as header:
            orientation = header.getexif().get(EXIF_ORIENTATION, 1)
            width, height = header.size
            if orientation == 1:
                return height, width
            if header.format == "JPEG":  # OpenCV's versions differ in which other formats they turn upright
                return (width, height) if orientation in (5, 6, 7, 8) else (height, width)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return None
