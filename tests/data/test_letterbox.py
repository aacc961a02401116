from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.data.letterbox import (
    GREY,
    aspect_order,
    fit_long_side,
    letterbox,
    letterbox_rect,
    letterbox_validation,
    rect_size,
    restore_boxes,
    validation_sizes,
)
from regard.types import LetterboxTransform


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_reference_input_is_reproduced_exactly(shared: Path) -> None:
    reference = np.load(shared / "reference" / "raw_320.npz")
    path = shared / "data" / "coco128" / "images" / "train2017" / str(reference["image"])
    image = np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), dtype=np.uint8)
    placed, placement = letterbox(image, (320, 320))
    np.testing.assert_array_equal(placed.transpose(2, 0, 1), reference["input_uint8"])
    assert placement == LetterboxTransform((480, 640), (0.5, 0.5), (0.0, 40.0))


@pytest.mark.parametrize("size", [320, 640])
def test_reference_batches_are_reproduced_exactly(shared: Path, size: int) -> None:
    reference = np.load(shared / "reference" / f"loss_{size}.npz")
    folder = shared / "data" / "coco128" / "images" / "train2017"
    for name, expected in zip(reference["images"], reference["batch_uint8"], strict=True):
        image = cv2.cvtColor(cv2.imread(str(folder / Path(str(name)).name)), cv2.COLOR_BGR2RGB)
        placed, _ = letterbox(np.asarray(image, dtype=np.uint8), (size, size))
        np.testing.assert_array_equal(placed.transpose(2, 0, 1), expected)


def test_reference_rect_sizes(shared: Path) -> None:
    reference = json.loads((shared / "reference" / "detections_640_rect.json").read_text())
    folder = shared / "data" / "coco128" / "images" / "train2017"
    assert len(reference) == 16
    for name, entry in reference.items():
        height, width = cv2.imread(str(folder / name)).shape[:2]
        assert rect_size((height, width), 640, 32) == tuple(entry["input_hw"]), name


@pytest.mark.parametrize(
    ("image_size", "imgsz", "stride", "expected"),
    [
        ((480, 640), 640, 32, (480, 640)),
        ((427, 640), 640, 32, (448, 640)),
        ((640, 427), 640, 32, (640, 448)),
        ((1, 1000), 640, 32, (32, 640)),
        ((53, 53), 100, 64, (128, 128)),
        ((60, 106), 100, 64, (128, 128)),  # 100 becomes 128, on which 72 rows are left
    ],
)
def test_rect_size(image_size: tuple[int, int], imgsz: int, stride: int, expected: tuple[int, int]) -> None:
    assert rect_size(image_size, imgsz, stride) == expected


@pytest.mark.parametrize(("height", "width"), [(513, 640), (640, 513)])
def test_a_short_side_that_is_rounded_down_onto_a_multiple_of_the_stride_keeps_the_long_one(
    height: int, width: int
) -> None:
    image = noise(height, width)  # 513 * 0.5 = 256.5 rows become 256, with 320 columns
    placed, placement = letterbox_rect(image, 320, 32)
    halves = (320, 256) if width > height else (256, 320)
    np.testing.assert_array_equal(placed, cv2.resize(image, halves, interpolation=cv2.INTER_LINEAR))
    # YOLOv5 brings boxes back as if the image had been fitted once more.
    assert placement.scale == (256 / 513, 256 / 513)
    assert sorted(placement.pad) == pytest.approx([0, (320 - 640 * 256 / 513) / 2])


@pytest.mark.parametrize(("height", "width"), [(480, 640), (427, 640), (97, 53), (37, 37)])
def test_on_the_least_grey_an_image_lies_as_in_a_letterbox_of_that_size(height: int, width: int) -> None:
    image = noise(height, width)
    placed, placement = letterbox_rect(image, 160, 32)
    expected, same = letterbox(image, rect_size((height, width), 160, 32))
    np.testing.assert_array_equal(placed, expected)
    assert placement == same


def test_odd_padding_goes_right_and_below_while_the_pad_stays_unrounded() -> None:
    image = noise(37, 53)
    placed, placement = letterbox(image, (40, 60), enlarge=False)
    np.testing.assert_array_equal(placed[1:38, 3:56], image)
    placed[1:38, 3:56] = GREY
    assert (placed == GREY).all()
    assert placement == LetterboxTransform((37, 53), (1.0, 1.0), (3.5, 1.5))


def test_enlarging_is_bilinear_and_can_be_disabled() -> None:
    image = noise(11, 7)
    placed, placement = letterbox(image, (22, 23))
    np.testing.assert_array_equal(placed[:, 4:18], cv2.resize(image, (14, 22), interpolation=cv2.INTER_LINEAR))
    assert placement == LetterboxTransform((11, 7), (2.0, 2.0), (4.5, 0.0))
    assert (letterbox(noise(30, 41), (20, 27))[0][[0, -1]] != GREY).any(axis=(1, 2)).all()  # 19.76 rows become 20
    assert letterbox(image, (22, 23), enlarge=False)[1].scale == (1.0, 1.0)
    assert letterbox(image, (5, 5), enlarge=False)[1].scale == (5 / 11, 5 / 11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("image_size", [(37, 53), (101, 29), (7, 211)])
def test_boxes_go_there_and_back(image_size: tuple[int, int], dtype: type[np.float32] | type[np.float64]) -> None:
    height, width = image_size
    _, placement = letterbox(noise(height, width), (97, 89))
    corners = np.random.default_rng(5).random((13, 2, 2)) * (width, height)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(dtype)
    placed = (boxes * (placement.scale * 2) + placement.pad * 2).astype(dtype)
    restored = restore_boxes(placed, placement)
    assert restored.dtype == dtype
    np.testing.assert_allclose(restored, boxes, atol=1e-10 if dtype is np.float64 else 1e-4)


def test_restored_boxes_are_clipped_to_the_image() -> None:
    placement = LetterboxTransform((37, 53), (2.0, 2.0), (3.0, 5.0))
    boxes = np.array([[0.0, 0.0, 1000.0, 1000.0], [13.0, 25.0, 23.0, 35.0]])
    np.testing.assert_array_equal(restore_boxes(boxes, placement), [[0, 0, 53, 37], [5, 10, 10, 15]])


def test_no_boxes() -> None:
    placement = LetterboxTransform((37, 53), (2.0, 2.0), (3.0, 5.0))
    assert restore_boxes(np.empty((0, 4)), placement).shape == (0, 4)
    assert restore_boxes(np.empty((0, 4), dtype=np.float32), placement).dtype == np.float32


def test_long_side_shrinks_by_area_and_rounds_up() -> None:
    image = noise(52, 80)
    shrunk = fit_long_side(image, 20)
    mean = image.reshape(13, 4, 20, 4, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(shrunk - mean).max() <= 0.5
    assert fit_long_side(noise(27, 40), 20).shape == (14, 20, 3)
    assert fit_long_side(noise(41, 3), 20).shape == (20, 2, 3)
    assert fit_long_side(noise(13, 7), 29).shape == (29, 16, 3)
    assert fit_long_side(image, 97, enlarge=False) is image


def test_validation_placement_is_per_axis() -> None:
    image = noise(27, 40)
    placed, placement = letterbox_validation(image, 20, (17, 23))
    np.testing.assert_array_equal(placed[1:15, 1:21], fit_long_side(image, 20))
    assert (placed[[0, 15, 16]] == GREY).all()
    assert (placed[:, [0, 21, 22]] == GREY).all()
    assert placement == LetterboxTransform((27, 40), (0.5, 14 / 27), (1.5, 1.5))


def test_aspect_order_is_stable() -> None:
    assert aspect_order([(3, 2), (1, 1), (2, 4), (5, 5), (1, 2)]).tolist() == [2, 4, 1, 3, 0]


def test_validation_sizes() -> None:
    wide, wider, square, tall = (480, 640), (360, 640), (500, 500), (640, 427)
    # in strides: ceil(0.75 * 20 + 0.5) = 16, ceil(20 + 0.5) = 21, ceil(427 / 32 + 0.5) = 14
    assert validation_sizes([wide], 640, 1) == [(512, 672)]
    assert validation_sizes([wider, wide, square, tall, tall], 640, 2) == [(512, 672), (672, 672), (672, 448)]
    assert validation_sizes([tall, (640, 320)], 640, 2) == [(672, 448)]
    assert validation_sizes([wide], 640, 1, pad=0.0) == [(480, 640)]
    assert validation_sizes([wide], 640, 1, stride=64) == [(512, 704)]
    assert validation_sizes([], 640, 7) == []


def test_boxes_come_back_in_whole_pixels_as_in_later_families(shared: Path) -> None:
    reference = json.loads((shared / "reference" / "anchor-free" / "letterbox.json").read_text())
    boxes = np.array([[10.25, 20.5, 200.75, 190], [-5, -5, 700, 700]])
    for row in reference["rows"]:
        image = np.full((*row["image_hw"], 3), 200, np.uint8)
        for how in ("predict_640_rect", "square_640"):
            expected = row[how]
            if how == "square_640":
                placed, transform = letterbox(image, (640, 640), whole_pixels=True)
            else:
                placed, transform = letterbox_rect(image, 640, whole_pixels=True)
            assert placed.shape[:2] == tuple(expected["input_hw"])
            left, top = expected["left_top_right_bottom"][:2]
            filled = np.argwhere(placed[..., 0] == 200)
            assert tuple(filled.min(axis=0)) == (top, left)
            np.testing.assert_allclose(restore_boxes(boxes, transform), expected["boxes_back"], atol=1e-4)
