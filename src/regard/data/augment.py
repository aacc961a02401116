"""Augmentation of labelled images: mosaic, random affine, mixup, colour and flips.

Every function is pure: it takes images, settings and a random generator, and gives a new labelled image.
Mosaic is from YOLOv4 (arXiv 2004.10934), mixup from arXiv 1710.09412; ranges are YOLOv5 v6's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.config import AugmentSettings
from regard.data.affine import Matrix, Tile, clip_boxes, paint, random_transform, scaling, transform_boxes, translation
from regard.data.letterbox import Image

MIXUP_BETA = 32.0
"""Both parameters of mixup's Beta distribution: near one half, as both images keep their boxes at full weight."""


class Labelled(NamedTuple):
    """An image with its boxes.

    Attributes:
        image: (H, W, 3) RGB.
        boxes_xyxy: (N, 4) in pixels of the image.
        class_ids: (N,).
    """

    image: Image
    boxes_xyxy: NDArray[np.float64]
    class_ids: NDArray[np.int64]


def augment(
    index: int,
    read: Callable[[int], Labelled],
    count: int,
    size: tuple[int, int],
    settings: AugmentSettings,
    rng: np.random.Generator,
    *,
    combine: bool = True,
) -> Labelled:
    """Make one training image out of a data set.

    Args:
        index: the image wanted; partners for mosaic and mixup are drawn from the whole set.
        read: gives the labelled image at an index, no larger than the training size.
        count: images in the set.
        size: (height, width) of the result.
        settings: probabilities and ranges.
        rng: where every draw comes from.
        combine: whether mosaic and mixup may be drawn; without mosaic an image is letterboxed.
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
    samples: Sequence[Labelled], size: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator
) -> Labelled:
    """Lay four images around a random point of a canvas twice the size, then look at it through a random affine.

    The images touch at a point drawn from the middle half of the canvas, each scaled to fit ``size``. The window of
    ``size`` is centred on the canvas's middle before the affine. They are painted straight into the window, so where
    it reaches past the canvas it shows the images' own pixels, if there are any, in place of grey.

    Args:
        samples: four: upper left, upper right, lower left, lower right.
        size: (height, width) of the result.
        settings: ranges of the affine.
        rng: where the draws come from.
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
    sample: Labelled, size: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator
) -> Labelled:
    """Fit one image into ``size`` on grey, centred on whole pixels, and take it through a random affine."""
    tile_height, tile_width = sample.image.shape[:2]
    scale = min(size[0] / tile_height, size[1] / tile_width)
    left, top = (size[1] - round(tile_width * scale)) // 2, (size[0] - round(tile_height * scale)) // 2
    view = random_transform((size[1] / 2, size[0] / 2), size, settings, rng)
    return _compose([sample], [view @ translation(left, top) @ scaling(scale, scale)], size)


def mixup(first: Labelled, second: Labelled, rng: np.random.Generator) -> Labelled:
    """Blend two images of one size, r * first + (1 - r) * second with r ~ Beta(32, 32), and keep all boxes."""
    ratio = rng.beta(MIXUP_BETA, MIXUP_BETA)
    image = cv2.addWeighted(first.image, ratio, second.image, 1 - ratio, 0)
    return Labelled(
        np.asarray(image, dtype=np.uint8),
        np.concatenate([first.boxes_xyxy, second.boxes_xyxy]),
        np.concatenate([first.class_ids, second.class_ids]),
    )


def vary_hsv(image: Image, settings: AugmentSettings, rng: np.random.Generator) -> Image:
    """Turn the hue of an RGB image by up to ``hsv_h`` of the circle; scale saturation and value by 1 +- their range."""
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


def flip_left_right(sample: Labelled) -> Labelled:
    """Mirror an image and its boxes."""
    boxes = sample.boxes_xyxy.copy()
    boxes[:, [0, 2]] = sample.image.shape[1] - sample.boxes_xyxy[:, [2, 0]]
    # Not a view: copied into a batch, one of mirrored pixels takes many times as long as the mirroring.
    return sample._replace(image=np.asarray(cv2.flip(sample.image, 1), dtype=np.uint8), boxes_xyxy=boxes)


def flip_up_down(sample: Labelled) -> Labelled:
    """Turn an image (as a view of it) and its boxes upside down."""
    boxes = sample.boxes_xyxy.copy()
    boxes[:, [1, 3]] = sample.image.shape[0] - sample.boxes_xyxy[:, [3, 1]]
    return sample._replace(image=sample.image[::-1], boxes_xyxy=boxes)


def _random_mosaic(
    index: int,
    read: Callable[[int], Labelled],
    count: int,
    size: tuple[int, int],
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> Labelled:
    four = rng.permutation([index, *rng.integers(count, size=3)])
    return mosaic([read(int(i)) for i in four], size, settings, rng)


def _compose(samples: Sequence[Labelled], matrices: Sequence[Matrix], size: tuple[int, int]) -> Labelled:
    """Paint images through their matrices, and keep the boxes that remain."""
    image = paint([Tile(sample.image, matrix) for sample, matrix in zip(samples, matrices, strict=True)], size)
    moved = [transform_boxes(sample.boxes_xyxy, matrix) for sample, matrix in zip(samples, matrices, strict=True)]
    boxes, keep = clip_boxes(np.concatenate(moved), size)
    return Labelled(image, boxes[keep], np.concatenate([sample.class_ids for sample in samples])[keep])
