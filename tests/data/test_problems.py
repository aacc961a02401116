from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.data.dataset import DetectionDataset, Problem, Sample
from regard.data.formats import load_data
from regard.data.images import ImageFile
from regard.data.problems import drop_unreadable, problem_lines, report_problems
from regard.errors import RegardError


def test_each_kind_is_one_line_with_an_example() -> None:
    problems = [
        Problem("a", "x.txt", "first", "kept", 3),
        Problem("b", "y", "other", "gone"),
        Problem("b", "z", "", ""),
    ]
    assert problem_lines(problems) == ["2 x b, such as y: other (gone)", "a: x.txt:3: first (kept)"]


def test_problems_are_logged(yolo_set: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (yolo_set / "labels/train/b.txt").write_text("7 .5 .5 .1 .1\n")
    (yolo_set / "labels/val/c.txt").write_text("")
    report_problems(load_data(yolo_set))
    text = caplog.text
    for words in ("class out of range", "b.txt:1", "val has no boxes", "2 x class without boxes"):
        assert words in text
    levels = {record.levelno for record in caplog.records if "class out of range" in record.getMessage()}
    assert levels == {logging.WARNING}  # what is lost is seen where logging is not configured


def test_a_set_without_boxes_is_an_error_with_what_was_lost(yolo_set: Path) -> None:
    for label in yolo_set.glob("labels/*/*.txt"):
        label.write_text("0 80 60 24 20\n")
    with pytest.raises(RegardError, match="no boxes") as caught:
        report_problems(load_data(yolo_set))
    assert "3 x pixels instead of fractions" in str(caught.value)


def test_unreadable_images_are_left_out(yolo_set: Path) -> None:
    data = load_data(yolo_set)
    assert drop_unreadable(data) is data
    (yolo_set / "images/train/b.png").write_bytes(b"no image")
    kept = drop_unreadable(data)
    assert [sample.image.name[-5:] for sample in kept.splits["train"]] == ["a.png"]
    assert kept.splits["val"] == data.splits["val"]
    assert [(problem.kind, problem.lost) for problem in kept.problems] == [("unreadable image", True)]


def test_boxes_of_unrotated_photos_are_found_by_the_stated_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((23, 37, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    Image.fromarray(np.zeros((23, 37, 3), np.uint8)).save(tmp_path / "b.jpg")
    boxes, ids = np.array([[0.5, 0.5, 0.1, 0.1]]), np.array([0])
    samples = tuple(Sample(ImageFile(tmp_path / f"{n}.jpg"), boxes, ids, 0, labelled_size=(23, 37)) for n in "ab")
    data = drop_unreadable(DetectionDataset(("cat",), {"train": samples}, "voc", "pets"))
    assert data.splits["train"] == samples
    assert [(p.kind, Path(p.place).name) for p in data.problems] == [("labels of an unrotated image", "a.jpg")]


def test_images_without_their_end_are_named_and_kept(tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 255, (53, 71, 3), np.uint8)
    files = [tmp_path / f"{name}.jpg" for name in ("cut", "whole")]
    for file in files:
        Image.fromarray(pixels).save(file)
    files[0].write_bytes(files[0].read_bytes()[:-99])
    files[1].write_bytes(files[1].read_bytes() + b"more after the end")
    boxes, classes = np.full((1, 4), 0.5), np.zeros(1, np.int64)
    samples = tuple(Sample(ImageFile(file), boxes, classes, k) for k, file in enumerate(files))
    kept = drop_unreadable(DetectionDataset(("a",), {"train": samples}, "yolo", "x"))
    assert kept.splits["train"] == samples
    assert [(p.kind, p.place, p.lost) for p in kept.problems] == [("damaged image", str(files[0]), True)]
