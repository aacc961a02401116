"""Class colours for pictures: easy to tell apart on photographs, the same for a class wherever it is drawn."""

from __future__ import annotations

Colour = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

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


def class_colour(class_id: int) -> Colour:
    """Return the colour of a class; they repeat after 20."""
    return PALETTE[class_id % len(PALETTE)]


def text_colour(background: Colour) -> Colour:
    """Return black or white, whichever reads better on ``background`` (relative luminance, ITU-R BT.709)."""
    red, green, blue = background
    return BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 120 else WHITE
