from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.data import similar
from regard.data.similar import MOST_BITS, MOST_LEVELS, fingerprint, similar_groups, similar_pairs

Pixels = NDArray[np.uint8]


def _photo(seed: int) -> Pixels:
    areas = np.random.default_rng(seed).integers(0, 256, (11, 13, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(areas, (173, 131), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _compressed(photo: Pixels) -> Pixels:
    small = cv2.resize(photo, (113, 89), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), dtype=np.uint8)


def _plain(seed: int) -> Pixels:
    """A noisy gray surface with one square."""
    image = np.random.default_rng(seed).integers(100, 116, (131, 173, 3), dtype=np.uint8)
    image[17:83, 31 * seed : 31 * seed + 53] = 251
    return image


@pytest.mark.parametrize("draw", [_photo, _plain])
def test_resized_and_recompressed_images_are_found_and_others_are_not(draw: Callable[[int], Pixels]) -> None:
    images = [draw(seed) for seed in range(3)]
    prints = np.stack([fingerprint(image) for image in [*images, *map(_compressed, images)]])
    assert similar_pairs(prints).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert similar_groups(prints).tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("ground", [(5, 5, 5), (213, 187, 243)], ids=["dark", "tinted"])
def test_small_objects_on_a_plain_ground_are_alike_only_in_the_same_places(ground: tuple[int, int, int]) -> None:
    """As in fluorescence or tissue images, of which any two differ by few levels."""
    images = []
    for seed in range(5):
        generator = np.random.default_rng(seed)
        image = np.full((131, 173, 3), ground, dtype=np.uint8)
        for x, y in generator.integers(7, 113, (3, 2)).tolist():
            cv2.circle(image, (x, y), 5, (97, 83, 131), -1)
        images.append(image)
    prints = np.stack([fingerprint(image) for image in [*images, *map(_compressed, images)]])
    assert similar_pairs(prints).tolist() == [[k, k + 5] for k in range(5)]


def test_equal_plain_images_are_near_duplicates() -> None:
    plain = np.full((131, 173, 3), 97, dtype=np.uint8)
    assert similar_pairs(np.stack([fingerprint(plain), fingerprint(plain[:71])])).tolist() == [[0, 1]]


def _dark(seed: int) -> Pixels:
    """Small dim spots on black, as under a fluorescence microscope."""
    image = np.full((131, 173, 3), 5, dtype=np.uint8)
    for x, y in np.random.default_rng(seed).integers(9, 120, (5, 2)).tolist():
        cv2.circle(image, (x, y), 3, (39, 39, 39), -1)
    return image


def test_dark_images_are_compared_by_what_they_show() -> None:
    images = [_dark(seed) for seed in range(7)]
    copies = [_compressed(images[1]), images[3][1:-1, 1:-1], cv2.convertScaleAbs(images[5], alpha=1.1)]
    prints = np.stack([fingerprint(image) for image in [*images, *copies]])
    assert np.count_nonzero(prints[:7, :8].any(axis=1)) <= 2  # the hash does not tell them apart
    assert similar_pairs(prints).tolist() == [[1, 7], [3, 8], [5, 9]]


def test_many_dark_images_are_not_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = np.stack([fingerprint(_dark(seed)) for seed in (*range(31), 5, 11)])
    found = similar_pairs(prints).tolist()
    assert found == [[5, 31], [11, 32]]
    monkeypatch.setattr(similar, "_PAIRS", 3)
    assert similar_pairs(prints).tolist() == found


def test_plain_images_of_one_colour_are_alike() -> None:
    plain = [np.full((131, 173, 3), level, dtype=np.uint8) for level in (7, 8, 99)]
    assert similar_pairs(np.stack([fingerprint(image) for image in plain])).tolist() == [[0, 1]]


def test_colours_count() -> None:
    red, blue = np.full((2, 131, 173, 3), 110, dtype=np.uint8)
    red[17:83, 31:97] = 230, 57, 89
    blue[17:83, 31:97] = 57, 113, 230  # as bright
    assert similar_pairs(np.stack([fingerprint(red), fingerprint(blue)])).tolist() == []


def test_pairs_connect_what_a_slow_comparison_connects() -> None:
    generator = np.random.default_rng(7)
    prints = generator.integers(0, 256, (23, 776), dtype=np.uint8).repeat(9, axis=0)
    flipped = generator.integers(0, 64, (len(prints), MOST_BITS))
    bits = np.unpackbits(prints[:, :8], axis=1)
    np.put_along_axis(bits, flipped, 1 - np.take_along_axis(bits, flipped, axis=1), axis=1)
    prints[:, :8] = np.packbits(bits, axis=1)
    prints[::5, 8:] //= 2
    thumbnails = prints[:, 8:].astype(int)
    differing = (bits[:, None] != bits[None]).sum(axis=2)
    alike = (differing <= MOST_BITS) & (np.abs(thumbnails[:, None] - thumbnails[None]).mean(axis=2) <= MOST_LEVELS)
    group = np.arange(len(prints))
    for _ in range(len(prints)):
        group = np.where(alike, group[None], len(prints)).min(axis=1)
    assert len(set(group)) > 23
    np.testing.assert_array_equal(similar_groups(prints), np.unique(group, return_inverse=True)[1])


def test_no_images_have_no_pairs() -> None:
    assert similar_pairs(np.zeros((0, 776), dtype=np.uint8)).shape == (0, 2)
    assert similar_groups(np.zeros((1, 776), dtype=np.uint8)).tolist() == [0]
