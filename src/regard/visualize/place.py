"""From pixels of the original image to cells of a layer's map, and back."""

from __future__ import annotations

from regard.errors import RegardError
from regard.types import LetterboxTransform

Point = tuple[float, float]
"""x, y in pixels."""


def check_point(point: Point, image_size: tuple[int, int]) -> Point:
    """Return ``point`` if it lies in an image of (height, width).

    Raises:
        RegardError: it does not.
    """
    height, width = image_size
    if not (0 <= point[0] < width and 0 <= point[1] < height):
        raise RegardError(
            f"the query {point[0]:g},{point[1]:g} lies outside the image of {width} x {height} pixels",
            expected=f"x of 0..{width - 1} and y of 0..{height - 1}, as in {width // 2},{height // 2}",
        )
    return point


def to_input(point: Point, placement: LetterboxTransform) -> Point:
    """Move a point from pixels of the original image to pixels of the network's input."""
    (x, y), scale, pad = point, placement.scale, placement.pad
    return x * scale[0] + pad[0], y * scale[1] + pad[1]


def cell_at(
    point: Point, placement: LetterboxTransform, input_size: tuple[int, int], map_size: tuple[int, int]
) -> tuple[int, int]:
    """Return the (row, column) of the cell of a layer's map that covers a point of the original image.

    Args:
        point: x, y in pixels of the original image.
        placement: how the image lies on the input.
        input_size: (height, width) of the network's input.
        map_size: (height, width) of the layer's map.
    """
    x, y = to_input(point, placement)
    row, column = int(y * map_size[0] / input_size[0]), int(x * map_size[1] / input_size[1])
    return min(max(row, 0), map_size[0] - 1), min(max(column, 0), map_size[1] - 1)


def map_edges(placement: LetterboxTransform, input_size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return where the edges of every map lie: left, right, bottom, top in pixels of the original image.

    Maps cover the whole input, so the edges lie outside the image where it was padded.
    """
    (scale_x, scale_y), (left, top) = placement.scale, placement.pad
    height, width = input_size
    return -left / scale_x, (width - left) / scale_x, (height - top) / scale_y, -top / scale_y
