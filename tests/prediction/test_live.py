"""Cameras and network streams: what is read, and what is said where nothing comes."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.errors import RegardError, RegardWarning
from regard.prediction import frames, live
from regard.prediction.detect import predict

IMAGES = [np.full((48, 64, 3), grey, np.uint8) for grey in (20, 60, 100)]


@pytest.mark.parametrize("source", ["/dev/video993", 993, "993", ["993"]])
def test_a_camera_that_is_not_there_is_named(source: str | int) -> None:
    with pytest.raises(RegardError, match="camera 993"):
        next(frames(source))


@pytest.mark.parametrize("password", ["secret", "sec@ret", "sec/ret", "@/sec"])
def test_a_stream_without_a_server_is_named_without_its_password(password: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RegardError, match="cannot open the stream") as caught:
        next(frames(f"rtsp://user:{password}@127.0.0.1:{port}/street"))
    assert "ret" not in str(caught.value).replace("street", "")


class _Camera:
    """Gives three frames and ends."""

    def __init__(self, number: int) -> None:
        self.number, self.left, self.released = number, list(IMAGES), False

    def get(self, _property: int) -> float:
        return 0.0

    def grab(self) -> bool:
        return bool(self.left)

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, self.left.pop(0)

    def release(self) -> None:
        self.released = True


def test_a_camera_is_read_until_it_ends_and_released(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras: list[_Camera] = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: cameras.append(_Camera(number)) or cameras[-1])
    with pytest.warns(RegardWarning, match="camera3 ended after 3 frames"):
        found = list(frames(["3"]))
    assert [frame.source for frame in found] == ["camera3#0", "camera3#1", "camera3#2"]
    assert {frame.video for frame in found} == {"camera3"}
    stream = frames("3")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert [(camera.number, camera.released) for camera in cameras] == [(3, True), (3, True)]


@pytest.mark.parametrize("source", ["0", 0, ["a.png", "rtsp://host/street"]])
def test_a_source_without_an_end_has_no_list(source: str | int) -> None:
    with pytest.raises(RegardError, match="no end"):
        predict(None, source)  # type: ignore[arg-type]


def test_a_file_named_like_a_camera_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("0").write_bytes(cv2.imencode(".png", IMAGES[0])[1].tobytes())
    assert [frame.source for frame in frames("0")] == ["0"]


@pytest.mark.parametrize("is_lookup", [False, True])
def test_a_stream_that_sends_no_image_ends_within_the_time(monkeypatch: pytest.MonkeyPatch, is_lookup: bool) -> None:
    monkeypatch.setattr(live, "STREAM_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:  # the system accepts connections that nobody serves
        server.settimeout(5)
        port = server.getsockname()[1]
        start = time.monotonic()
        if is_lookup:
            monkeypatch.setattr(live, "_capture", lambda _: time.sleep(3))  # as a name that is looked up for long
            monkeypatch.setattr(live, "MORE_SECONDS", 0.5)
        with pytest.raises(RegardError, match=r"within 1(\.5)? seconds") as caught:
            next(frames(f"rtsp://user:secret@127.0.0.1:{port}/street"))
        assert time.monotonic() - start < 6
        assert "ret" not in str(caught.value).replace("street", "")


def test_why_a_stream_cannot_be_opened_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(live, "_capture", lambda _: cv2.VideoCapture())
        with pytest.raises(RegardError, match=f"127.0.0.1 answers on port {port}"):
            next(frames(f"rtsp://127.0.0.1:{port}/street"))
    with pytest.raises(RegardError, match=rf"port {port}: .+tried for \d"):
        next(frames(f"rtsp://127.0.0.1:{port}/street"))
