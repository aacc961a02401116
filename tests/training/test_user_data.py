"""Data sets as users have them, from the loading to the end of a run and of a validation."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_runs import Train

import regard
from regard.errors import RegardError, RegardWarning
from regard.graph.detector import Detector


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Ten images, each with a red cat on the left and a blue dog on the right; no val split."""
    folder = tmp_path / "pets"
    rng = np.random.default_rng(11)
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
    for k in range(10):
        pixels = rng.integers(0, 255, (7, 9, 3), dtype=np.uint8).repeat(9, 0).repeat(9, 1)
        pixels[20:40, 10:30], pixels[20:40, 50:70] = (0, 0, 255), (255, 0, 0)
        cv2.imwrite(str(folder / f"images/train/{k}.png"), pixels)
        (folder / f"labels/train/{k}.txt").write_text("0 .25 .48 .25 .32\n1 .74 .48 .25 .32\n")
    (folder / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    return folder


def test_without_a_val_split_a_fraction_is_validated_on(model: Detector, train: Train, pets: Path) -> None:
    run = train(model, data=pets, val_fraction=0.3)
    assert run.metrics.images == 3
    assert json.loads((run.folder / "run.json").read_text())["data"]["splits"]["train"]["images"] == 7


def test_a_run_resumes_after_its_data_have_moved(
    model: Detector, train: Train, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pets.parent)
    run = train(model, data="pets")
    assert json.loads((run.folder / "run.json").read_text())["data"]["source"] == str(pets / "data.yaml")
    moved = pets.rename(pets.with_name("moved"))
    with pytest.raises(RegardError, match="does not exist") as caught:
        regard.resume(run.folder)
    assert "--data" in str(caught.value.hint)
    assert regard.resume(run.folder, data=moved).metrics.images == 2
    config = json.loads((run.folder / "run.json").read_text())
    assert config["data"]["source"] == str(moved / "data.yaml")  # where doctor and the card look for it
    [change] = config["changes"]
    assert change["data"] == {"source": [str(pets / "data.yaml"), str(moved / "data.yaml")]}
    (moved / "labels/train/3.txt").write_text("")
    with pytest.raises(RegardError, match="the run's data had splits"):
        regard.resume(run.folder, data=moved)


def test_a_copy_of_a_run_resumes_on_another_machine(
    model: Detector, train: Train, pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a drive that is mounted elsewhere: the run, its data and the working folder have other paths."""
    run = train(model, data=pets, epochs=1)
    there = tmp_path / "drive" / "copied run"
    shutil.copytree(run.folder, there)
    shutil.rmtree(run.folder)
    data = pets.rename(there.with_name("data"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = regard.resume("../drive/copied run", data="../drive/data", epochs=2)
    assert again.folder.resolve() == there
    assert len((there / "results.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert not run.folder.exists()
    assert list(elsewhere.iterdir()) == []
    config = json.loads((there / "run.json").read_text(encoding="utf-8"))
    assert config["settings"]["epochs"] == 2
    assert regard.load(there).names == again.model.names
    assert regard.resume(there, data=data, epochs=3).metrics.images == 2


def test_one_unreadable_image_costs_a_line(
    model: Detector, train: Train, pets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (pets / "images/train/4.png").write_bytes(b"no image")
    run = train(model, data=pets)
    assert (
        sum(split["images"] for split in json.loads((run.folder / "run.json").read_text())["data"]["splits"].values())
        == 9
    )
    assert "unreadable image" in caplog.text
    assert "4.png" in caplog.text


def test_data_without_a_box_are_rejected_with_the_reason(model: Detector, train: Train, pets: Path) -> None:
    for label in pets.glob("labels/train/*.txt"):
        label.write_text("0 20 30 20 20\n")
    for run in (lambda: train(model, data=pets), lambda: regard.val(model, pets, split="train", imgsz=64)):
        with pytest.raises(RegardError, match="10 x pixels instead of fractions"):
            run()


def test_ids_from_1_are_shifted_when_asked(model: Detector, train: Train, pets: Path) -> None:
    for label in pets.glob("labels/train/*.txt"):
        label.write_text("1 .25 .48 .25 .32\n2 .74 .48 .25 .32\n")
    run = train(model, data=pets, first_class=1)
    assert [entry.labels for entry in run.metrics.per_class] == [2, 2]
    metrics = regard.val(run.model, pets, split="train", imgsz=64, first_class=1)
    assert [entry.labels for entry in metrics.per_class] == [10, 10]


def test_validation_matches_classes_by_name(model: Detector, pets: Path) -> None:
    model.names = {0: "cat", 1: "dog"}
    expected = {entry.name: entry.ap for entry in regard.val(model, pets, split="train", imgsz=64).per_class}
    (pets / "data.yaml").write_text("train: images/train\nnames: [dog, cat]\n")
    for label in pets.glob("labels/train/*.txt"):
        label.write_text("1 .25 .48 .25 .32\n0 .74 .48 .25 .32\n")
    assert {e.name: e.ap for e in regard.val(model, pets, split="train", imgsz=64).per_class} == expected


def test_a_split_without_boxes_has_no_ap(model: Detector, pets: Path) -> None:
    (pets / "images/val").mkdir()
    for k in (3, 5):
        (pets / f"images/train/{k}.png").rename(pets / f"images/val/{k}.png")
    (pets / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    with pytest.warns(RegardWarning, match="AP is undefined"):
        metrics = regard.val(model, pets, imgsz=64)
    assert metrics.images == 2
    assert np.isnan(metrics.ap)


def test_an_undivided_set_is_measured_whole_with_a_warning(model: Detector, pets: Path) -> None:
    (pets / "data.yaml").unlink()
    for kind in ("images", "labels"):
        (pets / kind / "train").rename(pets / "moved")
        (pets / kind).rmdir()
        (pets / "moved").rename(pets / kind)
    with pytest.warns(RegardWarning, match="no split"):
        assert regard.val(model, pets, imgsz=64).images == 10
