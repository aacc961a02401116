from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from regard.data.images import ImageFile, image_size
from regard.errors import RegardError


def _with_orientation(path: Path, pixels: NDArray[np.uint8], orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


def test_a_jpeg_equals_what_opencv_reads(shared: Path) -> None:
    for file in sorted((shared / "data/coco128/images/train2017").glob("*.jpg"))[:3]:
        expected = cv2.imread(str(file))
        assert expected is not None
        np.testing.assert_array_equal(ImageFile(file).read(), expected[:, :, ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_image_upright(tmp_path: Path, orientation: int) -> None:
    stored = np.zeros((40, 56, 3), dtype=np.uint8)
    stored[:16, :16] = (255, 0, 0)  # one red corner, upper left as stored
    file = ImageFile(_with_orientation(tmp_path / "a.jpg", stored, orientation))
    upright = file.read()
    corners = {"top left": upright[4, 4], "top right": upright[4, -4], "bottom left": upright[-4, 4]}
    corners["bottom right"] = upright[-4, -4]
    red = [name for name, pixel in corners.items() if pixel[0] > 200]
    # EXIF 2.3, tag 0x0112: where the stored first row and first column are meant to be seen.
    seen = ["top left", "top right", "bottom right", "bottom left"] * 2
    assert red == [seen[orientation - 1]]
    assert upright.shape == ((40, 56, 3) if orientation < 5 else (56, 40, 3))
    assert image_size(file) == upright.shape[:2]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_the_size_agrees_with_the_pixels_whatever_opencv_turns(tmp_path: Path, suffix: str, orientation: int) -> None:
    file = ImageFile(_with_orientation(tmp_path / f"a{suffix}", np.zeros((23, 37, 3), dtype=np.uint8), orientation))
    assert image_size(file) == file.read().shape[:2]


def test_gray_alpha_and_16_bit_become_rgb(tmp_path: Path) -> None:
    gray = np.arange(7 * 11, dtype=np.uint8).reshape(7, 11)
    deep = gray.astype(np.uint16) * 256 + 77
    rgba = np.dstack([gray, gray + 1, gray + 2, np.full_like(gray, 9)])
    for name, stored in {"gray": gray, "deep": deep, "rgba": rgba}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), stored)
    gray_rgb = gray[:, :, None].repeat(3, axis=2)
    for name, expected in {"gray": gray_rgb, "deep": gray_rgb, "rgba": rgba[:, :, 2::-1]}.items():
        pixels = ImageFile(tmp_path / f"{name}.png").read()
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, expected, err_msg=name)


@pytest.mark.parametrize(("content", "words"), [(None, "no such image"), (b"", "decode"), (b"not an image", "decode")])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "broken.jpg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RegardError, match=words) as caught:
        ImageFile(file).read()
    assert str(caught.value).startswith(str(file))
    with pytest.raises(RegardError, match=words):
        image_size(ImageFile(file))
