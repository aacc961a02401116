"""Text on images: by OpenCV, from version 5 on in all scripts; before, by Pillow in installed fonts."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.errors import warn
from regard.system.terminal import printable

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Colour = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

FONT = cv2.FONT_HERSHEY_SIMPLEX  # the bindings crash on text that is no UTF-8
REFERENCE_HEIGHT = 21.0
"""Height of a capital letter of ``FONT`` at scale 1, in pixels."""
HAS_ALL_SCRIPTS = int(cv2.__version__.partition(".")[0]) >= 5
"""Whether OpenCV draws other letters than those of ASCII, for which version 4 draws question marks."""
CAPITAL = 0.72
"""Height of a capital letter in most fonts, as a part of the font's size."""


def draw_text(
    canvas: NDArray[np.uint8], text: str, left_base: tuple[int, int], colour: Colour, letter_height: float
) -> None:
    """Write ``text`` on ``canvas`` in place, starting with the lower left corner at ``left_base``."""
    shown = printable(text)
    if HAS_ALL_SCRIPTS or shown.isascii():
        scale = letter_height / REFERENCE_HEIGHT
        cv2.putText(canvas, shown, left_base, FONT, scale, colour, _stroke(letter_height), cv2.LINE_AA)
        return
    mask, base = _letters(shown, letter_height)
    top, left = left_base[1] - base, left_base[0]
    mask = mask[max(0, -top) : canvas.shape[0] - top, max(0, -left) : canvas.shape[1] - left, None]
    part = canvas[max(0, top) :, max(0, left) :][: mask.shape[0], : mask.shape[1]]
    part[...] = np.rint(part + (np.asarray(colour) - part.astype(float)) * mask).astype(np.uint8)


def text_width(text: str, letter_height: float) -> int:
    """Measure the width of ``text`` in pixels."""
    shown = printable(text)
    if HAS_ALL_SCRIPTS or shown.isascii():
        (width, _), _ = cv2.getTextSize(shown, FONT, letter_height / REFERENCE_HEIGHT, _stroke(letter_height))
        return int(width)
    return _letters(shown, letter_height)[0].shape[1]


def _stroke(letter_height: float) -> int:
    return max(1, round(letter_height / 10))


@lru_cache(maxsize=256)
def _letters(text: str, letter_height: float) -> tuple[NDArray[np.float64], int]:
    """Draw a text by Pillow: (height, width) from 0, nothing, to 1, and the row of its base line."""
    from PIL import Image, ImageDraw

    fonts = _fonts("".join(sorted({"?", *text})))
    size = max(1, round(letter_height / CAPITAL))
    known = "".join(letter if letter in fonts else "?" for letter in text)
    runs = [(font.font_variant(size=size), "".join(run)) for font, run in groupby(known, fonts.__getitem__)]
    image = Image.new("L", (max(1, ceil(sum(font.getlength(run) for font, run in runs))), 2 * size))
    x, base = 0.0, round(1.5 * size)
    for font, run in runs:
        ImageDraw.Draw(image).text((x, base), run, 255, font, anchor="ls")
        x += font.getlength(run)
    return np.asarray(image) / 255.0, base


@lru_cache(maxsize=64)
def _fonts(letters: str) -> dict[str, FreeTypeFont]:
    """Open a font for each letter, with a warning of those that no font has."""
    from PIL import ImageFont

    from regard.system.fonts import files_for  # by matplotlib, whose import takes a while

    files = files_for(letters)
    missing = "".join(letter for letter in letters if letter not in files and not letter.isspace())
    if missing:
        how = "install one, such as Noto Sans CJK, or OpenCV 5, which needs none"
        warn(f"no installed font has the letters {missing:.40}: images have question marks in their place; {how}")
    opened = {file: ImageFont.truetype(file, index=getattr(file, "face_index", 0)) for file in {*files.values()}}
    return {letter: opened[file] for letter, file in files.items()}
