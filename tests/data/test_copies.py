"""Altered copies are found, and other images of the same kind are not."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.data.copies import altered_copies, thumbnail

Pixels = NDArray[np.uint8]


def _photo(seed: int) -> Pixels:
    """Smooth areas with objects on them; all photos have the same brightness on average."""
    rng = np.random.default_rng(seed)
    areas = rng.integers(40, 180, (9, 11, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(areas, (331, 257), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    for x, y in rng.integers(20, 230, (7, 2)).tolist():
        cv2.circle(image, (x, y), 13, rng.integers(0, 200, 3).tolist(), -1)
    return image


@pytest.mark.parametrize(
    "altered",
    [
        lambda image: cv2.convertScaleAbs(image, alpha=1.15),
        lambda image: cv2.convertScaleAbs(image, alpha=0.8, beta=11),
        lambda image: image[:, ::-1],
        lambda image: image[::-1],
        lambda image: np.rot90(image),
        lambda image: image[13:-13, 17:-17],
        lambda image: image[5:-19, 23:-7][:, ::-1],
        lambda image: cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB),
        lambda image: cv2.GaussianBlur(image, (0, 0), 2),
    ],
    ids=["brighter", "darker", "mirrored", "upside-down", "turned", "cropped", "cropped-mirrored", "grey", "blurred"],
)
def test_an_altered_copy_is_found(altered: Callable[[Pixels], Pixels]) -> None:
    photos = np.stack([thumbnail(_photo(seed)) for seed in range(23)])
    queries = [thumbnail(np.ascontiguousarray(altered(_photo(seed)))) for seed in (3, 19, 101)]
    assert altered_copies(np.stack(queries), photos).tolist() == [3, 19, -1]
    assert altered_copies(photos[:1], np.stack(queries)).tolist() == [-1]


def _scene(seed: int) -> Pixels:
    """Two surfaces, as a table under a cloth, that are the same in all photographs; what lies on them differs."""
    rng = np.random.default_rng(seed)
    image = np.full((257, 331, 3), 190, dtype=np.uint8)
    image[:, :140] = 60
    image[200:] //= 2
    cloth = cv2.resize(rng.normal(0, 30, (37, 47)), (331, 257), interpolation=cv2.INTER_CUBIC)
    return np.asarray((image + cloth[:, :, None]).clip(0, 255), dtype=np.uint8)


def test_other_photographs_of_one_scene_are_told_apart_by_their_details() -> None:
    originals = [_scene(seed) for seed in range(5)]
    copy = np.ascontiguousarray(cv2.convertScaleAbs(originals[3], alpha=1.1)[9:-11, 5:-17, :][:, ::-1])
    queries = [copy, _scene(101)]
    thumbnails = np.stack([thumbnail(one) for one in queries]), np.stack([thumbnail(one) for one in originals])
    assert (altered_copies(*thumbnails) >= 0).all()  # by the thumbnails alone
    assert altered_copies(*thumbnails, (queries.__getitem__, originals.__getitem__)).tolist() == [3, -1]


def test_plain_images_are_copies_of_none() -> None:
    plain = np.random.default_rng(0).integers(100, 104, (5, 32, 32), dtype=np.uint8)
    assert altered_copies(plain, plain[::-1].copy()).tolist() == [-1] * 5
    assert altered_copies(plain[:0], plain).tolist() == []
    assert altered_copies(plain, plain[:0]).tolist() == [-1] * 5
