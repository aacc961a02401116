from __future__ import annotations

import pytest

from regard.data.cache import MEMORY_SHARE, MOST_BYTES, choose_cache


@pytest.mark.parametrize(
    ("images", "imgsz", "memory", "expected"),
    [
        (0, 640, 0, "ram"),
        (10, 100, 300_000 * MEMORY_SHARE, "ram"),
        (10, 100, 300_000 * MEMORY_SHARE - MEMORY_SHARE, "none"),
        (MOST_BYTES // (3 * 64**2), 64, 2**60, "ram"),
        (MOST_BYTES // (3 * 64**2) + 1, 64, 2**60, "none"),
    ],
)
def test_images_are_kept_where_they_take_a_small_part(images: int, imgsz: int, memory: int, expected: str) -> None:
    assert choose_cache(images, imgsz, memory) == expected
