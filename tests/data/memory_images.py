"""Labelled images that lie in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Sample
from regard.errors import RegardError

SIZES = ((41, 61), (67, 43), (53, 53), (29, 97), (31, 37), (89, 47), (59, 71))


@dataclass(frozen=True)
class MemoryImage:
    name: str
    pixels: NDArray[np.uint8]

    def read(self) -> NDArray[np.uint8]:
        return self.pixels


@dataclass(frozen=True)
class BrokenImage:
    name: str

    def read(self) -> NDArray[np.uint8]:
        raise RegardError("the file is not an image", file=self.name)


def record(k: int, boxes: int) -> Sample:
    rng = np.random.default_rng(k)
    pixels = rng.integers(0, 256, (*SIZES[k % len(SIZES)], 3), dtype=np.uint8)
    pixels.setflags(write=False)
    sides = rng.uniform(0.2, 0.5, (boxes, 2))
    centres = sides / 2 + rng.random((boxes, 2)) * (1 - sides)
    return Sample(MemoryImage(f"image {k}", pixels), np.hstack([centres, sides]), rng.integers(0, 5, boxes), k)
