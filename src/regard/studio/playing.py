"""The address that plays a video of the workspace with its detections, frame by frame."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from itertools import chain

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from regard.config import PREDICT, DetectSettings
from regard.drawing import encode_image, shrink
from regard.errors import RegardError
from regard.prediction.detect import candidates
from regard.prediction.films import Frame, film_frames
from regard.studio import answers as a
from regard.studio.bench import Bench
from regard.studio.workspace import FILMS, Workspace

MOST_SIDE, QUALITY = 960, 80
"""Longest side of a frame that is sent in pixels, and the quality of its JPEG."""


def playing(bench: Bench, workspace: Workspace) -> APIRouter:
    """Videos."""
    router = APIRouter()

    @router.get("/film", response_model=a.Played)
    def film(
        source: str,
        conf: float = Query(PREDICT.conf, ge=0.01, le=1),
        iou: float = Query(PREDICT.iou, ge=0, le=1),
        stride: int = Query(1, ge=1, le=1000),
        base: bool = False,
    ) -> StreamingResponse:
        path = workspace.find(source)
        if path.suffix.lower() not in FILMS:
            raise RegardError(f"{source!r:.200} is no video", expected="one of " + ", ".join(FILMS))
        frames = film_frames(path, stride)
        first = next(frames)  # what cannot be read is an error before the answer begins
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
