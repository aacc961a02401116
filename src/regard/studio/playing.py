"""The addresses that play a video of the workspace or of the page with its detections, frame by frame."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from regard.config import PREDICT, DetectSettings
from regard.drawing import encode_image, shrink
from regard.errors import RegardError, one_of
from regard.prediction.detect import candidates
from regard.prediction.films import Frame, film_frames
from regard.studio import answers as a
from regard.studio.bench import Bench
from regard.studio.workspace import FILMS, Workspace

PREFIX = "regard-studio-"
"""Start of the name of the temporary folder."""

MOST_SIDE, QUALITY = 960, 80
"""Longest side of a frame that is sent in pixels, and the quality of its JPEG."""


class Films:
    """Videos that the page has sent, in a temporary folder; only the latest is kept, and none when the server ends."""

    def __init__(self) -> None:
        self._folder: TemporaryDirectory[str] | None = None
        self._known: dict[str, Path] = {}

    async def keep(self, name: str, content: AsyncIterator[bytes]) -> str:
        """Write a video as it comes; its key is returned.

        Raises:
            RegardError: it is no video by its name.
        """
        suffix = _film_suffix(name)
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        key = secrets.token_hex(8)
        path = Path(self._folder.name, key + suffix)
        try:
            with path.open("xb") as file:
                async for part in content:
                    file.write(part)
        except BaseException:  # also where the page has gone
            path.unlink(missing_ok=True)
            raise
        for old in self._known.values():
            with suppress(OSError):  # Windows keeps what is being played
                old.unlink()
        self._known = {key: path}
        return key

    def find(self, key: str) -> Path:
        """Look up a video.

        Raises:
            RegardError: it is not kept any more.
        """
        if key not in self._known:
            raise RegardError("this video is not kept any more", hint="choose it again")
        return self._known[key]


def _film_suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    if suffix not in FILMS:
        raise RegardError(f"{name!r:.200} is no video", expected=one_of(FILMS))
    return suffix


def playing(bench: Bench, workspace: Workspace) -> APIRouter:
    """Videos."""
    router, films = APIRouter(), Films()

    @router.post("/film")
    async def upload(request: Request, name: str) -> str:
        return await films.keep(name, request.stream())

    @router.get("/film", response_model=a.Played)
    def film(
        source: str = "",
        key: str = "",
        conf: float = Query(PREDICT.conf, ge=0.01, le=1),
        iou: float = Query(PREDICT.iou, ge=0, le=1),
        stride: int = Query(1, ge=1, le=1000),
        base: bool = False,
    ) -> StreamingResponse:
        path = films.find(key) if key else workspace.find(source)
        _film_suffix(path.name)
        frames = film_frames(path, stride)
        try:
            first = next(frames)  # what cannot be read is an error before the answer begins
        except RegardError as error:
            raise RegardError(error.what, expected=error.expected, file=None if key else error.file) from error
        settings = DetectSettings(conf=conf, iou=iou)
        events = _events(bench, chain([first], frames), settings, base)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})

    return router


def _events(bench: Bench, frames: Iterator[Frame], settings: DetectSettings, base: bool) -> Iterator[str]:
    """Frames with detections as server-sent events, not faster than the video."""
    due = time.monotonic()
    for frame in frames:
        with bench.working():
            state = bench.base if base else bench.state
            found = candidates(state.built, frame.image, imgsz=state.diagram.imgsz, conf=settings.conf)
        height, width = frame.image.shape[:2]
        image = base64.b64encode(encode_image(shrink(frame.image, MOST_SIDE), ".jpg", QUALITY)).decode()
        boxes = a.boxes_of(found.detections(settings))
        number = frame.number or 0
        played = a.Played(number=number, width=width, height=height, image=image, boxes=boxes)
        time.sleep(max(due - time.monotonic(), 0))
        due = max(due, time.monotonic() - 1) + (1 / frame.fps if frame.fps else 0)
        yield f"data: {played.model_dump_json()}\n\n"
