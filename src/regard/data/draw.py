"""Boxes and captions on pictures, with the lettering that OpenCV carries: no font is looked for."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.data.palette import Colour, text_colour

FONT = cv2.FONT_HERSHEY_SIMPLEX
REFERENCE_HEIGHT = 21.0
"""Pixels that a capital letter of ``FONT`` is high at scale 1."""


def draw_boxes(
    image: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.floating],
    captions: Sequence[str],
    colours: Sequence[Colour],
    *,
    letter_height: float | None = None,
) -> NDArray[np.uint8]:
    """Return a copy of ``image`` with boxes on it, small ones above large ones, captions above all.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy: (N, 4) left, top, right, bottom in pixels.
        captions: text for each box; an empty one draws none.
        colours: colour of each box.
        letter_height: of the captions' capitals in pixels; None chooses by the size of the image.
    """
    canvas = np.ascontiguousarray(image).copy()
    letters = letter_height or max(8.0, min(canvas.shape[:2]) / 60)
    width = max(2, round(letters / 5))
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
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


def draw_text(
    canvas: NDArray[np.uint8], text: str, left_base: tuple[int, int], colour: Colour, letter_height: float
) -> None:
    """Write ``text`` on ``canvas`` itself, its first letter's lower left corner at ``left_base``."""
    scale = letter_height / REFERENCE_HEIGHT
    cv2.putText(canvas, text, left_base, FONT, scale, colour, _stroke(letter_height), cv2.LINE_AA)


def text_width(text: str, letter_height: float) -> int:
    """Return the width in pixels that ``text`` takes."""
    (width, _), _ = cv2.getTextSize(text, FONT, letter_height / REFERENCE_HEIGHT, _stroke(letter_height))
    return int(width)


def _draw_tag(
    canvas: NDArray[np.uint8], text: str, corner: tuple[int, int], colour: Colour, letter_height: float
) -> None:
    """Draw a filled label that sits on the box's upper edge, moved inside the picture where it would leave it."""
    pad = max(2, round(letter_height / 3))
    height, width = round(letter_height) + 2 * pad, text_width(text, letter_height) + 2 * pad
    left = max(0, min(corner[0] - 1, canvas.shape[1] - width))
    top = corner[1] - height if corner[1] >= height else max(0, corner[1])
    cv2.rectangle(canvas, (left, top), (left + width, top + height), colour, cv2.FILLED)
    draw_text(canvas, text, (left + pad, top + height - pad), text_colour(colour), letter_height)


def _stroke(letter_height: float) -> int:
    return max(1, round(letter_height / 10))
