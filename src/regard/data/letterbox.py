"""Letterboxing of images and mapping boxes back to the original image: the preprocessing of YOLOv5 v6.

A point (x, y) of the original image is at ``(x, y) * scale + pad`` on the network's input. The image itself is pasted
at whole pixels; ``pad`` is stored unrounded, as YOLOv5 does, or for later families (``whole_pixels``) as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.types import Detections, LetterboxTransform

GREY = 114
"""Value of all three channels in the padding."""

Image = NDArray[np.uint8]
Float = TypeVar("Float", np.float32, np.float64)


def letterbox(
    image: Image, size: tuple[int, int], *, enlarge: bool = True, whole_pixels: bool = False
) -> tuple[Image, LetterboxTransform]:
    """Scale an image to fit into ``size``, keep its aspect ratio, and centre it on grey.

    Args:
        image: (H, W, 3).
        size: (height, width) of the result.
        enlarge: whether an image smaller than ``size`` is enlarged; otherwise it is only padded.
        whole_pixels: whether the transform has the sides of the scaled image and the padding as they are, in whole
            pixels, as in Ultralytics, instead of unrounded, as in YOLOv5.

    Returns:
        The (height, width, 3) image and the transform from the original image to it.

    Example:
        >>> image = np.zeros((100, 200, 3), np.uint8)
        >>> boxed, transform = letterbox(image, (320, 320))
        >>> boxed.shape, transform.scale, transform.pad
        ((320, 320, 3), (1.6, 1.6), (0.0, 80.0))
    """
    height, width = image.shape[:2]
    scale = _fitting_scale((height, width), size)
    scale = scale if enlarge else min(scale, 1.0)
    return _scaled(image, scale, size), _transform((height, width), scale, size, whole_pixels)


def letterbox_rect(
    image: Image, imgsz: int, stride: int = 32, *, whole_pixels: bool = False
) -> tuple[Image, LetterboxTransform]:
    """Letterbox an image for prediction: long side ``imgsz``, with the least padding to multiples of the stride.

    The transform is the one that YOLOv5 uses to map boxes back, that of an image fitted into the padded size. Where the
    short side was rounded down to a multiple of the stride it is off by up to half an input pixel, as in YOLOv5.

    Args:
        image: (H, W, 3).
        imgsz: length of the long side in pixels; rounded up to a multiple of the stride.
        stride: largest stride of the detector.
        whole_pixels: see ``letterbox``.

    Returns:
        The image, of the size that ``rect_size`` computes, and the transform from the original image to it.
    """
    height, width = image.shape[:2]
    size = rect_size((height, width), imgsz, stride)
    boxed = _scaled(image, _rect_scale((height, width), imgsz, stride), size)
    return boxed, _transform((height, width), _fitting_scale((height, width), size), size, whole_pixels)


def rect_size(image_size: tuple[int, int], imgsz: int, stride: int = 32) -> tuple[int, int]:
    """Compute the smallest input, in multiples of ``stride``, for an image whose long side is scaled to ``imgsz``.

    Args:
        image_size: (height, width) in pixels.
        imgsz: length of the long side in input pixels; rounded up to a multiple of the stride.
        stride: largest stride of the detector.

    Returns:
        (height, width) of the input.

    Example:
        >>> rect_size((480, 640), 640), rect_size((427, 640), 600)
        ((480, 640), (416, 608))
    """
    scale = _rect_scale(image_size, imgsz, stride)
    height, width = (max(math.ceil(round(side * scale) / stride), 1) * stride for side in image_size)
    return height, width


def fit_long_side(image: Image, imgsz: int, *, enlarge: bool = True) -> Image:
    """Scale the long side of an (H, W, 3) image to ``imgsz`` pixels; the short side is rounded up.

    Shrinking averages over areas, which avoids aliasing; enlarging is bilinear.
    """
    height, width = image.shape[:2]
    scale = imgsz / max(height, width)
    if scale > 1 and not enlarge:
        return image
    size = (min(math.ceil(height * scale), imgsz), min(math.ceil(width * scale), imgsz))
    return _resize(image, size, cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def letterbox_validation(image: Image, imgsz: int, size: tuple[int, int]) -> tuple[Image, LetterboxTransform]:
    """Letterbox an image for validation: long side exactly ``imgsz``, centred on the batch's ``size``.

    Args:
        image: (H, W, 3).
        imgsz: length of the long side in pixels.
        size: (height, width) of the result, from ``validation_sizes``; at least as large as the scaled image.

    Returns:
        The (height, width, 3) image and the transform from the original image to it.
    """
    height, width = image.shape[:2]
    fitted = fit_long_side(image, imgsz)
    new_height, new_width = fitted.shape[:2]
    pad = ((size[1] - new_width) / 2, (size[0] - new_height) / 2)
    return _pad(fitted, size), LetterboxTransform((height, width), (new_width / width, new_height / height), pad)


def aspect_order(image_sizes: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Sort images by height / width; images of equal ratio keep their order. Gives their indices."""
    aspects = np.array([height / width for height, width in image_sizes], dtype=np.float64)
    return np.argsort(aspects, kind="stable").astype(np.int64)


def validation_sizes(
    image_sizes: Sequence[tuple[int, int]], imgsz: int, batch: int, stride: int = 32, pad: float = 0.5
) -> list[tuple[int, int]]:
    """Compute (height, width) of the input for each batch of images, in multiples of the stride.

    Args:
        image_sizes: (height, width) of every image in the order in which they are loaded, usually ``aspect_order``.
        imgsz: length of the long side in pixels.
        batch: images per batch; the last batch may be smaller.
        stride: largest stride of the detector.
        pad: margin in strides, added before rounding up; YOLOv5 v6 validates with 0.5.
    """
    sizes = []
    for start in range(0, len(image_sizes), batch):
        aspects = [height / width for height, width in image_sizes[start : start + batch]]
        height, width = 1.0, 1.0
        if max(aspects) < 1:
            height = max(aspects)
        elif min(aspects) > 1:
            width = 1 / min(aspects)
        rows, columns = (math.ceil(side * imgsz / stride + pad) for side in (height, width))
        sizes.append((rows * stride, columns * stride))
    return sizes


def restore_boxes(boxes_xyxy: NDArray[Float], placement: LetterboxTransform) -> NDArray[Float]:
    """Map (..., 4) boxes from input pixels back to pixels of the original image and clip them to it."""
    scale, pad = _per_corner(placement, boxes_xyxy)
    height, width = placement.image_size
    limit = np.array([width, height, width, height], dtype=boxes_xyxy.dtype)
    restored: NDArray[Float] = np.clip((boxes_xyxy - pad) / scale, 0, limit)
    return restored


def _pad(image: Image, size: tuple[int, int]) -> Image:
    """Centre an image on grey; an odd pixel of padding goes to the right and the bottom."""
    height, width = image.shape[:2]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    bottom, right = size[0] - height - top, size[1] - width - left
    padded = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY))
    return np.asarray(padded, dtype=np.uint8)


def _resize(image: Image, size: tuple[int, int], interpolation: int) -> Image:
    """Resize to (height, width), both at least one pixel."""
    height, width = max(size[0], 1), max(size[1], 1)
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.uint8)


def _fitting_scale(image_size: tuple[int, int], size: tuple[int, int]) -> float:
    return min(size[0] / image_size[0], size[1] / image_size[1])


def _rect_scale(image_size: tuple[int, int], imgsz: int, stride: int) -> float:
    side = math.ceil(imgsz / stride) * stride
    return _fitting_scale(image_size, (side, side))


def _scaled(image: Image, scale: float, size: tuple[int, int]) -> Image:
    height, width = (round(side * scale) for side in image.shape[:2])
    return _pad(_resize(image, (height, width), cv2.INTER_LINEAR), size)


def _transform(
    image_size: tuple[int, int], scale: float, size: tuple[int, int], whole_pixels: bool
) -> LetterboxTransform:
    height, width = image_size
    if whole_pixels:
        new_height, new_width = (max(round(side * scale), 1) for side in image_size)
        pad = (size[1] - new_width) // 2, (size[0] - new_height) // 2
        return LetterboxTransform(image_size, (new_width / width, new_height / height), pad)
    return LetterboxTransform(
        image_size, (scale, scale), ((size[1] - width * scale) / 2, (size[0] - height * scale) / 2)
    )


def _per_corner(placement: LetterboxTransform, like: NDArray[Float]) -> tuple[NDArray[Float], NDArray[Float]]:
    """Scale and padding for (x, y, x, y)."""
    scale = np.array(placement.scale * 2, dtype=like.dtype)
    return scale, np.array(placement.pad * 2, dtype=like.dtype)


def to_detections(
    rows: NDArray[np.float32],
    transform: LetterboxTransform,
    names: Mapping[int, str],
    source: str,
    read_image: Callable[[], Image] | None = None,
) -> Detections:
    """Turn what NMS keeps (n, 6), in input pixels, into detections in pixels of the original image.

    Args:
        rows: left, top, right, bottom, score, class index.
        transform: how the image was placed on the input.
        names: class names, by class index.
        source: where the image came from.
        read_image: reads the image again.
    """
    return Detections(
        boxes_xyxy=restore_boxes(rows[:, :4], transform).astype(np.float32),
        scores=rows[:, 4],
        class_ids=rows[:, 5].astype(np.int64),
        names=names,
        image_size=transform.image_size,
        source=source,
        read_image=read_image,
    )
