"""Reading images at the training size, from memory or disk where the user wants that."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from regard.data.dataset import ImageSource
from regard.data.images import ImageFile, read_reduced
from regard.data.letterbox import Image, fit_long_side
from regard.errors import RegardError

CacheKind = Literal["none", "ram", "disk"]

MOST_BYTES = 2 * 2**30
MEMORY_SHARE = 8
"""``choose_cache`` takes at most ``MOST_BYTES``, and at most one part in so many of the memory."""


class ImageStore(Protocol):
    """Gives images by index, their long side at most the training size."""

    def read(self, index: int) -> Image:
        """Return the (H, W, 3) RGB image, to be looked at only.

        Raises:
            RegardError: the image cannot be read.
        """


class Uncached:
    """Reads and reduces an image every time."""

    def __init__(self, sources: Sequence[ImageSource], imgsz: int) -> None:
        self.sources, self.imgsz = tuple(sources), imgsz

    def read(self, index: int) -> Image:
        """See ``ImageStore.read``."""
        return fit_long_side(read_reduced(self.sources[index], self.imgsz), self.imgsz, enlarge=False)


class RamCache:
    """Reads all images at once, in threads, so that forked worker processes share their memory."""

    def __init__(self, sources: Sequence[ImageSource], imgsz: int) -> None:
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            self.images = list(pool.map(Uncached(sources, imgsz).read, range(len(sources))))

    def read(self, index: int) -> Image:
        """See ``ImageStore.read``."""
        return self.images[index]


class DiskCache:
    """Keeps the reduced images of files as .npy in a folder; images that are not files are made anew each time.

    An entry belongs to one path, file size, modification time and training size, so a changed file is read again.
    """

    def __init__(self, sources: Sequence[ImageSource], imgsz: int, folder: Path) -> None:
        self.origin, self.folder = Uncached(sources, imgsz), folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, index: int) -> Image:
        """See ``ImageStore.read``."""
        source = self.origin.sources[index]
        if not isinstance(source, ImageFile) or not source.path.is_file():
            return self.origin.read(index)
        entry = self._entry(source.path)
        cached = _load(entry)
        if cached is not None:
            return cached
        image = self.origin.read(index)
        _write(entry, image)
        return image

    def _entry(self, path: Path) -> Path:
        state = path.stat()
        key = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{self.origin.imgsz}|reduced"
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"


def choose_cache(images: int, imgsz: int, memory_bytes: int) -> CacheKind:
    """Return "ram" where a small part of the memory holds all images at the training size, else "none".

    Args:
        images: how many.
        imgsz: long side of each in pixels; the short one is taken to be as long.
        memory_bytes: of the machine, divided among the processes that each keep their own.
    """
    return "ram" if images * imgsz**2 * 3 <= min(MOST_BYTES, memory_bytes // MEMORY_SHARE) else "none"


def open_store(sources: Sequence[ImageSource], imgsz: int, cache: CacheKind, folder: Path | None = None) -> ImageStore:
    """Return the store for a kind of cache.

    Args:
        sources: the images.
        imgsz: training size; longer images are reduced to it.
        cache: "none", "ram" or "disk".
        folder: where "disk" writes; nothing is written anywhere else.

    Raises:
        RegardError: "disk" without a folder, or an image that "ram" cannot read.
    """
    if cache == "ram":
        return RamCache(sources, imgsz)
    if cache == "disk":
        if folder is None:
            raise RegardError("the disk cache has no folder", expected="a folder to write reduced images to")
        return DiskCache(sources, imgsz, folder)
    return Uncached(sources, imgsz)


def _load(entry: Path) -> Image | None:
    """Return an entry, or None where it is missing or damaged, as after a power cut or on a full disk."""
    try:
        image: Image = np.load(entry, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return image


def _write(entry: Path, image: Image) -> None:
    """Write beside and rename, as several worker processes may make the same entry at once."""
    try:
        with tempfile.NamedTemporaryFile(dir=entry.parent, suffix=".part", delete=False) as file:
            np.save(file, image, allow_pickle=False)
        os.replace(file.name, entry)
    except OSError as error:
        raise RegardError(f"the disk cache cannot be written: {error}", file=entry.parent) from error
