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


def test_a_video_of_the_page_has_the_same_detections(studio: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = video_in(tmp_path_factory.mktemp("elsewhere")).read_bytes()
    file = video_in(studio.workspace)
    studio.post("open", source="odd-one-out")

    def played(**query: Any) -> str:
        return str(studio.client.get("/api/film", params={"conf": 0.01, **query}, headers=studio.headers).text)

    def sent(name: str, content: bytes) -> Any:
        return studio.client.post(f"/api/film?name={name}", headers=studio.headers, content=content)

    key = sent("<b>../../mine.AVI", content).json()
    assert played(key=key) == played(source=file.name)
    assert sorted(path.name for path in studio.workspace.iterdir()) == [file.name]
    assert sent("notes.txt", content).status_code == 422
    broken = sent("other.avi", b"no video").json()
    answer = studio.client.get("/api/film", params={"key": broken}, headers=studio.headers)
    assert (answer.status_code, answer.json()["file"]) == (422, None)
    answer = studio.client.get("/api/film", params={"key": key}, headers=studio.headers)  # only the latest is kept
    assert (answer.status_code, "not kept" in answer.json()["what"]) == (422, True)


@pytest.mark.parametrize("source", ["../scenes.avi", "notes.txt", "none.avi", "broken.avi", "/etc/passwd"])
def test_what_is_no_video_of_the_workspace(source: str, studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    (studio.workspace / "notes.txt").write_text("a")
    (studio.workspace / "broken.avi").write_text("a")
    answer = studio.client.get("/api/film", params={"source": source}, headers=studio.headers)
    assert (answer.status_code, bool(answer.json()["what"])) == (422, True)
