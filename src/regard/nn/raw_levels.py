"""The form of YOLOv5's raw outputs, defined once for arrays and tensors, and their decoding without torch.

Each anchor of each cell has x, y, width, height, objectness and the classes, before the sigmoid.
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
