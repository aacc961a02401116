"""Cameras and network streams, which may not end and may not answer."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from regard.errors import RegardError, warn
from regard.prediction.films import Frame, captured
from regard.system.files import is_file

STREAM_SECONDS, MORE_SECONDS = 9, 2
"""How long a stream may take to answer, and then for each image, and how much longer a name may be looked up."""

CAMERA = re.compile(r"(?:/dev/video)?(\d{1,4})")
STREAM = re.compile(r"(?:rtsp|rtsps|rtmp|rtmps)://", re.IGNORECASE)
PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443}


def is_live(name: str) -> bool:
    """Whether a source that is no file is a camera (``0``, ``/dev/video0``) or a network stream, which may not end."""
    return bool(CAMERA.fullmatch(name) or STREAM.match(name)) and not is_file(name)


def live_frames(name: str, stride: int = 1) -> Iterator[Frame]:
    """Yield every ``stride``-th frame of a camera or network stream until it ends.

    A password in the address is left out of the frames' source.

    Raises:
        RegardError: there is no such camera, or the stream cannot be opened or gives no image in time.
    """
    camera, start = CAMERA.fullmatch(name), time.monotonic()
    shown = f"camera{camera[1]}" if camera else re.sub(r"//.*@", "//", name)  # a password
    video = cv2.VideoCapture(int(camera[1])) if camera else _opened(name, shown)
    count = 0
    for frame in captured(video, shown, stride):
        count, start = count + 1, time.monotonic()
        yield frame
    seconds = time.monotonic() - start
    if not count:
        raise _no_camera(int(camera[1]), seconds) if camera else _no_stream(name, shown, seconds)
    silent = "" if seconds < STREAM_SECONDS - 1 else f": no further image within {seconds:.0f} seconds"
    warn(f"{shown} ended after {count} frames{silent}")


def _opened(address: str, shown: str) -> cv2.VideoCapture:
    """Open a stream in a thread: FFmpeg's time limit does not apply to the look-up of a name."""
    opened: list[cv2.VideoCapture] = []
    thread = threading.Thread(target=lambda: opened.append(_capture(address)), daemon=True)
    thread.start()
    thread.join(STREAM_SECONDS + MORE_SECONDS)
    if not opened:
        seconds = STREAM_SECONDS + MORE_SECONDS
        raise RegardError(
            f"cannot open the stream {shown}: {_host(address)[0]} did not answer within {seconds} seconds"
        )
    return opened[0]


def _capture(address: str) -> cv2.VideoCapture:
    limit = 1000 * STREAM_SECONDS
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)


def _no_camera(number: int, seconds: float) -> RegardError:
    registry = cv2.videoio_registry
    tried = ", ".join(registry.getBackendName(backend) for backend in registry.getCameraBackends())
    what = f"camera {number} cannot be opened, or gives no image: tried for {seconds:.1f} seconds with OpenCV's {tried}"
    there = sorted(str(path) for path in Path("/dev").glob("video*"))
    hint = None
    if Path("/dev/null").exists():
        hint = f"there are {', '.join(there)}" if there else "this machine has no camera: there is no /dev/video*"
    expected = "the number of a camera of this machine that no other program uses, or a path or URL"
    return RegardError(what, expected=expected, hint=hint)


def _no_stream(address: str, shown: str, seconds: float) -> RegardError:
    expected = "an address that OpenCV's FFmpeg can open, of a server that sends video"
    if seconds >= STREAM_SECONDS - 1:
        what = f"cannot open the stream {shown}: the server sent no image within {seconds:.0f} seconds"
    else:
        what = f"cannot open the stream {shown}: {_failure(address)} (tried for {seconds:.1f} seconds)"
    return RegardError(what, expected=expected)


def _failure(address: str) -> str:
    """Why FFmpeg, which does not say it, gave up at once."""
    host, port = _host(address)
    try:
        socket.create_connection((host, port), timeout=MORE_SECONDS).close()
    except (OSError, ValueError) as error:
        return f"{host}, port {port}: {getattr(error, 'strerror', None) or error}"
    return f"{host} answers on port {port}, but not with a video that FFmpeg can read"


def _host(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    try:
        return parts.hostname or "", parts.port or PORTS[parts.scheme.lower()]
    except ValueError:  # a port that is no number
        return parts.hostname or "", PORTS[parts.scheme.lower()]
