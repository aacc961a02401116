"""Lists, folders and several files: what is read, in which order, and what is skipped with which reason."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from regard.errors import RegardError, RegardWarning
from regard.prediction import Reading, frames


@pytest.fixture
def dripping() -> Iterator[str]:
    """URL of a server that redirects at once, and then sends its headers byte by byte and without an end."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError), server.accept()[0] as first:
            first.recv(4096)
            first.sendall(b"HTTP/1.1 302 Found\r\nLocation: /b.jpg\r\nContent-Length: 0\r\n\r\n")
        with suppress(OSError), server.accept()[0] as second:
            second.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                second.sendall(b"x")
                time.sleep(0.05)

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/a.jpg"
    server.close()


def test_one_limit_of_time_holds_for_redirects_and_headers_of_a_url(
    dripping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.prediction.sources.DOWNLOAD_SECONDS", 0.7)
    start = time.monotonic()
    with pytest.raises(RegardError, match=r"cannot download .*more than 0\.7 seconds"):
        _sources(dripping)
    assert time.monotonic() - start < 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("name", ["a.jpg", "a.mp4", "a.tif", "a.txt", "a.unknown"])
def test_a_pipe_is_called_a_pipe(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(RegardError, match=rf"{re.escape(name)}: this is a pipe"):
        _sources(tmp_path / name)


def _image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.zeros((5, 7, 3), np.uint8))[1].tobytes())
    return path


def _torn(path: Path) -> Path:
    path.write_bytes(b"not an image")
    return path


def _sources(source: object, reading: Reading | None = None) -> list[str]:
    return [frame.source for frame in frames(source, reading or Reading())]  # type: ignore[arg-type]


def test_a_list_names_files_relative_to_itself_or_to_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    below, here, far = _image(tmp_path / "set/b.png"), _image(tmp_path / "c.png"), _image(tmp_path / "far/a.png")
    (tmp_path / "set/list.txt").write_text(f"b.png\n\nc.png\n{far}\n")
    assert [Path(name).resolve() for name in _sources("set/list.txt")] == [below, here, far]


def test_what_a_list_names_in_vain_is_skipped_with_a_reason(tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    _torn(tmp_path / "torn.jpg")
    (tmp_path / "list.txt").write_text("a.png\nmissing.jpg\ntorn.jpg\n")
    skipped: list[RegardError] = []
    assert len(_sources(tmp_path / "list.txt", Reading(skip=skipped.append))) == 1
    for name, error in zip(("missing.jpg", "torn.jpg"), skipped, strict=True):
        assert name in str(error)
    (tmp_path / "list.txt").write_text("missing.jpg\n")
    with pytest.raises(RegardError, match=r"list\.txt"), pytest.warns(RegardWarning):
        _sources(tmp_path / "list.txt")


def test_of_several_files_a_torn_one_costs_only_itself(tmp_path: Path) -> None:
    first, torn, last = _image(tmp_path / "a.png"), _torn(tmp_path / "b.jpg"), _image(tmp_path / "c.png")
    with pytest.warns(RegardWarning, match=r"(?s)b\.jpg.*skipped"):
        assert _sources([first, torn, last]) == [str(first), str(last)]
    for only in (torn, [torn], str(torn)):
        with pytest.raises(RegardError, match=r"b\.jpg"):
            _sources(only)


def test_of_several_sources_a_missing_one_costs_only_itself(tmp_path: Path) -> None:
    first, missing, last = _image(tmp_path / "a.png"), tmp_path / "missing.png", _image(tmp_path / "set/c.png")
    skipped: list[RegardError] = []
    reading = Reading(skip=skipped.append)
    for sources in ([missing, first, last.parent], iter([first, "", last]), [first, "ftp://x/a.png", last]):
        assert _sources(sources, reading) == [str(first), str(last)]
    assert ["no such file" in str(error) for error in skipped] == [True, False, False]
    for sources in (missing, [missing], [missing, tmp_path / "other.png"]):
        with pytest.raises(RegardError, match=r"missing\.png: no such file"):
            _sources(sources, reading)


@pytest.mark.parametrize(("name", "is_near"), [("nope.jpg", False), ("imgae1.png", True), ("IMAGE1.jpg", True)])
def test_only_near_names_are_suggested(tmp_path: Path, name: str, is_near: bool) -> None:
    _image(tmp_path / "image1.png")
    _image(tmp_path / "a5.jpg")
    with pytest.raises(RegardError) as caught:
        _sources(tmp_path / name)
    assert ("image1.png" in str(caught.value)) is is_near
    assert "a5" not in str(caught.value)


def test_comments_in_a_list_are_no_files(tmp_path: Path) -> None:
    images = [_image(tmp_path / name) for name in ("a.png", "#b.png")]
    (tmp_path / "list.txt").write_text("# my images\na.png\n#b.png\n")
    assert _sources(tmp_path / "list.txt") == list(map(str, images))


def test_subfolders_are_read_on_request(tmp_path: Path) -> None:
    deep = _image(tmp_path / "photos/one/two/a.png")
    with pytest.raises(RegardError, match="recursive"):
        _sources(tmp_path / "photos")
    top = _image(tmp_path / "photos/z.png")
    assert _sources(tmp_path / "photos") == [str(top)]
    _image(tmp_path / "photos" / "._hidden.png")  # as macOS leaves them beside copied files
    assert _sources(tmp_path / "photos", Reading(recursive=True)) == [str(deep), str(top)]
    assert _sources(tmp_path / "photos") == [str(top)]


def test_brackets_in_names_are_no_patterns(tmp_path: Path) -> None:
    folder = tmp_path / "da[ta]" / "[1]"
    folder.mkdir(parents=True)
    for name in ("a[0].png", "b[0].png", "a0.png"):
        cv2.imwrite(str(folder / name), np.zeros((8, 8, 3), np.uint8))
    assert [Path(frame.source).name for frame in frames(folder / "*.png")] == ["a0.png", "a[0].png", "b[0].png"]
    assert [Path(frame.source).name for frame in frames(folder / "a[0].png")] == ["a[0].png"]
    assert [Path(frame.source).name for frame in frames(str(folder / "b[0]*.png"))] == ["b[0].png"]
    assert len(list(frames(str(tmp_path / "da[ta]" / "*" / "*.png")))) == 3
    with pytest.raises(RegardError, match="no such file"):
        next(frames(str(folder / "c[0].png")))
