"""Augmentation of labelled images: mosaic, random affine transforms, mixup, colour changes and flips.

Every function is pure: it takes images, settings and a random generator, and makes a new labelled image. Mosaic comes
from YOLOv4 (arXiv 2004.10934), mixup from arXiv 1710.09412; the ranges are those of YOLOv5 v6.

A transform is a 3x3 matrix on points in pixels. Whole numbers are the edges of pixels, so a box that bounds an object
before the transform still bounds it afterwards. Images are sampled directly from their own pixels onto the final
canvas, without a larger canvas in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.config import AugmentSettings
from regard.data.letterbox import GREY, Image

MIXUP_BETA = 32.0
"""Both parameters of mixup's Beta distribution; the ratio stays near one half, since all boxes count fully."""

MIN_SIDE = 2.0
MAX_ASPECT_RATIO = 100.0
MIN_AREA_LEFT = 0.1

Matrix = NDArray[np.float64]


class LabelledImage(NamedTuple):
    """An image with its boxes.

    Attributes:
        image: (H, W, 3) RGB.
        boxes_xyxy: (N, 4) in pixels of the image.
        class_ids: (N,).
    """

    image: Image
    boxes_xyxy: NDArray[np.float64]
    class_ids: NDArray[np.int64]


class Tile(NamedTuple):
    """An (H, W, 3) image and the (3, 3) matrix that maps its pixels to the canvas."""

    image: Image
    matrix: Matrix


def augment(
    index: int,
    read: Callable[[int], LabelledImage],
    count: int,
    size: tuple[int, int],
    settings: AugmentSettings,
    rng: np.random.Generator,
    *,
    combine: bool = True,
) -> LabelledImage:
    """Make one training image from a data set.

    Args:
        index: the image to use; partners for mosaic and mixup are drawn from the whole data set.
        read: loads the labelled image at an index, no larger than the training size.
        count: number of images in the data set.
        size: (height, width) of the result.
        settings: probabilities and ranges.
        rng: source of all random numbers.
        combine: whether mosaic and mixup may be applied; without mosaic the image is letterboxed.
    """
    if combine and rng.random() < settings.mosaic:
        sample = _random_mosaic(index, read, count, size, settings, rng)
        if rng.random() < settings.mixup:
            other = _random_mosaic(int(rng.integers(count)), read, count, size, settings, rng)
            sample = mixup(sample, other, rng)
    else:
        sample = letterbox_affine(read(index), size, settings, rng)
    sample = sample._replace(image=vary_hsv(sample.image, settings, rng))
    if rng.random() < settings.fliplr:
        sample = flip_left_right(sample)
    if rng.random() < settings.flipud:
        sample = flip_up_down(sample)
    return sample


def mosaic(
    samples: Sequence[LabelledImage], size: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator
) -> LabelledImage:
    """Arrange four images around a random point of a canvas of twice the size and take a random affine crop of it.

    Each image is scaled to fit ``size``; they touch at a point drawn from the middle half of the canvas. The crop of
    ``size`` is centred on the canvas before the affine transform. The images are sampled directly into the crop, so
    where it extends beyond the canvas it shows further pixels of the images, if there are any, instead of grey.

    Args:
        samples: four images: upper left, upper right, lower left, lower right.
        size: (height, width) of the result.
        settings: ranges of the affine transform.
        rng: source of all random numbers.
    """
    height, width = size
    x, y = rng.uniform(0.5, 1.5, 2) * (width, height)
    view = random_transform((width, height), size, settings, rng)
    placed = []
    for position, sample in enumerate(samples):
        tile_height, tile_width = sample.image.shape[:2]
        scale = min(height / tile_height, width / tile_width)
        left = x if position % 2 else x - tile_width * scale
        top = y if position // 2 else y - tile_height * scale
        placed.append(view @ translation(left, top) @ scaling(scale, scale))
    return _compose(samples, placed, size)


def letterbox_affine(
    sample: LabelledImage, size: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator
) -> LabelledImage:
    """Fit one image into ``size`` on grey, centred at whole pixels, and apply a random affine transform."""
    tile_height, tile_width = sample.image.shape[:2]
    scale = min(size[0] / tile_height, size[1] / tile_width)
    left, top = (size[1] - round(tile_width * scale)) // 2, (size[0] - round(tile_height * scale)) // 2
    view = random_transform((size[1] / 2, size[0] / 2), size, settings, rng)
    return _compose([sample], [view @ translation(left, top) @ scaling(scale, scale)], size)


def mixup(first: LabelledImage, second: LabelledImage, rng: np.random.Generator) -> LabelledImage:
    """Blend two images of one size, r * first + (1 - r) * second with r ~ Beta(32, 32), and keep all boxes."""
    ratio = rng.beta(MIXUP_BETA, MIXUP_BETA)
    image = cv2.addWeighted(first.image, ratio, second.image, 1 - ratio, 0)
    return LabelledImage(
        np.asarray(image, dtype=np.uint8),
        np.concatenate([first.boxes_xyxy, second.boxes_xyxy]),
        np.concatenate([first.class_ids, second.class_ids]),
    )


def vary_hsv(image: Image, settings: AugmentSettings, rng: np.random.Generator) -> Image:
    """Shift the hue of an RGB image by up to ``hsv_h`` of the circle; scale saturation and value by 1 +- ranges."""
    hue, saturation, value = rng.uniform(-1, 1, 3) * (settings.hsv_h, settings.hsv_s, settings.hsv_v)
    if not (hue or saturation or value):
        return image
    levels = np.arange(256)
    table = np.empty((1, 256, 3), dtype=np.uint8)
    table[0, :, 0] = np.rint(levels + 180 * hue) % 180  # OpenCV's hue is in steps of two degrees
    table[0, :, 1] = np.clip(levels * (1 + saturation), 0, 255)
    table[0, :, 2] = np.clip(levels * (1 + value), 0, 255)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    cv2.LUT(hsv, table, dst=hsv)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=hsv), dtype=np.uint8)


def flip_left_right(sample: LabelledImage) -> LabelledImage:
    """Mirror an image and its boxes horizontally."""
    boxes = sample.boxes_xyxy.copy()
    boxes[:, [0, 2]] = sample.image.shape[1] - sample.boxes_xyxy[:, [2, 0]]
    # Not a view: copying mirrored pixels into a batch takes many times as long as mirroring them here.
    return sample._replace(image=np.asarray(cv2.flip(sample.image, 1), dtype=np.uint8), boxes_xyxy=boxes)


def flip_up_down(sample: LabelledImage) -> LabelledImage:
    """Mirror an image (as a view) and its boxes vertically."""
    boxes = sample.boxes_xyxy.copy()
    boxes[:, [1, 3]] = sample.image.shape[0] - sample.boxes_xyxy[:, [3, 1]]
    return sample._replace(image=sample.image[::-1], boxes_xyxy=boxes)


def translation(x: float, y: float) -> Matrix:
    """Matrix that moves points by (x, y) pixels."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=np.float64)


def scaling(x: float, y: float) -> Matrix:
    """Matrix that scales points about the origin."""
    return np.diag([x, y, 1.0])


def random_transform(
    centre: tuple[float, float], size: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator
) -> Matrix:
    """Matrix of a random perspective, rotation, scale, shear and shift, applied in this order about ``centre``.

    Args:
        centre: (x, y) of the point that is mapped to the middle of the result, before the shift.
        size: (height, width) of the result.
        settings: range of each part; the same random numbers are drawn for any ranges.
        rng: source of all random numbers.
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
    """Warp images by their matrices onto a grey (height, width, 3) canvas, later images on top."""
    canvas = np.full((*size, 3), GREY, dtype=np.uint8)
    for image, matrix in tiles:
        left, top, right, bottom = _extent(image, matrix, size)
        if left >= right or top >= bottom:
            continue
        # In OpenCV whole numbers are pixel centres; here they are pixel edges.
        shifted = translation(-left - 0.5, -top - 0.5) @ matrix @ translation(0.5, 0.5)
        view = canvas[top:bottom, left:right]
        # An axis-aligned image fills its extent completely; any other must leave the corners as they are.
        border = cv2.BORDER_REPLICATE if _is_axis_aligned(matrix) else cv2.BORDER_TRANSPARENT
        extent = (right - left, bottom - top)
        if np.array_equal(matrix[2], (0, 0, 1)):
            cv2.warpAffine(image, shifted[:2], extent, dst=view, flags=cv2.INTER_LINEAR, borderMode=border)
        else:
            cv2.warpPerspective(image, shifted, extent, dst=view, flags=cv2.INTER_LINEAR, borderMode=border)
    return canvas


def transform_boxes(boxes_xyxy: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Compute the upright (N, 4) boxes around the transformed corners; boxes behind the viewer become NaN."""
    corners = boxes_xyxy[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # (N, 4 corners, xy)
    points, depth = _project(corners, matrix)
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    boxes[(depth <= 0).any(axis=1)] = np.nan
    return boxes


def clip_boxes(boxes_xyxy: NDArray[np.float64], size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Clip (N, 4) boxes to a (height, width) canvas and select those that are still useful for training.

    Returns:
        The clipped boxes, and (N,) bool: True where both sides are at least 2 pixels, the longer side is less than
        100 times the shorter one, and at least a tenth of the area is left.
    """
    clipped = np.clip(boxes_xyxy, 0, [size[1], size[0], size[1], size[0]])
    sides, sides_before = clipped[:, 2:] - clipped[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    longest, shortest = sides.max(axis=1), sides.min(axis=1)
    keep = (shortest >= MIN_SIDE) & (longest < MAX_ASPECT_RATIO * shortest)
    return clipped, keep & (sides.prod(axis=1) >= MIN_AREA_LEFT * sides_before.prod(axis=1))


def _random_mosaic(
    index: int,
    read: Callable[[int], LabelledImage],
    count: int,
    size: tuple[int, int],
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> LabelledImage:
    four = rng.permutation([index, *rng.integers(count, size=3)])
    return mosaic([read(int(i)) for i in four], size, settings, rng)


def _compose(samples: Sequence[LabelledImage], matrices: Sequence[Matrix], size: tuple[int, int]) -> LabelledImage:
    """Warp images onto one canvas and keep the boxes that remain visible."""
    image = paint([Tile(sample.image, matrix) for sample, matrix in zip(samples, matrices, strict=True)], size)
    moved = [transform_boxes(sample.boxes_xyxy, matrix) for sample, matrix in zip(samples, matrices, strict=True)]
    boxes, keep = clip_boxes(np.concatenate(moved), size)
    return LabelledImage(image, boxes[keep], np.concatenate([sample.class_ids for sample in samples])[keep])


def _project(points: NDArray[np.float64], matrix: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Transform (..., 2) points; also compute their (...) depth, which is not positive behind the viewer."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    depth = mapped[..., 2]
    return mapped[..., :2] / np.where(depth > 0, depth, 1)[..., None], depth


def _extent(image: Image, matrix: Matrix, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Compute the (left, top, right, bottom) pixels of the canvas that a transformed image can cover."""
    height, width = image.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    points, depth = _project(corners, matrix)
    if (depth <= 0).any():
        return 0, 0, size[1], size[0]
    low, high = points.min(axis=0), points.max(axis=0)
    if _is_axis_aligned(matrix):
        # Neighbouring tiles of a mosaic round their common edge in the same way.
        low, high = np.rint(low), np.rint(high)
    else:
        low, high = np.floor(low), np.ceil(high)
    low, high = np.maximum(low, 0), np.minimum(high, (size[1], size[0]))
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _is_axis_aligned(matrix: Matrix) -> bool:
    return not matrix[[0, 1, 2, 2], [1, 0, 0, 1]].any()
