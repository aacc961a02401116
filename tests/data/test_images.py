from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from regard.data import images
from regard.data.images import IMAGE_SUFFIXES, ImageFile, exif_orientation, image_size, read_reduced
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


@pytest.mark.parametrize(("imgsz", "factor"), [(129, 1), (128, 1), (65, 1), (64, 2), (33, 2), (32, 4), (16, 8), (7, 8)])
def test_a_jpeg_is_reduced_while_decoded_and_never_below_the_size_wanted(
    tmp_path: Path, imgsz: int, factor: int
) -> None:
    ramp = np.linspace(0, 255, 128, dtype=np.uint8)[:, None].repeat(88, axis=1)
    Image.fromarray(np.dstack([ramp, ramp[::-1], ramp])).save(tmp_path / "a.jpg", quality=95)
    file = ImageFile(tmp_path / "a.jpg")
    reduced = file.read_reduced(imgsz)
    assert reduced.shape == (128 // factor, 88 // factor, 3)
    areas = file.read().reshape(128 // factor, factor, 88 // factor, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(reduced, areas, atol=3)


def test_only_jpegs_are_reduced(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((128, 88, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    assert read_reduced(ImageFile(tmp_path / "a.png"), 16).shape == (128, 88, 3)


def test_a_reduced_image_stands_upright(tmp_path: Path) -> None:
    path = _with_orientation(tmp_path / "a.jpg", np.zeros((40, 56, 3), dtype=np.uint8), 6)
    assert ImageFile(path).read_reduced(14).shape == (14, 10, 3)


@pytest.mark.parametrize("name", ["missing.jpg", "damaged.jpg"])
def test_a_reduced_image_that_cannot_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8\xff not an image")
    with pytest.raises(RegardError, match=r"does not exist|can decode"):
        ImageFile(tmp_path / name).read_reduced(32)


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
def test_the_size_agrees_with_the_pixels_however_opencv_rotates(tmp_path: Path, suffix: str, orientation: int) -> None:
    file = ImageFile(_with_orientation(tmp_path / f"a{suffix}", np.zeros((23, 37, 3), dtype=np.uint8), orientation))
    assert image_size(file) == file.read().shape[:2]


def test_gray_alpha_and_16_bit_become_rgb(tmp_path: Path) -> None:
    gray = np.arange(7 * 11, dtype=np.uint8).reshape(7, 11)
    deep = gray.astype(np.uint16) * 13 + 77  # 77 to 1065, whose upper eight bits are 0 to 4
    rgba = np.dstack([gray, gray + 1, gray + 2, np.full_like(gray, 9)])
    for name, stored in {"gray": gray, "deep": deep, "rgba": rgba}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), stored)
    gray_rgb = gray[:, :, None].repeat(3, axis=2)
    for name, expected in {"gray": gray_rgb, "deep": np.rint(gray_rgb / 76 * 255), "rgba": rgba[:, :, 2::-1]}.items():
        pixels = ImageFile(tmp_path / f"{name}.png").read()
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, expected, err_msg=name)


@pytest.mark.parametrize(("content", "words"), [(None, "does not exist"), (b"", "decode"), (b"not an image", "decode")])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "broken.jpg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RegardError, match=words) as caught:
        ImageFile(file).read()
    assert str(caught.value).startswith(str(file))
    with pytest.raises(RegardError, match=words):
        image_size(ImageFile(file))


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_does_not_exist_is_upright(tmp_path: Path, orientation: int) -> None:
    path = _with_orientation(tmp_path / "a.jpg", np.zeros((23, 37, 3), dtype=np.uint8), orientation)
    with Image.open(path) as opened:
        assert exif_orientation(opened) == 1
    assert image_size(ImageFile(path)) == (23, 37)


def test_every_suffix_of_an_image_can_be_decoded(tmp_path: Path) -> None:
    written = {".jfif": ".jpg", ".pnm": ".ppm"}
    for suffix in sorted(IMAGE_SUFFIXES):
        file = tmp_path / f"a{written.get(suffix, suffix)}"
        assert cv2.imwrite(str(file), np.zeros((32, 48) if suffix in (".pbm", ".pgm") else (32, 48, 3), np.uint8))
        assert ImageFile(file.rename(tmp_path / f"b{suffix}")).read().shape == (32, 48, 3)


def test_an_image_above_the_limit_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", "100")
    monkeypatch.setattr(images, "decode", lambda *_: None)  # the limit of OpenCV itself is fixed when it is loaded
    Image.new("RGB", (13, 11)).save(tmp_path / "a.png")
    with pytest.raises(RegardError, match="more pixels than are decoded: 13 x 11"):
        ImageFile(tmp_path / "a.png").read()
