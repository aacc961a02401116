from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.config import AugmentSettings
from regard.data.augment import (
    LabelledImage,
    Tile,
    augment,
    clip_boxes,
    flip_left_right,
    flip_up_down,
    letterbox_affine,
    mixup,
    mosaic,
    paint,
    random_transform,
    scaling,
    transform_boxes,
    translation,
    vary_hsv,
)
from regard.data.letterbox import GREY, letterbox

STILL = AugmentSettings(mosaic=0, translate=0, scale=0, fliplr=0, hsv_h=0, hsv_s=0, hsv_v=0)
WILD = AugmentSettings(degrees=30, shear=10, perspective=0.001, mixup=0.5, flipud=0.5)
COLOURS = ((251, 11, 13), (17, 241, 19), (23, 29, 239), (199, 197, 31))


def labelled(height: int, width: int, seed: int, boxes: int = 3) -> LabelledImage:
    """Noise with random boxes; nothing may write to it."""
    rng = np.random.default_rng(seed)
    corners = rng.random((boxes, 2, 2)) * (width, height)
    sample = LabelledImage(
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1),
        rng.integers(0, 5, boxes),
    )
    for array in sample:
        array.setflags(write=False)
    return sample


def bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize("seed", range(3))
def test_boxes_follow_their_corners_point_by_point(seed: int) -> None:
    matrix = random_transform((53, 37), (101, 89), WILD, np.random.default_rng(seed))
    boxes = labelled(71, 103, seed, boxes=7).boxes_xyxy
    for box, moved in zip(boxes, transform_boxes(boxes, matrix), strict=True):
        points = []
        for x in (box[0], box[2]):
            for y in (box[1], box[3]):
                u, v, w = (row[0] * x + row[1] * y + row[2] for row in matrix)
                points.append((u / w, v / w))
        xs, ys = zip(*points, strict=True)
        np.testing.assert_allclose(moved, (min(xs), min(ys), max(xs), max(ys)), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("settings", [WILD, AugmentSettings()], ids=["any", "upright"])
def test_a_painted_box_still_bounds_its_pixels(seed: int, settings: AugmentSettings) -> None:
    image = np.zeros((71, 103, 3), dtype=np.uint8)
    image[23:52, 31:78] = 255
    matrix = random_transform((103 / 2, 71 / 2), (211, 223), settings, np.random.default_rng(seed))
    canvas = paint([Tile(image, matrix)], (211, 223))
    box = transform_boxes(np.array([[31.0, 23.0, 78.0, 52.0]]), matrix)[0]
    np.testing.assert_allclose(bounds((canvas > 127).all(axis=-1)), box, atol=1.0)


def test_painting_with_a_whole_shift_copies_pixels() -> None:
    image = labelled(11, 13, 0).image
    canvas = paint([Tile(image, translation(5, -3))], (17, 19))
    np.testing.assert_array_equal(canvas[:8, 5:18], image[3:])
    assert (canvas[8:] == GREY).all()
    assert (canvas[:, :5] == GREY).all()
    assert (canvas[:, 18:] == GREY).all()


def test_painting_enlarged_agrees_with_resizing() -> None:
    image = cv2.GaussianBlur(labelled(11, 13, 0).image, (0, 0), 2)
    painted = paint([Tile(np.asarray(image, dtype=np.uint8), scaling(3, 5))], (55, 39)).astype(int)
    assert np.abs(painted - cv2.resize(image, (39, 55), interpolation=cv2.INTER_LINEAR)).max() <= 2


def test_images_outside_the_canvas_or_behind_the_viewer_are_no_trouble() -> None:
    image = labelled(11, 13, 0).image
    assert (paint([Tile(image, translation(100, 0)), Tile(image, translation(0, -11))], (17, 19)) == GREY).all()
    tilted = np.array([[1, 0, 0], [0, 1, 0], [-0.2, 0, 1]])
    assert (paint([Tile(image, tilted)], (17, 19))[8, 18] != GREY).any()  # columns up to 5 reach any distance
    behind, visible = transform_boxes(np.array([[1.0, 1, 9, 9], [1, 1, 3, 3]]), tilted)
    assert np.isnan(behind).all()
    assert clip_boxes(np.stack([behind, visible]), (17, 19))[1].tolist() == [False, True]


def test_boxes_are_clipped_and_filtered() -> None:
    boxes = np.array(
        [
            [-10.0, 10, 10, 20],  # half is left
            [-91, 10, 9, 20],  # 9 % is left
            [-90, 10, 10, 20],  # 10 % is left
            [50, 50, 52, 52],  # two pixels
            [50, 50, 51.9, 60],  # too narrow
            [0, 50, 300, 53],  # 100 times as long as wide
            [0, 50, 299, 53],
            [400, 10, 410, 20],  # outside
            [50, 50, 50, 50],  # no area
        ]
    )
    clipped, keep = clip_boxes(boxes, (97, 307))
    assert keep.tolist() == [True, False, True, True, False, False, True, False, False]
    np.testing.assert_array_equal(clipped[0], [0, 10, 10, 20])
    assert clip_boxes(np.empty((0, 4)), (97, 307))[1].shape == (0,)


def test_random_transform_stays_in_its_ranges_and_covers_them() -> None:
    settings = AugmentSettings(translate=0.1, scale=0.5)
    matrices = [random_transform((50, 50), (100, 100), settings, np.random.default_rng(k)) for k in range(300)]
    scales = np.array([matrix[0, 0] for matrix in matrices])
    centres = np.array([(matrix @ (50, 50, 1))[:2] for matrix in matrices])
    assert scales.min() >= 0.5
    assert scales.max() <= 1.5
    assert np.ptp(scales) > 0.95
    assert centres.min() >= 40
    assert centres.max() <= 60
    assert np.ptp(centres, axis=0).min() > 19
    np.testing.assert_allclose(random_transform((50, 50), (100, 100), STILL, np.random.default_rng(0)), np.eye(3))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("degrees", [0, 40])
def test_mosaic_images_meet_without_a_seam_and_keep_their_boxes(seed: int, degrees: float) -> None:
    samples = [
        LabelledImage(np.full((60, 60, 3), colour, np.uint8), np.array([[0.0, 0, 60, 60]]), np.array([k]))
        for k, colour in enumerate(COLOURS)
    ]
    settings = AugmentSettings(degrees=degrees, scale=0.3)
    result = mosaic(samples, (97, 97), settings, np.random.default_rng(seed))
    assert result.image.shape == (97, 97, 3)
    seen = np.zeros((97, 97), dtype=bool)
    for class_id, box in zip(result.class_ids, result.boxes_xyxy, strict=True):
        pixels = (result.image == COLOURS[class_id]).all(axis=-1)
        seen |= pixels
        if degrees == 0:
            np.testing.assert_allclose(bounds(pixels), box, atol=0.5 + 1e-9)
    if degrees == 0:
        corners = result.boxes_xyxy
        left, top, right, bottom = (*np.rint(corners[:, :2].min(axis=0)), *np.rint(corners[:, 2:].max(axis=0)))
        inside = result.image[int(top) : int(bottom), int(left) : int(right)]
        assert not (inside == GREY).all(axis=-1).any()
    assert seen.mean() > 0.2


def test_mosaic_draws_its_centre_from_the_middle_half() -> None:
    samples = [
        LabelledImage(np.full((40, 40, 3), colour, np.uint8), np.array([[0.0, 0, 40, 40]]), np.array([k]))
        for k, colour in enumerate(COLOURS)
    ]
    meets = []
    for seed in range(200):
        result = mosaic(samples, (40, 40), STILL, np.random.default_rng(seed))
        upper_left = result.boxes_xyxy[result.class_ids == 0]
        meets.extend(upper_left[:, 2:])
    # the window shows 20 to 60 of the canvas of 80, and the centre lies in 20 to 60
    assert np.min(meets) < 12
    assert np.max(meets) > 36
    assert np.min(meets) >= 0
    assert np.max(meets) <= 40


def test_mosaic_of_images_without_labels() -> None:
    result = mosaic([labelled(31, 37, k, boxes=0) for k in range(4)], (53, 53), WILD, np.random.default_rng(0))
    assert result.boxes_xyxy.shape == (0, 4)
    assert result.class_ids.shape == (0,)


@pytest.mark.parametrize(("height", "width"), [(53, 53), (31, 53), (53, 30), (23, 11)])
def test_letterbox_affine_at_rest_is_the_letterbox(height: int, width: int) -> None:
    image = np.asarray(cv2.GaussianBlur(labelled(height, width, 0).image, (0, 0), 3), dtype=np.uint8)
    sample = LabelledImage(image, np.array([[2.0, 3, 11, 17]]), np.array([1]))
    result = letterbox_affine(sample, (53, 53), STILL, np.random.default_rng(0))
    expected, placement = letterbox(image, (53, 53))
    assert np.abs(result.image.astype(int) - expected).max() <= 3
    box = sample.boxes_xyxy[0] * (placement.scale * 2) + placement.pad * 2
    np.testing.assert_allclose(result.boxes_xyxy[0], box, atol=0.5)


def test_flips_are_their_own_inverse_and_boxes_follow_pixels() -> None:
    image = np.zeros((31, 37, 3), dtype=np.uint8)
    image[3:11, 5:23] = 255
    sample = LabelledImage(image, np.array([[5.0, 3, 23, 11]]), np.array([2]))
    for flip in (flip_left_right, flip_up_down):
        flipped = flip(sample)
        assert bounds(flipped.image[..., 0] > 0) == tuple(flipped.boxes_xyxy[0])
        assert not np.array_equal(flipped.image, image)
        for before, after in zip(sample, flip(flipped), strict=True):
            np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(flip_left_right(sample).boxes_xyxy, [[14, 3, 32, 11]])
    np.testing.assert_array_equal(flip_up_down(sample).boxes_xyxy, [[5, 20, 23, 28]])


def test_colour_stays_in_its_ranges() -> None:
    grey = np.full((5, 7, 3), 100, dtype=np.uint8)
    values = [
        int(vary_hsv(grey, AugmentSettings(hsv_v=0.4), np.random.default_rng(seed))[0, 0, 0]) for seed in range(100)
    ]
    assert min(values) >= 60
    assert max(values) <= 140
    assert max(values) - min(values) > 70
    only_hue = STILL.model_copy(update={"hsv_h": 0.5})
    np.testing.assert_array_equal(vary_hsv(grey, only_hue, np.random.default_rng(0)), grey)
    red = np.full((5, 7, 3), (200, 0, 0), dtype=np.uint8)
    turned = vary_hsv(red, only_hue, np.random.default_rng(0))
    assert turned.max() == 200
    assert turned.min() == 0
    assert not np.array_equal(turned, red)
    assert vary_hsv(red, STILL, np.random.default_rng(0)) is red


def test_mixup_blends_between_both_and_keeps_all_boxes() -> None:
    first, second = labelled(31, 37, 0), labelled(31, 37, 1, boxes=2)
    result = mixup(first, second, np.random.default_rng(0))
    low, high = np.minimum(first.image, second.image), np.maximum(first.image, second.image)
    assert ((result.image >= low) & (result.image <= high)).all()
    assert 20 < np.abs(result.image.astype(int) - first.image).mean() < 70
    np.testing.assert_array_equal(result.boxes_xyxy, [*first.boxes_xyxy, *second.boxes_xyxy])
    np.testing.assert_array_equal(result.class_ids, [*first.class_ids, *second.class_ids])


def test_augment_depends_on_its_generator_alone_and_writes_to_nothing() -> None:
    samples = [labelled(31 + k, 53, k) for k in range(5)]

    def run(seed: int) -> LabelledImage:
        return augment(3, samples.__getitem__, 5, (53, 53), WILD, np.random.default_rng(seed))

    for first, second in zip(run(7), run(7), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(run(7).image, run(8).image)


def test_augment_reads_one_image_where_none_are_combined() -> None:
    read = []

    def look(index: int) -> LabelledImage:
        read.append(index)
        return labelled(31, 53, index)

    augment(3, look, 5, (53, 53), WILD, np.random.default_rng(0), combine=False)
    assert read == [3]
    read.clear()
    augment(3, look, 5, (53, 53), AugmentSettings(), np.random.default_rng(0))
    assert len(read) == 4
    assert 3 in read
