"""What is said about a weights file that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.weights.paths import missing_file


@pytest.mark.parametrize(
    ("asked", "published"),
    [("yolov5n.pt", "yolov5n.pt"), ("yolov5x6.pt", "yolov5x6.pt"), ("YOLOv5-m.pt", "yolov5m.pt")],
)
def test_says_what_the_publisher_calls_it(asked: str, published: str, tmp_path: Path) -> None:
    message = str(missing_file(tmp_path / asked))
    assert f"published by Ultralytics with YOLOv5 release v7.0 as `{published}`; regard downloads nothing" in message


def test_says_nothing_of_the_publisher_about_other_names(tmp_path: Path) -> None:
    assert "Ultralytics" not in str(missing_file(tmp_path / "best.safetensors"))


@pytest.mark.parametrize("name", ["yolov8n.pt", "yolov5nu.pt", "yolo11s.pt", "yolo26n.pt", "yolov8n-p6.pt"])
def test_names_of_later_detectors_are_those_of_their_publisher(name: str, tmp_path: Path) -> None:
    assert f"published by Ultralytics as `{name}`; regard downloads nothing" in str(missing_file(tmp_path / name))


@pytest.mark.parametrize("name", ["yolov3-tiny.pt", "rtdetr-l.pt", "yolov8n-seg.pt", "yolo11n-pose.pt", "yolov7.pt"])
def test_names_of_other_kinds_are_not_taken_for_yolov5s(name: str, tmp_path: Path) -> None:
    message = str(missing_file(tmp_path / name))
    assert "another kind of model" in message
    assert "published" not in message


def test_an_ending_alone_makes_no_near_name(tmp_path: Path) -> None:
    (tmp_path / "old.pt").touch()
    assert "did you mean" not in str(missing_file(tmp_path / "best.pt"))


def test_suggests_a_near_name_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "helmets.pt").touch()
    (tmp_path / "helmet.txt").touch()
    assert "did you mean 'helmets.pt'?" in str(missing_file(tmp_path / "helmet.pt"))


def test_says_when_the_folder_is_missing_or_the_path_is_one(tmp_path: Path) -> None:
    assert "no folder" in str(missing_file(tmp_path / "absent" / "a.pt"))
    assert "this is a folder" in str(missing_file(tmp_path))
