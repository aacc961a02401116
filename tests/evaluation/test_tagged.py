"""Labels and detections in one COCO file, each marked as right, wrong or missed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools.coco import COCO

import regard
from regard.data.formats import load_data
from regard.detections import Detections
from regard.evaluation.tagged import save_tagged, tagged

NAMES = ("circle", "square")


def samples() -> tuple:  # type: ignore[type-arg]
    return load_data("synthetic:local?train=0&val=3&test=0").splits["val"]


def exact(sample, scores: float = 0.9) -> Detections:  # type: ignore[no-untyped-def]
    centre, size = sample.boxes_cxcywh[:, :2] * 128, sample.boxes_cxcywh[:, 2:] * 128
    boxes = np.hstack([centre - size / 2, centre + size / 2])
    count = len(boxes)
    return Detections(
        boxes,
        np.full(count, scores),
        sample.class_ids.astype(float),
        image_size=(128, 128),
        names=dict(enumerate(NAMES)),
    )


def test_right_detections_and_their_labels_name_each_other() -> None:
    sample = samples()[0]
    document = tagged([exact(sample)], [sample], NAMES)
    labels = {one["id"]: one for one in document["annotations"]}
    assert {one["eval"] for one in (*document["annotations"], *document["predictions"])} == {"tp"}
    for one in document["predictions"]:
        label = labels[one["eval_id"]]
        assert label["eval_id"] == one["id"]
        assert label["category_id"] == one["category_id"]
        assert one["bbox"] == pytest.approx(label["bbox"], abs=1e-3)
        assert one["eval_iou"] == pytest.approx(1, abs=1e-4)


def test_missed_wrong_and_unsure_detections() -> None:
    sample = samples()[1]
    found = exact(sample)
    kept = np.arange(len(found.scores)) > 0  # the first label is missed
    wrong = replace(found, scores=np.where(np.arange(len(found.scores)) == 1, 0.1, 0.9).astype(np.float32))
    ids = wrong.class_ids.copy()
    ids[2] = 1 - ids[2]  # the third has the wrong class
    wrong = Detections(
        wrong.boxes_xyxy[kept], wrong.scores[kept], ids[kept], image_size=(128, 128), names=dict(enumerate(NAMES))
    )
    document = tagged([wrong], [sample], NAMES)
    labels = [one["eval"] for one in document["annotations"]]
    assert labels == ["fn", "fn", "fn", *["tp"] * (len(labels) - 3)]
    assert [one["eval"] for one in document["predictions"]] == ["fp", *["tp"] * (len(labels) - 3)]


def test_a_detection_in_a_crowd_is_neither() -> None:
    sample = samples()[0]
    crowd = np.zeros(len(sample.class_ids), bool)
    crowd[0] = True
    document = tagged([exact(sample)], [replace(sample, crowd=crowd)], NAMES)
    assert document["annotations"][0]["eval"] == "ignored"
    assert document["predictions"][0]["eval"] == "ignored"
    assert "eval_id" not in document["predictions"][0]


def test_the_file_is_a_coco_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = samples()
    document = tagged([exact(one) for one in every], every, NAMES, category_ids=(7, 3))
    path = save_tagged(tmp_path / "deep" / "errors.json", document)
    truth = COCO(str(path))
    capsys.readouterr()
    assert len(truth.getImgIds()) == 3
    assert {one["name"]: one["id"] for one in truth.loadCats([3, 7])} == {"circle": 7, "square": 3}
    assert len(truth.getAnnIds()) == sum(len(one.class_ids) for one in every)


def test_images_are_named_below_their_common_folder() -> None:
    def named(sample, name: str):  # type: ignore[no-untyped-def]
        return replace(sample, image=SimpleNamespace(name=name))

    first, second, third = samples()
    given = [named(first, "pets/images/val/a/1.png"), named(second, "pets/images/val/b/1.png")]
    found = [exact(first), exact(second)]
    names = [one["file_name"] for one in tagged(found, given, NAMES)["images"]]
    assert names == ["a/1.png", "b/1.png"]
    mixed = [*given, named(third, str(Path("/elsewhere/2.png").absolute()))]
    names = [one["file_name"] for one in tagged([*found, exact(third)], mixed, NAMES)["images"]]
    assert names[0] == "pets/images/val/a/1.png"
    assert tagged([], [], NAMES)["images"] == []


def test_val_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "errors.json"
    regard.val("odd-one-out", "synthetic:local?train=0&val=2&test=0", imgsz=64, save_errors=path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert {one["eval"] for one in document["annotations"]} <= {"tp", "fn"}
    assert len(document["images"]) == 2
    assert document["images"][0]["file_name"]
