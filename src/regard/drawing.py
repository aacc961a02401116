"""Boxes, class names and scores drawn on images, in a fixed colour per class."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.lettering import Colour, draw_text, text_width

PALETTE: tuple[Colour, ...] = (
    (255, 92, 92),
    (52, 152, 255),
    (255, 200, 46),
    (46, 204, 133),
    (186, 104, 255),
    (255, 140, 40),
    (38, 208, 220),
    (255, 110, 190),
    (160, 214, 60),
    (124, 132, 255),
    (214, 150, 106),
    (0, 164, 150),
    (232, 72, 150),
    (150, 190, 255),
    (226, 226, 110),
    (110, 170, 90),
    (205, 150, 235),
    (255, 172, 150),
    (90, 160, 190),
    (190, 196, 204),
)

BLACK: Colour = (16, 18, 22)
WHITE: Colour = (255, 255, 255)

SHOWN_SIDE = 640
"""Long side in pixels up to which an image that is shown, not saved, is enlarged by a whole factor."""


def encode_image(image: NDArray[np.uint8], suffix: str, quality: int = 95) -> bytes:
    """Encode an (H, W, 3) uint8 RGB image as the content of a file with a suffix such as ".png".

    Args:
        image: to encode.
        suffix: of the format.
        quality: of a JPEG, 0 to 100.

    Raises:
        OSError: OpenCV cannot encode it, for example as the format does not hold so many pixels.

    Example:
        >>> encode_image(np.zeros((2, 3, 3), np.uint8), ".png")[1:4]
        b'PNG'
    """
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in (".jpg", ".jpeg") else []
    try:
        is_encoded, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    except cv2.error:
        is_encoded = False
    if not is_encoded:
        raise OSError(f"OpenCV cannot encode an image of {image.shape[1]} x {image.shape[0]} pixels as {suffix}")
    return data.tobytes()


def shrink(image: NDArray[np.uint8], longest: int = 960) -> NDArray[np.uint8]:
    """Scale an image so that its long side is at most ``longest`` pixels; a smaller one is returned as it is.

    Example:
        >>> shrink(np.zeros((40, 60, 3), np.uint8), 30).shape
        (20, 30, 3)
    """
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in (image.shape[1], image.shape[0])]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def heat_map(panels: NDArray[np.floating], side: int = 240, most: int = 16) -> NDArray[np.uint8]:
    """Colour maps (N, H, W) by viridis, each from its least to its greatest value, next to each other.

    Args:
        panels: the maps; ``most`` of them are drawn.
        side: least length of the long side of each, in pixels; a cell is a square of equal pixels.
        most: number of maps.

    Returns:
        (height, width, 3) uint8 RGB, white between the maps.

    Example:
        >>> heat_map(np.arange(6.0).reshape(1, 2, 3), side=30).shape
        (20, 30, 3)
    """
    drawn = []
    for panel in panels[:most]:
        values = np.nan_to_num(panel)
        low, high = values.min(), values.max()
        levels = np.rint(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8)
        colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
        cell = -(-side // max(panel.shape))
        height = max(cell, 24 if len(panel) == 1 else 1)  # a single row of cells is a strip
        drawn += [colours.repeat(height, axis=0).repeat(cell, axis=1), np.full((len(panel) * height, 4, 3), 255)]
    return np.concatenate(drawn[:-1], axis=1).astype(np.uint8)


def draw_boxes(
    image: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.floating],
    captions: Sequence[str],
    colours: Sequence[Colour],
    *,
    letter_height: float | None = None,
    least_side: int = 0,
) -> NDArray[np.uint8]:
    """Draw boxes on a copy of ``image``, small ones above large ones and all captions on top.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy: (N, 4) left, top, right, bottom in pixels.
        captions: text for each box; an empty text draws no caption.
        colours: colour of each box.
        letter_height: height of capital letters in pixels; None chooses it by the size of the image.
        least_side: a smaller image is enlarged first, by the largest whole factor that does not go beyond this long
            side, in pixels: captions, which cannot become smaller, would cover it.
    """
    factor = max(1, least_side // max(image.shape[:2]))
    canvas = np.ascontiguousarray(image.repeat(factor, axis=0).repeat(factor, axis=1))
    letters = letter_height or max(8.0, min(canvas.shape[:2]) / 60)
    width = max(2, round(letters / 5))
    boxes = factor * np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    order = [int(index) for index in np.argsort(-sizes)]
    corners = np.rint(boxes).astype(int).tolist()
    for index in order:
        left, top, right, bottom = corners[index]
        cv2.rectangle(canvas, (left, top), (right, bottom), colours[index], width, cv2.LINE_AA)
    for index in order:
        if captions[index]:
            _draw_tag(canvas, captions[index], (corners[index][0], corners[index][1]), colours[index], letters)
    return canvas


def draw_detections(
    image: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.floating],
    class_ids: NDArray[np.int64],
    names: Sequence[str],
    scores: NDArray[np.floating],
    *,
    larger: bool,
) -> NDArray[np.uint8]:
    """Draw boxes in the colours of their classes, with names and scores; see `draw_boxes`.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy: (N, 4) left, top, right, bottom in pixels.
        class_ids: (N,) of each box.
        names: of the class of each box.
        scores: (N,) of each box, 0 to 1.
        larger: enlarge an image of less than half of `SHOWN_SIDE`, so that captions do not cover it.
    """
    captions = [f"{name} {score:.2f}" for name, score in zip(names, scores.tolist(), strict=True)]
    colours = [class_colour(class_id) for class_id in class_ids.tolist()]
    return draw_boxes(image, boxes_xyxy, captions, colours, least_side=SHOWN_SIDE if larger else 0)


def class_colour(class_id: int) -> Colour:
    """Colour of a class in all drawings; the colours repeat after 20 classes."""
    return PALETTE[class_id % len(PALETTE)]


def text_colour(background: Colour) -> Colour:
    """Choose black or white for text on ``background`` by its relative luminance (ITU-R BT.709)."""
    red, green, blue = background
    return BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 120 else WHITE


def _draw_tag(
    canvas: NDArray[np.uint8], text: str, corner: tuple[int, int], colour: Colour, letter_height: float
) -> None:
    """Draw a filled label on the upper edge of a box, moved inside the image if it would extend beyond it."""
    pad = max(2, round(letter_height / 3))
    height, width = round(letter_height) + 2 * pad, text_width(text, letter_height) + 2 * pad
    left = max(0, min(corner[0] - 1, canvas.shape[1] - width))
    top = corner[1] - height if corner[1] >= height else max(0, corner[1])
    cv2.rectangle(canvas, (left, top), (left + width, top + height), colour, cv2.FILLED)
    draw_text(canvas, text, (left + pad, top + height - pad), text_colour(colour), letter_height)
