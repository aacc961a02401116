"""Videos, animations, pages, cameras and streams, frame by frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from regard.errors import RegardError
from regard.prediction import Frame, Reading, frames
from regard.prediction.sources import is_single_image

GREYS = (20, 60, 100, 140, 180, 220, 250)


def _images(size: tuple[int, int] = (48, 64)) -> list[NDArray[np.uint8]]:
    return [np.full((*size, 3), grey, np.uint8) for grey in GREYS]


def _animation(path: Path) -> Path:
    first, *others = map(Image.fromarray, _images())
    first.save(
        path, save_all=True, append_images=others, duration=200, **({} if path.suffix == ".gif" else {"lossless": True})
    )
    return path


def _video(path: Path) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12, (64, 48))
    for image in _images():
        writer.write(image)
    writer.release()
    return path


def _pages(path: Path) -> Path:
    assert cv2.imwritemulti(
        str(path), [image.astype(np.uint16) * 7 + np.arange(48)[:, None, None].astype(np.uint16) for image in _images()]
    )
    return path


def _greys(found: list[Frame]) -> list[float]:
    return [float(frame.image.mean()) for frame in found]


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.mp4"])
def test_every_frame_or_every_third_is_read(tmp_path: Path, name: str, stride: int) -> None:
    path = (_video if name.endswith("mp4") else _animation)(tmp_path / name)
    found = list(frames(path, Reading(vid_stride=stride)))
    np.testing.assert_allclose(_greys(found), GREYS[::stride], atol=5)
    assert [frame.source for frame in found] == [f"{path}#{i}" for i in range(0, 7, stride)]
    assert {frame.video for frame in found} == {str(path)}
    assert {round(frame.fps * stride, 2) for frame in found} == {12.0 if name.endswith("mp4") else 5.0}
    for frame in found:
        assert frame.read is not None
        np.testing.assert_array_equal(frame.read(), frame.image)
    assert not is_single_image(path)


def test_pages_are_images_and_16_bits_are_scaled(tmp_path: Path) -> None:
    found = list(frames(_pages(tmp_path / "scan.tif")))
    expected = np.rint(np.arange(48) / 47 * 255)
    assert len(found) == 7
    for i, frame in enumerate(found):
        np.testing.assert_array_equal(frame.image[:, 5, 1], expected)
        assert (frame.source, frame.video, frame.number) == (f"{tmp_path / 'scan.tif'}#{i}", "", i)
        assert frame.read is not None
        np.testing.assert_array_equal(frame.read(), frame.image)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif", ".avif", ".jfif"])
def test_one_image_in_a_file_is_one_image(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(_images()[2])
    try:
        image.save(tmp_path / f"a{suffix}", {".jfif": "JPEG", ".tif": "TIFF"}.get(suffix))
    except (KeyError, ValueError, OSError):
        pytest.skip(f"Pillow cannot write {suffix} here")
    (frame,) = frames(tmp_path)
    assert frame.source == str(tmp_path / f"a{suffix}")
    assert abs(frame.image.mean() - GREYS[2]) < 2
    assert is_single_image(tmp_path / f"a{suffix}")


def test_a_torn_animation_gives_its_frames_and_the_reason(tmp_path: Path) -> None:
    noise = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8)) for i in range(7)]
    noise[0].save(tmp_path / "a.gif", save_all=True, append_images=noise[1:], duration=200)
    data = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(data[: len(data) // 2])
    (tmp_path / "b.png").write_bytes(cv2.imencode(".png", _images()[0])[1].tobytes())
    skipped: list[RegardError] = []
    found = list(frames(tmp_path, Reading(skip=skipped.append)))
    assert 1 < len(found) < 7
    assert found[-1].source.endswith("b.png")
    assert [str(tmp_path / "a.gif") in str(error) for error in skipped] == [True]
    (tmp_path / "a.gif").write_bytes(data[: len(data) // 3])  # Pillow raises an IndexError
    assert list(frames(tmp_path, Reading(skip=skipped.append)))
