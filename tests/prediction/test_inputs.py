"""Images in memory: all forms of the same pixels give the same detections, and what is no image is named."""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import regard
from regard.data.images import ImageFile
from regard.errors import RegardError
from regard.prediction import frames
from regard.prediction.inputs import to_rgb

RGB = np.random.default_rng(7).integers(0, 256, (53, 71, 3), dtype=np.uint8)
GRAY = RGB[..., 0]
DEEP = np.linspace(3000, 4100, 53 * 71 * 3).reshape(53, 71, 3).astype(np.uint16)
RGBA = np.dstack((RGB, RGB[..., 1]))


def _png(image: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def _pillow(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def _rotated() -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    data = io.BytesIO()
    Image.fromarray(np.rot90(RGB)).save(data, "PNG", exif=exif)
    return _pillow(data.getvalue())


CHW = RGB.transpose(2, 0, 1).copy()


@pytest.mark.parametrize(
    "same",
    [
        RGB,
        RGBA,
        RGBA[:, :, :3][:, ::-1][:, ::-1],  # not contiguous
        torch.from_numpy(CHW),
        torch.from_numpy(CHW).float() / 255,
        torch.from_numpy(CHW).double().div(255).requires_grad_(),
        torch.from_numpy(RGBA.transpose(2, 0, 1).copy()),
        Image.fromarray(RGB),
        Image.fromarray(RGBA),
        _rotated(),
        _png(RGB),
        bytearray(_png(RGB)),
        memoryview(_png(RGB)),
        RGB.astype(np.uint16) * 257,
    ],
)
def test_the_same_pixels_in_every_form(same: Any) -> None:
    rgb = to_rgb(same)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, RGB)
    (frame,) = frames(same)
    assert frame.read is not None
    np.testing.assert_array_equal(frame.read(), RGB)


@pytest.mark.parametrize(
    "same",
    [GRAY, GRAY[..., None], torch.from_numpy(GRAY.copy()), torch.from_numpy(GRAY[None] / 255), Image.fromarray(GRAY)],
)
def test_gray_is_repeated_over_three_channels(same: Any) -> None:
    np.testing.assert_array_equal(to_rgb(same), GRAY[..., None].repeat(3, axis=2))


def test_fractions_are_rounded() -> None:
    assert to_rgb(torch.full((3, 5), 0.999)).min() == 255


def test_16_bits_are_scaled_by_their_range_in_memory_and_in_files(tmp_path: Path) -> None:
    expected = np.rint((DEEP - 3000.0) / 1100 * 255)
    (tmp_path / "deep.png").write_bytes(data := _png(DEEP))
    for same in (DEEP, data):
        np.testing.assert_array_equal(to_rgb(same), expected)
    np.testing.assert_array_equal(ImageFile(tmp_path / "deep.png").read(), expected)
    gray = DEEP[..., 0]
    one = np.rint((gray - float(gray.min())) / float(gray.max() - gray.min()) * 255)
    for same in (gray, _pillow(cv2.imencode(".png", gray)[1].tobytes())):
        np.testing.assert_array_equal(to_rgb(same)[..., 1], one)
    assert not to_rgb(np.full((3, 5), 900, np.uint16)).any()  # one value has no range


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        (None, "None"),
        ([RGB, None], "None"),
        (True, "bool"),
        (3.5, "float"),
        ({"image": RGB}, "dict"),
        (object(), "object"),
        (RGB.astype(np.float32), "float32"),
        (CHW, r"\(3, 53, 71\)"),
        (RGB[:0], r"\(0, 71, 3\)"),
        (RGB[..., :2], r"\(53, 71, 2\)"),
        (torch.from_numpy(RGB), r"\(53, 71, 3\)"),
        (torch.from_numpy(CHW).float(), "from 0 to 255"),
        (torch.full((3, 4, 5), torch.nan), "nan"),
        (b"", "0 bytes"),
        (b"GIF89a", "6 bytes"),
    ],
)
def test_what_is_no_image_is_named(wrong: Any, reported: str) -> None:
    with pytest.raises(RegardError, match=reported):
        list(frames(wrong))


def test_batches_are_as_many_images() -> None:
    for batch in (np.stack([RGB, RGB[::-1]]), torch.from_numpy(np.stack([CHW, CHW[:, ::-1]]))):
        first, second = frames(batch)
        np.testing.assert_array_equal(first.image, RGB)
        np.testing.assert_array_equal(second.image, RGB[::-1])


def test_generators_are_read_as_needed_and_not_kept() -> None:
    made: list[Any] = []

    def images() -> Iterator[NDArray[np.uint8]]:
        for _ in range(50):
            image = np.zeros((32, 32, 3), np.uint8)
            made.append(weakref.ref(image))
            yield image

    stream = frames(images())
    next(stream)
    assert len(made) == 1
    found = regard.predict(regard.load("odd-one-out"), images(), imgsz=32)
    assert isinstance(found, list)
    assert len(found) == 50
    assert sum(image() is not None for image in made[1:]) < 10
    assert found[0].read_image is None


def test_a_file_and_a_pillow_image_are_read_again_for_drawing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png(RGB))
    model = regard.load("odd-one-out")
    for source in (tmp_path / "a.png", Image.open(tmp_path / "a.png")):
        found = regard.predict(model, source, imgsz=64, conf=0)
        assert isinstance(found, regard.Detections)
        assert found.source == str(tmp_path / "a.png")
        np.testing.assert_array_equal(found[[]].draw(), RGB)


@pytest.mark.parametrize(
    ("imgsz", "size"), [((96, 160), (96, 160)), ("96,160", (96, 160)), ((90, 33), (96, 48)), (160, (128, 160))]
)
def test_the_input_has_the_size_that_was_asked_for(imgsz: Any, size: tuple[int, int]) -> None:
    model, shapes = regard.load("odd-one-out"), []
    inner = model.predict
    model.predict = lambda images, conf: shapes.append(images.shape) or inner(images, conf)  # type: ignore[method-assign]
    regard.predict(model, RGB, imgsz=imgsz)
    assert shapes == [(1, 3, *size)]


@pytest.mark.parametrize("wrong", [(0, 64), (), (64, 64, 64), (64, 3.5), "64,", 0, True, 2**15])
def test_a_size_that_is_none_is_rejected(wrong: Any) -> None:
    with pytest.raises(RegardError, match=r"imgsz is .*\n  expected: a whole number from 1 to 16384, or two"):
        regard.predict("odd-one-out", RGB, imgsz=wrong)


def test_settings_of_opening_are_not_ignored_for_an_open_model() -> None:
    model = regard.load("odd-one-out")
    regard.predict(model, RGB, imgsz=32, device="cpu")
    with pytest.raises(RegardError, match="device"):
        regard.predict(model, RGB, imgsz=32, device="nowhere")
    with pytest.raises(RegardError, match="backend"):
        regard.predict(model, RGB, imgsz=32, backend="torch")


def test_an_open_file_is_one_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png(RGB))
    model = regard.load("odd-one-out")
    with open(tmp_path / "a.png", "rb") as file:
        found = regard.predict(model, file, imgsz=64, device=torch.device("cpu"), classes=0)  # type: ignore[arg-type]
    assert isinstance(found, regard.Detections)
    name = next(iter(model.names.values()))
    assert found == regard.predict(model, RGB, imgsz=64, classes=name)  # type: ignore[arg-type]
