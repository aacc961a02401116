"""Decoding of a head's raw levels in NumPy, for compiled models: only likely cells are decoded. No torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regard.config import Settings

Float32: TypeAlias = NDArray[np.float32]

MARGIN = 1e-3
"""Room for rounding where logits are compared with a threshold first, and probabilities afterwards."""


class RawDecoder(Settings):
    """What decodes the raw levels of an anchor-based head as `regard.nn.heads.YOLOv5Head.decode` does, cell by cell."""

    strides: tuple[int, ...] = Field(description="input pixels per cell of each level")
    anchors: tuple[tuple[tuple[float, float], ...], ...] = Field(description="(levels, A): width, height in strides")

    def decode(self, levels: Sequence[Float32], conf: float) -> Float32:
        """Decode the cells of one image that may have a class score above ``conf``.

        No class scores above objectness, so the other cells are dropped before anything is computed for them.

        Args:
            levels: per level (A * (5 + nc), rows, columns), before the sigmoid.
            conf: all predictions are kept where it is negative.

        Returns:
            (n, 4 + nc): centre x, centre y, width, height in input pixels, class scores.
        """
        least = math.log(conf / (1 - conf)) - MARGIN if 0 < conf < 1 else math.copysign(math.inf, conf - 0.5)
        found = []
        for level, anchors, stride in zip(levels, self.anchors, self.strides, strict=True):
            _, height, width = level.shape
            cells = level.reshape(len(anchors), -1, height, width)
            anchor, y, x = np.nonzero(cells[:, 4] > least)
            s = 1 / (1 + np.exp(-cells[anchor, :, y, x].astype(np.float32)))
            corner = np.stack([x, y], axis=1).astype(np.float32)
            centre = (2 * s[:, :2] - np.float32(0.5) + corner) * np.float32(stride)
            prior = np.array(anchors, dtype=np.float32)[anchor] * np.float32(stride)
            found.append(np.concatenate([centre, (2 * s[:, 2:4]) ** 2 * prior, s[:, 4:5] * s[:, 5:]], axis=1))
        rows = np.concatenate(found)
        return rows[(rows[:, 4:] > conf).any(axis=1)]
