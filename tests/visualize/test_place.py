"""A pixel of the image, and the cell of a map that covers it, are one and the same place."""

from __future__ import annotations

import numpy as np
import pytest

from regard.data.letterbox import letterbox
from regard.errors import RegardError
from regard.types import LetterboxTransform
from regard.visualize.attend import cell_at, check_point
from regard.visualize.attention_figure import map_edges

POINTS = ((0, 0), (52, 36), (30, 21), (7, 31), (44, 3))


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("size", [(64, 96), (96, 64), (32, 128)])
def test_the_cell_is_the_one_that_a_lit_pixel_lights(point: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.zeros((37, 53, 3), dtype=np.uint8)
    image[point[1], point[0]] = 255
    placed, placement = letterbox(image, size)
    light = np.where(placed == 114, 0, placed).astype(float).sum(2)
    light *= light > 0.9 * light.max()  # the pixel's middle
    cells = light.reshape(size[0] // 8, 8, size[1] // 8, 8).sum((1, 3))
    found = cell_at((point[0] + 0.5, point[1] + 0.5), placement, size, (size[0] // 8, size[1] // 8))
    assert cells[found] > 0


def test_a_cell_by_hand() -> None:
    placement = LetterboxTransform((100, 200), (0.5, 0.5), (0, 14))  # on an input of 78 rows and 100 columns
    assert cell_at((199, 0), placement, (78, 100), (39, 25)) == (7, 24)
    assert cell_at((0, 99.9), placement, (78, 100), (39, 25)) == (31, 0)
    assert map_edges(placement, (78, 100)) == (0, 200, 128, -28)
    assert map_edges(LetterboxTransform((100, 200), (0.5, 0.25), (6, 14)), (78, 112)) == (-12, 212, 256, -56)


@pytest.mark.parametrize("point", POINTS)
def test_the_cell_is_drawn_over_the_pixel(point: tuple[int, int]) -> None:
    size, cells = (96, 64), (13, 11)
    _, placement = letterbox(np.zeros((37, 53, 3), dtype=np.uint8), size)
    row, column = cell_at(point, placement, size, cells)
    left, right, bottom, top = map_edges(placement, size)
    x = left + (right - left) * np.array((column, column + 1)) / cells[1]
    y = top + (bottom - top) * np.array((row, row + 1)) / cells[0]
    assert x[0] <= point[0] <= x[1]
    assert y[0] <= point[1] <= y[1]


@pytest.mark.parametrize("point", [(-1, 0), (53, 0), (0, 37), (0, float("nan"))])
def test_a_point_outside_is_rejected(point: tuple[float, float]) -> None:
    with pytest.raises(RegardError, match="outside the image of 53 x 37"):
        check_point(point, (37, 53))
    assert check_point((52, 36), (37, 53)) == (52, 36)
