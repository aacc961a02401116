"""Images at the training size: read from their files, or kept in memory or on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from regard.data.dataset import ImageSource
from regard.data.images import ImageFile, read_reduced
from regard.data.letterbox import Image, fit_long_side
from regard.errors import RegardError
from regard.system.files import atomic_write, is_file
from regard.system.resources import available_cores

CacheKind = Literal["none", "ram", "disk"]

MOST_BYTES = 2 * 2**30
MEMORY_SHARE = 8
"""``choose_cache`` uses at most ``MOST_BYTES``, and at most 1 / ``MEMORY_SHARE`` of the memory."""


class ImageStore(Protocol):
    """Images by index, their long side at most the training size."""

    def read(self, index: int) -> Image:
        """Load an image as (H, W, 3) RGB; the caller must not change it, as it may be shared.

        Raises:
            RegardError: the image cannot be read.
        """


class Uncached:
    """Reads and reduces an image each time it is requested."""

    def __init__(self, sources: Sequence[ImageSource], imgsz: int) -> None:
        self.sources, self.imgsz = tuple(sources), imgsz

    def read(self, index: int) -> Image:
        """Load an image; see ``ImageStore.read``."""
        return fit_long_side(read_reduced(self.sources[index], self.imgsz), self.imgsz, enlarge=False)


class RamCache:
    """Reads all images in advance, in threads, so that forked worker processes share their memory."""

    def __init__(self, sources: Sequence[ImageSource], imgsz: int) -> None:
        with ThreadPoolExecutor(available_cores()) as pool:
            self.images = list(pool.map(_Attempt(Uncached(sources, imgsz)), range(len(sources))))

    def read(self, index: int) -> Image:
        """Load an image; see ``ImageStore.read``."""
        image = self.images[index]
        if isinstance(image, RegardError):
            raise image
        return image


class _Attempt:
    """Reads an image, or returns the error."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    def __call__(self, index: int) -> Image | RegardError:
        try:
            return self._store.read(index)
        except RegardError as error:
            return error


class DiskCache:
    """Keeps reduced images as .npy files in a folder; images that do not come from files are not cached.

    An entry belongs to one path, file size, modification time and training size, so a changed file is read again.
    """

    def __init__(self, sources: Sequence[ImageSource], imgsz: int, folder: Path) -> None:
        self.origin, self.folder = Uncached(sources, imgsz), folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, index: int) -> Image:
        """Load an image; see ``ImageStore.read``."""
        source = self.origin.sources[index]
        if not isinstance(source, ImageFile) or not is_file(source.path):
            return self.origin.read(index)
        entry = self._entry(source.path)
        cached = _load(entry)
        if cached is not None:
            return cached
        image = self.origin.read(index)
        with atomic_write(entry) as file:  # several worker processes may write the same entry at the same time
            np.save(file, image, allow_pickle=False)
        return image

    def _entry(self, path: Path) -> Path:
        state = path.stat()
        key = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{self.origin.imgsz}|reduced"
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"


def choose_cache(images: int, imgsz: int, memory_bytes: int) -> CacheKind:
    """Choose "ram" if all images at the training size fit into a small part of the memory, else "none".

    Args:
        images: number of images.
        imgsz: long side of each image in pixels; the short side is assumed to be as long.
        memory_bytes: available memory, divided by the number of processes that each keep their own cache.

    Example:
        >>> choose_cache(128, 640, memory_bytes=16 * 2**30), choose_cache(100_000, 640, memory_bytes=16 * 2**30)
        ('ram', 'none')
    """
    return "ram" if images * imgsz**2 * 3 <= min(MOST_BYTES, memory_bytes // MEMORY_SHARE) else "none"


def open_store(sources: Sequence[ImageSource], imgsz: int, cache: CacheKind, folder: Path | None = None) -> ImageStore:
    """Open the images of a data set with the chosen kind of cache.

    Args:
        sources: the images.
        imgsz: training size; longer images are reduced to it.
        cache: "none", "ram" or "disk".
        folder: where the "disk" cache is written; the other kinds write nothing.

    Raises:
        RegardError: the "disk" cache has no folder.
    """
    if cache == "ram":
        return RamCache(sources, imgsz)
    if cache == "disk":
        if folder is None:
            raise RegardError("the disk cache has no folder", expected="a folder to write reduced images to")
        return DiskCache(sources, imgsz, folder)
    return Uncached(sources, imgsz)


def _load(entry: Path) -> Image | None:
    """Load an entry; None if it is missing, or damaged after a power failure or on a full disk."""
    try:
        image: Image = np.load(entry, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return image
