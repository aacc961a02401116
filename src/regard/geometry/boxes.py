"""The two forms of a box: centre and size, and corners. For NumPy arrays and tensors alike; torch is not imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Boxes = TypeVar("Boxes", NDArray[Any], "Tensor")


def cxcywh_to_xyxy(boxes: Boxes) -> Boxes:
    """Turn (..., 4) boxes from centre x, centre y, width, height into left, top, right, bottom.

    Example:
        >>> cxcywh_to_xyxy(np.array([[10.0, 20.0, 4.0, 6.0]]))
        array([[ 8., 17., 12., 23.]])
    """
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return _joined(centre - half, centre + half)


def xyxy_to_cxcywh(boxes: Boxes) -> Boxes:
    """Turn (..., 4) boxes from left, top, right, bottom into centre x, centre y, width, height.

    Example:
        >>> xyxy_to_cxcywh(np.array([[8.0, 17.0, 12.0, 23.0]]))
        array([[10., 20.,  4.,  6.]])
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    return _joined((low + high) / 2, high - low)


def _joined(first: Boxes, second: Boxes) -> Boxes:
    if isinstance(first, np.ndarray):
        return np.concatenate((first, second), axis=-1)
    import torch

    return torch.cat((first, second), dim=-1)
