"""A video with its detections, as `regard.predict` finds them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi")

import regard
from regard.data.synthetic import scene


def video_in(folder: Path) -> Path:
    file = folder / "scenes.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 200.0, (128, 96))  # type: ignore[attr-defined]
    for i in range(5):
        writer.write(cv2.resize(cv2.cvtColor(scene(i, "val", 0).read(), cv2.COLOR_RGB2BGR), (128, 96)))
    writer.release()
    return file


def test_frames_have_the_detections_of_predict(studio: Any) -> None:
    file = video_in(studio.workspace)
    studio.post("open", source="odd-one-out")
    assert studio.get("files")["videos"] == ["scenes.avi"]
    query = {"source": "scenes.avi", "conf": 0.01, "stride": 2}
    answer = studio.client.get("/api/film", params=query, headers=studio.headers)
    frames = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    found = regard.predict(studio.bench.state.built, file, conf=0.01, vid_stride=2)
    assert [frame["number"] for frame in frames] == [0, 2, 4]
    assert [len(frame["boxes"]) for frame in frames] == [len(one) for one in found]
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(frames[0]["image"]), np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (96, 128, 3)


@pytest.mark.parametrize("source", ["../scenes.avi", "notes.txt", "none.avi", "broken.avi", "/etc/passwd"])
def test_what_is_no_video_of_the_workspace(source: str, studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    (studio.workspace / "notes.txt").write_text("a")
    (studio.workspace / "broken.avi").write_text("a")
    answer = studio.client.get("/api/film", params={"source": source}, headers=studio.headers)
    assert (answer.status_code, bool(answer.json()["what"])) == (422, True)
