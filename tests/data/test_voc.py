from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regard.data.formats import load_data
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


def test_without_lists_everything_is_undivided(voc_set: Path) -> None:
    for file in (voc_set / "ImageSets/Main").iterdir():
        file.unlink()
    splits = read_voc(voc_set).splits
    assert {name: [Path(record.image.name).stem for record in records] for name, records in splits.items()} == {
        "all": ["a", "b"]
    }


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
    ("old", "new", "boxes", "kind", "line", "words"),
    [
        ("</annotation>", "\n</annot>", None, "unreadable label file", 2, "not valid XML"),
        (
            "<annotation>",
            '<?xml version="1.0" encoding="klingon"?><annotation>',
            None,
            "unreadable label file",
            1,
            "klingon",
        ),
        ("<xmin>2</xmin>", "", 1, "broken box", None, "xmin is None"),
        ("<ymax>10</ymax>", "<ymax>low</ymax>", 1, "broken box", None, "ymax is 'low'"),
    ],
)
def test_what_is_broken_is_left_out_and_reported(
    voc_set: Path, old: str, new: str, boxes: int | None, kind: str, line: int | None, words: str
) -> None:
    _edit(voc_set / "Annotations/a.xml", old, new)
    data = read_voc(voc_set)
    assert [len(sample.class_ids) for sample in data.splits.get("train", ())] == ([] if boxes is None else [boxes])
    (problem,) = data.problems
    assert (problem.kind, problem.line, problem.lost) == (kind, line, True)
    assert problem.place.startswith(str(voc_set / "Annotations/a.xml"))
    assert words in problem.found


def test_an_empty_list_and_absent_images_are_errors(voc_set: Path) -> None:
    (voc_set / "ImageSets/Main/train.txt").write_text("\n")
    with pytest.raises(RegardError, match="the list is empty"):
        read_voc(voc_set)
    (voc_set / "classes.txt").write_text("cat\n")
    for split in ("train", "val"):
        (voc_set / f"ImageSets/Main/{split}.txt").write_text("z\n")
    with pytest.raises(RegardError, match="none of the 2 images was found, such as z"):
        read_voc(voc_set)


@pytest.mark.parametrize(("labels", "images"), [("annotations", "images"), ("xml", "Bilder"), (".", "."), ("x/y", "z")])
def test_folders_may_have_any_name(voc_set: Path, labels: str, images: str) -> None:
    shutil.rmtree(voc_set / "ImageSets")
    for old, new in (("Annotations", labels), ("JPEGImages", images)):
        (voc_set / new).mkdir(parents=True, exist_ok=True)
        for file in (voc_set / old).iterdir():
            file.rename(voc_set / new / file.name)
        (voc_set / old).rmdir()
    assert load_data(voc_set).format == "voc"
    samples = next(iter(load_data(voc_set).splits.values()))
    assert [len(sample.class_ids) for sample in samples] == [2, 1]


def test_splits_in_folder_names_may_hold_equal_names(voc_set: Path, paint: Callable[[Path, int, int], Path]) -> None:
    shutil.rmtree(voc_set / "ImageSets")
    for split, old in (("train", "a"), ("validation", "b")):
        (voc_set / split / "Annotations").mkdir(parents=True)
        (voc_set / f"Annotations/{old}.xml").rename(voc_set / split / "Annotations/1.xml")
        paint(voc_set / split / "images/1.png", 10, 20)
    shutil.rmtree(voc_set / "Annotations")
    shutil.rmtree(voc_set / "JPEGImages")
    data = load_data(voc_set)
    assert {split: [len(s.class_ids) for s in samples] for split, samples in data.splits.items()} == {
        "train": [2],
        "val": [1],
    }
    assert data.splits["val"][0].image.name == str(voc_set / "validation/images/1.png")


@pytest.mark.parametrize(
    "line", ["a.jpg", "a  1", "JPEGImages/a.jpg", "./JPEGImages/a.jpg ./Annotations/a.xml", "x\\a.xml"]
)
def test_a_list_names_images_in_many_ways(voc_set: Path, line: str) -> None:
    (voc_set / "ImageSets/Main/train.txt").write_text(f"{line}\n")
    assert [Path(s.image.name).name for s in read_voc(voc_set).splits["train"]] == ["a.jpg"]


def test_names_with_spaces_and_dots(voc_set: Path) -> None:
    for folder, suffix in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        (voc_set / folder / f"a.{suffix}").rename(voc_set / folder / f"an image.v2 (1).{suffix}")
    (voc_set / "ImageSets/Main/train.txt").write_text("an image.v2 (1)\n")
    data = read_voc(voc_set)
    assert len(data.splits["train"][0].class_ids) == 2
    assert data.problems == ()


def test_images_without_xml_are_background_and_reported(voc_set: Path) -> None:
    shutil.rmtree(voc_set / "ImageSets")
    (voc_set / "Annotations/b.xml").unlink()
    data = read_voc(voc_set)
    samples = next(iter(data.splits.values()))
    assert [len(sample.class_ids) for sample in samples] == [2, 0]
    assert [(p.kind, p.place) for p in data.problems] == [("missing label", str(voc_set / "JPEGImages/b.jpg"))]


def test_images_in_no_list_are_reported_as_lost(voc_set: Path) -> None:
    (voc_set / "ImageSets/Main/val.txt").unlink()
    (voc_set / "ImageSets/Main/trainval.txt").unlink()
    (problem,) = read_voc(voc_set).problems
    assert (problem.kind, problem.place, problem.lost) == ("unlisted image", str(voc_set / "JPEGImages/b.jpg"), True)


def test_masks_of_the_same_name_are_no_images(voc_set: Path, paint: Callable[[Path, int, int], Path]) -> None:
    for mask in ("A_masks/a.png", "SegmentationClass/a.png", "Z/a.png"):
        paint(voc_set / mask, 10, 20)
    _edit(voc_set / "Annotations/a.xml", "<size>", "<filename>else.jpg</filename><size>")
    assert read_voc(voc_set).splits["train"][0].image.name == str(voc_set / "JPEGImages/a.jpg")


@pytest.mark.parametrize(
    "polygon",
    [
        "<polygon><pt><x>2</x><y>1</y></pt><pt><x>12</x><y>1</y></pt><pt><x>7</x><y>5</y></pt></polygon>",
        "<polygon><x1>2</x1><y1>1</y1><x2>12</x2><y2>5</y2></polygon>",
    ],
)
def test_a_polygon_without_box_becomes_its_box(voc_set: Path, polygon: str) -> None:
    box = "<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>12</xmax><ymax>5</ymax></bndbox>"
    _edit(voc_set / "Annotations/a.xml", box, polygon)
    np.testing.assert_allclose(read_voc(voc_set).splits["train"][0].boxes_cxcywh[0], [0.35, 0.3, 0.5, 0.4], rtol=1e-15)


def test_comments_in_a_list_are_no_images(voc_set: Path) -> None:
    for file in voc_set.glob("ImageSets/Main/*.txt"):
        file.write_text("# comment\n" + file.read_text())
    data = load_data(voc_set)
    assert [len(samples) for samples in data.splits.values()] == [1, 1]
    assert not any(problem.lost for problem in data.problems)
