from __future__ import annotations

import numpy as np

from regard.drawing import BLACK, PALETTE, WHITE, class_colour, draw_boxes, text_colour, text_width


def test_a_box_is_drawn_in_its_colour_on_a_copy() -> None:
    image = np.full((61, 83, 3), 7, dtype=np.uint8)
    drawn = draw_boxes(image, np.array([[11.0, 20.0, 47.0, 53.0]]), [""], [(250, 10, 20)])
    assert (image == 7).all()
    assert tuple(drawn[20, 30]) == tuple(drawn[40, 11]) == tuple(drawn[53, 30]) == tuple(drawn[40, 47]) == (250, 10, 20)
    assert tuple(drawn[36, 29]) == (7, 7, 7)


def test_a_small_box_is_drawn_above_a_large_one() -> None:
    image = np.zeros((61, 83, 3), dtype=np.uint8)
    boxes = np.array([[20.0, 20.0, 40.0, 40.0], [20.0, 10.0, 70.0, 60.0]])
    drawn = draw_boxes(image, boxes, ["", ""], [(255, 0, 0), (0, 0, 255)])
    assert tuple(drawn[30, 20]) == (255, 0, 0)


def test_a_caption_stays_inside_the_image() -> None:
    image = np.zeros((61, 83, 3), dtype=np.uint8)
    drawn = draw_boxes(image, np.array([[75.0, 0.0, 82.0, 60.0]]), ["cat"], [(0, 200, 0)], letter_height=8)
    tag = drawn[:13, 83 - text_width("cat", 8) - 4 : 74]
    assert (tag[..., 1] > 150).mean() > 0.4


def test_no_boxes_change_nothing() -> None:
    image = np.full((13, 17, 3), 7, dtype=np.uint8)
    np.testing.assert_array_equal(draw_boxes(image, np.zeros((0, 4)), [], []), image)


def test_colours_are_distinct_and_repeat() -> None:
    assert len(set(PALETTE)) == 20
    assert class_colour(23) == class_colour(3)
    assert text_colour(WHITE) == BLACK
    assert text_colour(BLACK) == WHITE


def test_a_small_image_is_enlarged_before_boxes_are_drawn_where_asked_for() -> None:
    """So that captions, which cannot become smaller, do not cover it; boxes stay where the objects are."""
    image = np.zeros((60, 100, 3), np.uint8)
    boxes = np.array([[10, 20, 40, 50]], np.float32)
    drawn = draw_boxes(image, boxes, [""], [(255, 0, 0)], least_side=640)
    assert drawn.shape == (360, 600, 3)
    assert [drawn[y, x, 0] for y, x in ((120, 150), (300, 150), (200, 60), (200, 240))] == [255] * 4
    assert drawn[200, 150].max() == 0
    for side in (0, 100, 199):
        assert draw_boxes(image, boxes, [""], [(255, 0, 0)], least_side=side).shape == image.shape
