from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.data.formats.voc import read as read_voc
from regard.errors import RegardError


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_boxes_are_fractions_of_the_stated_size(voc_set: Path) -> None:
    data = read_voc(voc_set)
    assert (data.names, data.format, list(data.splits)) == (("cat", "dog"), "voc", ["train", "val"])
    (record,) = data.splits["train"]
    np.testing.assert_allclose(record.boxes_cxcywh, [[0.35, 0.3, 0.5, 0.4], [0.5, 0.5, 1, 1]], rtol=1e-15)
    np.testing.assert_array_equal(record.class_ids, [1, 0])
    assert record.labelled_size == (10, 20)
    assert record.image.name == str(voc_set / "JPEGImages/a.jpg")


@pytest.mark.parametrize("name", ["classes.txt", "labels.txt"])
def test_a_file_of_names_decides_their_order(voc_set: Path, name: str) -> None:
    (voc_set / name).write_text("dog\ncow\n")
    data = read_voc(voc_set)
    assert data.names == ("dog", "cow")
    np.testing.assert_array_equal(data.splits["train"][0].class_ids, [0])
    assert [(p.kind, p.found) for p in data.problems] == [("class out of range", "class 'cat'")]


def test_trainval_serves_where_there_is_no_train(voc_set: Path) -> None:
    main = voc_set / "ImageSets/Main"
    (main / "train.txt").unlink()
    (main / "val.txt").rename(main / "test.txt")
    assert {split: len(records) for split, records in read_voc(voc_set).splits.items()} == {"train": 2, "test": 1}


def test_without_lists_everything_is_train_and_val(voc_set: Path) -> None:
    for file in (voc_set / "ImageSets/Main").iterdir():
        file.unlink()
    splits = read_voc(voc_set).splits
    assert [Path(record.image.name).stem for record in splits["train"]] == ["a", "b"]
    assert splits["train"] is splits["val"]


@pytest.mark.parametrize("width", ["0", "-20", "wide", "inf", "nan", ""])
def test_a_size_that_is_none_is_read_from_the_image(voc_set: Path, width: str) -> None:
    _edit(voc_set / "Annotations/a.xml", "<width>20", f"<width>{width}")
    record = read_voc(voc_set).splits["train"][0]
    assert record.labelled_size == (10, 20)
    np.testing.assert_allclose(record.boxes_cxcywh[0], [0.35, 0.3, 0.5, 0.4], rtol=1e-15)


def test_a_stated_size_counts_and_not_the_images(voc_set: Path) -> None:
    _edit(voc_set / "Annotations/a.xml", "<width>20", "<width>40")
    record = read_voc(voc_set).splits["train"][0]
    assert record.labelled_size == (10, 40)
    np.testing.assert_allclose(record.boxes_cxcywh[0], [0.175, 0.3, 0.25, 0.4], rtol=1e-15)


def test_missing_images_and_labels_are_recorded(voc_set: Path) -> None:
    (voc_set / "ImageSets/Main/train.txt").write_text("a\nb\nz\n")
    (voc_set / "Annotations/b.xml").unlink()
    data = read_voc(voc_set)
    assert [len(record.class_ids) for record in data.splits["train"]] == [2, 0]
    assert [problem.kind for problem in data.problems] == ["missing image", "missing label", "missing label"]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("</annotation>", "\n</annot>", 2, "not valid XML"),
        ("<xmin>2</xmin>", "", None, "object 1 has xmin None"),
        ("<ymax>10</ymax>", "<ymax>low</ymax>", None, "object 2 has ymax 'low'"),
    ],
)
def test_a_broken_file_is_named(voc_set: Path, old: str, new: str, line: int | None, words: str) -> None:
    _edit(voc_set / "Annotations/a.xml", old, new)
    with pytest.raises(RegardError, match=words) as caught:
        read_voc(voc_set)
    assert (caught.value.file, caught.value.line) == (voc_set / "Annotations/a.xml", line)


def test_an_empty_list_and_absent_images_are_errors(voc_set: Path) -> None:
    (voc_set / "ImageSets/Main/train.txt").write_text("z\n")
    with pytest.raises(RegardError, match="none of the 1 train images"):
        read_voc(voc_set)
    (voc_set / "ImageSets/Main/train.txt").write_text("\n")
    with pytest.raises(RegardError, match="the list is empty"):
        read_voc(voc_set)
    (voc_set / "ImageSets/Main/train.txt").write_text("a\n")
    (voc_set / "JPEGImages").rename(voc_set / "Images")
    with pytest.raises(RegardError, match="folder JPEGImages is missing"):
        read_voc(voc_set)


def test_an_encoding_that_nobody_knows_is_named(voc_set: Path) -> None:
    file = voc_set / "Annotations/a.xml"
    file.write_text(f'<?xml version="1.0" encoding="klingon"?>{file.read_text()}')
    with pytest.raises(RegardError, match="klingon") as caught:
        read_voc(voc_set)
    assert caught.value.file == file
