"""The form of raw outputs, defined once for arrays and tensors, and their decoding without torch.

In YOLOv5 each anchor of each cell has x, y, width, height, objectness and the classes, before the sigmoid; in later
families each cell has distances to the four sides, as distributions or numbers, and the classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regard.config import Settings

if TYPE_CHECKING:
    from torch import Tensor

Float32: TypeAlias = NDArray[np.float32]
Values = TypeVar("Values", NDArray[Any], "Tensor")

OTHERS = 5
"""Outputs of each anchor before the classes: x, y, width, height, objectness."""

MARGIN = 1e-3
"""Room for rounding where logits are compared with a threshold first, and probabilities afterwards."""


def centre_and_size(s: Values, anchor_wh: Values) -> tuple[Values, Values]:
    """Compute boxes from sigmoids s (..., 4 or more): centre 2 s_xy - 0.5 and size (2 s_wh)^2 anchor, each (..., 2).

    The centre is relative to the corner of the cell, in cells; the size is in the unit of the anchors (..., 2).

    Example:
        >>> centre_and_size(np.full((1, 4), 0.5), np.array([[8.0, 16.0]]))
        (array([[0.5, 0.5]]), array([[ 8., 16.]]))
    """
    return 2 * s[..., :2] - 0.5, (2 * s[..., 2:4]) ** 2 * anchor_wh


def class_scores(s: Values) -> Values:
    """Multiply objectness and class probabilities: (..., OTHERS + nc) -> (..., nc)."""
    return s[..., 4:OTHERS] * s[..., OTHERS:]


def least_logit(conf: float) -> float:
    """Logit that a probability above ``conf`` exceeds, with a margin for rounding; -inf if ``conf`` is 0 or less."""
    return math.log(conf / (1 - conf)) - MARGIN if 0 < conf < 1 else math.copysign(math.inf, conf - 0.5)


_Side: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RawDecoder(Settings):
    """What decodes the raw levels of an anchor-based head as `regard.nn.heads.YOLOv5Head.decode` does, cell by cell."""

    strides: tuple[int, ...] = Field(description="input pixels per cell of each level")
    anchors: tuple[Annotated[tuple[tuple[_Side, _Side], ...], Field(min_length=1)], ...] = Field(
        description="(levels, A): width, height in strides"
    )

    def channels(self, nc: int) -> tuple[int, ...]:
        """Number of channels of each level."""
        return tuple(len(anchors) * (OTHERS + nc) for anchors in self.anchors)

    def decode(self, levels: Sequence[Float32], conf: float) -> Float32:
        """Decode the cells of one image that may have a class score above ``conf``.

        No class scores above objectness, so the other cells are dropped before anything is computed for them.

        Args:
            levels: per level (A * (OTHERS + nc), rows, columns), before the sigmoid.
            conf: all predictions are kept where it is negative.

        Returns:
            (n, 4 + nc): centre x, centre y, width, height in input pixels, class scores; those of NaN are kept.
        """
        least = least_logit(conf)
        found = []
        for level, anchors, stride in zip(levels, self.anchors, self.strides, strict=True):
            _, height, width = level.shape
            cells = level.reshape(len(anchors), -1, height, width)
            anchor, y, x = np.nonzero(~(cells[:, 4] <= least))
            with np.errstate(over="ignore"):
                s = 1 / (1 + np.exp(-cells[anchor, :, y, x].astype(np.float32)))
            corner = np.stack([x, y], axis=1).astype(np.float32)
            anchor_wh = np.array(anchors, dtype=np.float32)[anchor] * np.float32(stride)
            centre, size = centre_and_size(s, anchor_wh)
            found.append(np.concatenate([(centre + corner) * np.float32(stride), size, class_scores(s)], axis=1))
        rows = np.concatenate(found)
        return rows[~(rows[:, 4:] <= conf).all(axis=1)]


class DistanceDecoder(Settings):
    """What decodes the raw levels of an anchor-free head as `regard.nn.heads.AnchorFreeHead.decode` does."""

    strides: tuple[int, ...] = Field(description="input pixels per cell of each level")
    bins: int = Field(ge=1, le=1024, description="of the distribution of each distance; 1 for the distance itself")

    def channels(self, nc: int) -> tuple[int, ...]:
        """Number of channels of each level."""
        return (4 * self.bins + nc,) * len(self.strides)

    def decode(self, levels: Sequence[Float32], conf: float) -> Float32:
        """Decode the cells of one image that have a class score above ``conf``.

        Args:
            levels: per level (4 * bins + nc, rows, columns), before softmax and sigmoid.
            conf: all predictions are kept where it is negative.

        Returns:
            (n, 4 + nc): centre x, centre y, width, height in input pixels, class scores; those of NaN are kept.
        """
        least, others = least_logit(conf), 4 * self.bins
        found = []
        for level, stride in zip(levels, self.strides, strict=True):
            cells = level.reshape(len(level), -1)
            likely = np.flatnonzero(~(cells[others:].max(axis=0) <= least))
            own = cells[:, likely].astype(np.float32)
            distances = self._distances(own[:others].reshape(4, self.bins, -1))
            y, x = np.divmod(likely, level.shape[2])
            points = np.stack([x, y]).astype(np.float32) + np.float32(0.5)
            low, high = points - distances[:2], points + distances[2:]
            boxes = np.concatenate([(low + high) / 2, high - low]) * np.float32(stride)
            with np.errstate(over="ignore"):
                scores = 1 / (1 + np.exp(-own[others:]))
            found.append(np.concatenate([boxes, scores]).T)
        rows: Float32 = np.concatenate(found)
        return rows[~(rows[:, 4:] <= conf).all(axis=1)]

    def _distances(self, bins: Float32) -> Float32:
        """(4, R, n) logits -> (4, n) expected distances in cells."""
        if self.bins == 1:
            return bins[:, 0]
        shares = np.exp(bins - bins.max(axis=1, keepdims=True))
        expected: Float32 = np.einsum("srn,r->sn", shares, np.arange(self.bins, dtype=np.float32)) / shares.sum(axis=1)
        return expected
