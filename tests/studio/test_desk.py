"""Data in the studio: its problems with their images, and the errors of the open model, as `regard val` counts."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip("fastapi")

import regard
from regard.data.check import check_data
from regard.data.formats import load_data
from regard.evaluation import detect
from regard.studio import desk as desk_module

DATA = "synthetic:context?train=3&val=7&test=0"


def ended(studio: Any, work: str = "errors", **query: str) -> Any:
    until = time.monotonic() + 60
    while (found := studio.get(f"data/{work}", params=query))["state"] == "running":
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def test_errors_and_ap_are_those_of_val(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    view = studio.post("data/open", data=DATA)
    assert (view["statistics"]["images"], view["names"]) == ({"train": 3, "val": 7}, ["ordinary", "odd"])
    assert studio.get("data/errors") is None
    studio.post("data/errors", split="val", imgsz=64)
    found = ended(studio)
    by_api = regard.val(studio.bench.state.built, DATA, imgsz=64)
    assert (found["state"], found["done"], found["ap"]) == ("finished", 7, by_api.ap)
    samples = load_data(DATA).splits["val"]
    assert found["kinds"]["missed"] == sum(len(sample.class_ids) for sample in samples)
    odd = ended(studio, kind="missed", name="odd")["worst"]
    assert len(odd) == 7
    first = odd[0]
    left, top, right, bottom = first["box"]
    seen = studio.get("data/sample", params=first["image"])
    assert any(label["box"] == pytest.approx(first["box"], abs=1e-3) for label in seen["labels"])
    place = {**first["image"], "left": left, "top": top, "right": right, "bottom": bottom}
    for path, asked in (("thumbnail", place), ("image", first["image"])):
        answer = studio.client.get(f"/api/data/{path}", params=asked, headers=studio.headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


def test_an_analysis_stops(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.post("open", source="odd-one-out")
    studio.post("data/open", data=DATA)

    def slow(predictor: Any, batches: Any, samples: Any) -> Any:
        time.sleep(0.3)
        return detect(predictor, batches, samples)

    monkeypatch.setattr(desk_module, "detect", slow)
    studio.post("data/errors", split="val", imgsz=64)
    studio.post("data/errors/stop")
    assert studio.get("data/errors")["state"] == "stopped"


def test_a_check_is_watched_stopped_and_begun_again(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.post("open", source="odd-one-out")
    studio.post("data/open", data=DATA)
    assert studio.get("data/check") is None
    begun = threading.Event()

    def slow(_data: Any, before_image: Any) -> Any:
        begun.set()
        while True:  # until it is stopped
            before_image()
            time.sleep(0.01)

    monkeypatch.setattr(desk_module, "check_data", slow)
    first = studio.post("data/check")
    assert (first["state"], first["total"]) == ("running", 10)
    assert begun.wait(60)
    studio.post("data/check/stop")
    assert studio.get("data/check")["state"] == "stopped"
    monkeypatch.setattr(desk_module, "check_data", check_data)
    studio.post("data/check")
    found = ended(studio, "check")
    assert (found["state"], found["done"], found["findings"]) == ("finished", 10, [])


def test_what_is_not_there(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    for data in ("", "/etc", "../data", "no-such"):
        studio.post("data/open", status=422, data=data)
    studio.post("data/check", status=422)
    studio.post("data/open", data=DATA)
    assert "test" in studio.post("data/errors", status=422, split="test")["what"]
    studio.post("data/errors", status=422, split="nowhere")
    for query in ("split=val&index=7", "split=val&index=-1", "split=x&index=0"):
        answer = studio.client.get(f"/api/data/sample?{query}", headers=studio.headers)
        assert answer.status_code == 422, answer.text
    for value in ("nan", "inf", "1e300", "x"):
        query = f"split=val&index=0&left={value}&top=0&right=9&bottom=9"
        assert studio.client.get(f"/api/data/thumbnail?{query}", headers=studio.headers).status_code == 422


def test_problems_have_their_images(studio: Any) -> None:
    folder: Path = studio.workspace / "cells"
    for i, split in enumerate(("train", "val")):  # both splits have an image of this name
        (folder / "labels" / split).mkdir(parents=True)
        (folder / "images" / split).mkdir(parents=True)
        pixels = load_data(DATA).splits["val"][i].image.read()
        cv2.imwrite(str(folder / "images" / split / "a.png"), pixels)
        (folder / "labels" / split / "a.txt").write_text("0 0.5 0.5 0 0\n"[: 15 * (1 - i)] + "0 0.5 0.5 0.25 0.25\n")
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [x]\n")
    studio.post("open", source="odd-one-out")
    studio.post("data/open", data="cells")
    studio.post("data/check")
    first = ended(studio, "check")["findings"][0]
    assert (first["kind"], first["lost"], first["count"]) == ("zero-area box", True, 1)
    assert first["first"][0]["image"] == {"split": "train", "index": 0}
    assert not first["first"][0]["where"].startswith("/")
