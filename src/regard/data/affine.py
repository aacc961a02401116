"""Geometry of augmentation: random transforms, painting images through them, and carrying boxes along.

Every transform is a 3x3 matrix on points in pixels whose whole numbers are pixel edges, so a box that bounds its
object before still bounds it afterwards. Images are painted straight from their own pixels onto the final canvas;
no larger canvas is built in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.config import AugmentSettings
from regard.data.letterbox import GREY, Image

MIN_SIDE = 2.0
MAX_ASPECT_RATIO = 100.0
MIN_AREA_LEFT = 0.1

Matrix = NDArray[np.float64]


class Tile(NamedTuple):
    """An (H, W, 3) image and the (3, 3) matrix that takes its pixels to the canvas."""

    image: Image
    matrix: Matrix


def translation(x: float, y: float) -> Matrix:
    """Return the matrix that moves points by (x, y) pixels."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=np.float64)


def scaling(x: float, y: float) -> Matrix:
    """Return the matrix that scales points about the origin."""
    return np.diag([x, y, 1.0])


def random_transform(
    centre: tuple[float, float], size: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator
) -> Matrix:
    """Draw perspective, rotation, scale, shear and shift, in this order, about ``centre``.

    Args:
        centre: (x, y) of the point that lands on the middle of the result, before the shift.
        size: (height, width) of the result.
        settings: how far each may go; the same numbers are drawn whatever they are.
        rng: where the draws come from.
    """
    tilt = rng.uniform(-settings.perspective, settings.perspective, 2)
    angle = np.deg2rad(rng.uniform(-settings.degrees, settings.degrees))
    scale = rng.uniform(1 - settings.scale, 1 + settings.scale)
    shear = np.tan(np.deg2rad(rng.uniform(-settings.shear, settings.shear, 2)))
    shift = rng.uniform(0.5 - settings.translate, 0.5 + settings.translate, 2)

    perspective = np.array([[1, 0, 0], [0, 1, 0], [*tilt, 1]])
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    rotation = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    shearing = np.array([[1, shear[0], 0], [shear[1], 1, 0], [0, 0, 1]])
    to_result = translation(shift[0] * size[1], shift[1] * size[0])
    matrix: Matrix = to_result @ shearing @ rotation @ perspective @ translation(-centre[0], -centre[1])
    return matrix


def paint(tiles: Iterable[Tile], size: tuple[int, int]) -> Image:
    """Draw images through their matrices onto a grey (height, width, 3) canvas, later ones on top."""
    canvas = np.full((*size, 3), GREY, dtype=np.uint8)
    for image, matrix in tiles:
        left, top, right, bottom = _extent(image, matrix, size)
        if left >= right or top >= bottom:
            continue
        # OpenCV's whole numbers are pixel centres; ours are pixel edges.
        shifted = translation(-left - 0.5, -top - 0.5) @ matrix @ translation(0.5, 0.5)
        view = canvas[top:bottom, left:right]
        # An upright image fills its extent to the last pixel; any other leaves corners to what lies beneath.
        border = cv2.BORDER_REPLICATE if _is_upright(matrix) else cv2.BORDER_TRANSPARENT
        extent = (right - left, bottom - top)
        if np.array_equal(matrix[2], (0, 0, 1)):
            cv2.warpAffine(image, shifted[:2], extent, dst=view, flags=cv2.INTER_LINEAR, borderMode=border)
        else:
            cv2.warpPerspective(image, shifted, extent, dst=view, flags=cv2.INTER_LINEAR, borderMode=border)
    return canvas


def transform_boxes(boxes_xyxy: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Return the upright (N, 4) boxes around the transformed corners; those behind the viewer become NaN."""
    corners = boxes_xyxy[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # (N, 4 corners, xy)
    points, depth = _project(corners, matrix)
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    boxes[(depth <= 0).any(axis=1)] = np.nan
    return boxes


def clip_boxes(boxes_xyxy: NDArray[np.float64], size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Clip (N, 4) boxes to a (height, width) canvas and say which are still worth learning from.

    Returns:
        The clipped boxes, and (N,) whether each is at least 2 pixels a side, less than 100 times as long as wide,
        and has kept at least a tenth of its area.
    """
    clipped = np.clip(boxes_xyxy, 0, [size[1], size[0], size[1], size[0]])
    sides, sides_before = clipped[:, 2:] - clipped[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    longest, shortest = sides.max(axis=1), sides.min(axis=1)
    keep = (shortest >= MIN_SIDE) & (longest < MAX_ASPECT_RATIO * shortest)
    return clipped, keep & (sides.prod(axis=1) >= MIN_AREA_LEFT * sides_before.prod(axis=1))


def _project(points: NDArray[np.float64], matrix: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take (..., 2) points through a matrix; also return their (...) depth, not positive behind the viewer."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    depth = mapped[..., 2]
    return mapped[..., :2] / np.where(depth > 0, depth, 1)[..., None], depth


def _extent(image: Image, matrix: Matrix, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the (left, top, right, bottom) pixels of the canvas that a transformed image can touch."""
    height, width = image.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    points, depth = _project(corners, matrix)
    if (depth <= 0).any():
        return 0, 0, size[1], size[0]
    low, high = points.min(axis=0), points.max(axis=0)
    if _is_upright(matrix):
        low, high = np.rint(low), np.rint(high)  # neighbours in a mosaic round their common edge alike
    else:
        low, high = np.floor(low), np.ceil(high)
    low, high = np.maximum(low, 0), np.minimum(high, (size[1], size[0]))
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _is_upright(matrix: Matrix) -> bool:
    return not matrix[[0, 1, 2, 2], [1, 0, 0, 1]].any()
