"""What can be wrong with an image file, found by opening it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.data.dataset import Problem, Sample
from regard.data.images import EXIF_ORIENTATION, ImageFile
from regard.errors import RegardError


@dataclass(frozen=True)
class Inspection:
    """What opening one image told: a hash of its content ("" if unreadable), and what is unusual about it."""

    digest: str
    problems: tuple[Problem, ...]


def inspect_image(record: Sample) -> Inspection:
    """Open the image of ``record``, decode it fully, and compare it with what its labels say."""
    image = record.image
    if not isinstance(image, ImageFile):
        return Inspection(_digest(image.read().tobytes()), ())
    try:
        pixels = image.read()
    except RegardError as error:
        return Inspection("", (Problem("unreadable image", image.name, error.what, "training stops: remove it"),))
    problems = [*_encoding_problems(image), *_size_problems(pixels, record)]
    return Inspection(_digest(image.path.read_bytes()), tuple(problems))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _encoding_problems(image: ImageFile) -> list[Problem]:
    problems = []
    orientation, fault = _pillow_opinion(image.path)
    if fault:
        problems.append(Problem("damaged image", image.name, fault, "used as far as it can be decoded"))
    if orientation != 1:
        done = "turned upright; the labels must be for the upright image"
        problems.append(Problem("EXIF rotation", image.name, f"orientation {orientation}", done))
    stored = cv2.imread(str(image.path), cv2.IMREAD_UNCHANGED)
    if stored is None:
        return problems
    channels = 1 if stored.ndim == 2 else stored.shape[2]
    if channels == 1:
        problems.append(Problem("grayscale image", image.name, "1 channel", "repeated over three channels"))
    if channels == 4:
        problems.append(Problem("RGBA image", image.name, "4 channels", "alpha dropped"))
    if stored.dtype != np.uint8:
        bits = 8 * stored.dtype.itemsize
        problems.append(Problem(f"{bits}-bit image", image.name, f"{bits} bits a channel", "upper 8 bits kept"))
    return problems


def _pillow_opinion(path: Path) -> tuple[int, str]:
    """Return the EXIF orientation and what keeps Pillow from decoding the file: OpenCV fills a cut file with grey."""
    orientation = 1
    try:
        with Image.open(path) as picture:
            orientation = int(picture.getexif().get(EXIF_ORIENTATION, 1))
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return orientation, str(error)
    return orientation, ""


def _size_problems(pixels: NDArray[np.uint8], record: Sample) -> list[Problem]:
    height, width = pixels.shape[:2]
    if record.labelled_size in (None, (height, width)):
        return []
    stated_height, stated_width = record.labelled_size or (0, 0)
    found = f"{width} x {height}, but labelled as {stated_width} x {stated_height}"
    return [Problem("wrong size in labels", record.image.name, found, "boxes kept as fractions of the labelled size")]
