from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from regard.data.formats import load_data
from regard.drawing import class_colour
from regard.errors import RegardError
from regard.visualize.contact_sheet import write_contact_sheet


def _read(file: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = cv2.imread(str(file))
    assert image is not None
    return np.asarray(image[:, :, ::-1], dtype=np.uint8)


def test_a_sheet_shows_every_split_in_its_class_colours(tmp_path: Path) -> None:
    data = load_data("synthetic:context?train=31&val=5&test=3")
    sheet = _read(write_contact_sheet(data, tmp_path / "new" / "sheet.png"))
    # 7, 5 and 3 images of the three splits: three rows of five square tiles
    assert sheet.shape[:2] == (92 + 3 * (380 + 26 + 16), 16 + 5 * (380 + 16))
    for class_id in (0, 1):
        assert (sheet == class_colour(class_id)).all(axis=2).sum() > 1000
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "sheet.png"]


def test_a_box_is_drawn_where_the_object_is(yolo_set: Path) -> None:
    (yolo_set / "labels/train/a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (yolo_set / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    sheet = _read(write_contact_sheet(load_data(yolo_set), yolo_set / "sheet.png"))
    coloured = (sheet == class_colour(1)).all(axis=2)
    coloured[:92] = False  # the legend
    coloured[:, 16 + 380 :] = False
    rows, columns = np.nonzero(coloured)
    height = round(380 * 13 / 17)
    assert abs(rows.max() - (92 + 0.75 * height)) <= 2
    assert abs(columns.min() - (16 + 0.25 * 380)) <= 2
    assert abs(columns.max() - (16 + 0.75 * 380)) <= 2


def test_unreadable_images_are_left_out(yolo_set: Path) -> None:
    (yolo_set / "images/train/a.png").write_bytes(b"broken")
    sheet = yolo_set / "sheet.jpg"
    assert write_contact_sheet(load_data(yolo_set), sheet) == sheet
    assert sheet.is_file()
    for image in yolo_set.glob("images/*/*.png"):
        image.write_bytes(b"broken")
    assert write_contact_sheet(load_data(yolo_set), yolo_set / "other.jpg") is None
    assert not (yolo_set / "other.jpg").exists()


def test_names_in_other_scripts_and_many_classes(yolo_set: Path) -> None:
    for names in ("[細胞, 血小板]", "[" + ", ".join(f"c{i}" for i in range(30)) + "]"):
        (yolo_set / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {names}\n")
        assert write_contact_sheet(load_data(yolo_set), yolo_set / "sheet.png").is_file()


def test_other_kinds_of_file_are_rejected(yolo_set: Path) -> None:
    with pytest.raises(RegardError, match=r"\.png or \.jpg"):
        write_contact_sheet(load_data(yolo_set), yolo_set / "sheet.pdf")


def test_a_place_that_cannot_be_written_is_named(yolo_set: Path) -> None:
    sheet = yolo_set / "data.yaml/sheet.png"
    with pytest.raises(RegardError, match="is a file") as caught:
        write_contact_sheet(load_data(yolo_set), sheet)
    assert caught.value.file == sheet.parent
