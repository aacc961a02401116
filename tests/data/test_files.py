from __future__ import annotations

from pathlib import Path

import pytest

from regard.data.formats.coco import read as read_coco
from regard.data.formats.voc import read as read_voc
from regard.data.formats.yolo import read as read_yolo
from regard.errors import RegardError
from regard.system.files import is_file
from regard.system.loaders import read_text


def test_the_line_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("häh\nca".encode() + b"t\xe9\n")
    with pytest.raises(RegardError, match=r"b'\\xe9' is not valid UTF-8") as caught:
        read_text(file)
    assert (caught.value.file, caught.value.line) == (file, 2)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="cannot be read") as caught:
        read_text(tmp_path)
    assert caught.value.file == tmp_path


def test_names_that_can_be_no_path_are_no_files(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    assert is_file(file)
    assert not is_file(tmp_path)
    assert not is_file(tmp_path / "x\0")
    assert not is_file(tmp_path / ("x" * 5000))


@pytest.mark.parametrize("name", ["data.yaml", "labels/train/a.txt", "list.txt"])
def test_a_yolo_set_saved_with_a_byte_order_mark(yolo_set: Path, name: str) -> None:
    (yolo_set / "list.txt").write_text("images/train/a.png\n")
    config = yolo_set / "data.yaml"
    config.write_text(config.read_text().replace("images/train", "list.txt"))
    file = yolo_set / name
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(read_yolo(config).splits["train"][0].class_ids) == 2


@pytest.mark.parametrize("name", ["classes.txt", "ImageSets/Main/train.txt"])
def test_a_voc_set_saved_with_a_byte_order_mark(voc_set: Path, name: str) -> None:
    (voc_set / "classes.txt").write_text("cat\ndog\n")
    file = voc_set / name
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    data = read_voc(voc_set)
    assert data.names == ("cat", "dog")
    assert len(data.splits["train"]) == 1


def test_a_coco_file_saved_with_a_byte_order_mark(coco_file: Path) -> None:
    coco_file.write_bytes(b"\xef\xbb\xbf" + coco_file.read_bytes())
    assert len(read_coco(coco_file).splits["train"]) == 2
