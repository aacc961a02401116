"""Folders without a data.yaml, and sources that are no data set."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from regard.data.dataset import DetectionDataset
from regard.data.formats import load_data
from regard.errors import RegardError

Paint = Callable[[Path, int, int], Path]


@pytest.fixture
def bare(yolo_set: Path) -> Path:
    """``yolo_set`` without its YAML file."""
    (yolo_set / "data.yaml").unlink()
    return yolo_set


def _shape(data: DetectionDataset) -> dict[str, list[list[int]]]:
    return {split: [sample.class_ids.tolist() for sample in samples] for split, samples in data.splits.items()}


def test_folders_name_the_splits_and_classes_are_numbered(bare: Path) -> None:
    data = load_data(bare)
    assert (data.format, data.names) == ("yolo", ("class0", "class1"))
    assert _shape(data) == {"train": [[1, 0], []], "val": [[0]]}
    assert [problem.kind for problem in data.problems] == ["no class names"]


@pytest.mark.parametrize("name", ["classes.txt", "labels/train/classes.txt", "obj.names", "labels/_darknet.labels"])
def test_names_are_found_anywhere(bare: Path, name: str) -> None:
    (bare / name).write_text("cat\ndog\n\n")
    data = load_data(bare)
    assert data.names == ("cat", "dog")
    assert data.problems == ()


def test_ids_may_start_at_1(bare: Path) -> None:
    (bare / "labels/train/a.txt").write_text("2 .5 .5 .1 .1\n1 .5 .5 .1 .1\n")
    (bare / "labels/val/c.txt").write_text("2 .5 .5 .1 .1\n")
    assert load_data(bare, first_class=1).names == ("class0", "class1")
    assert _shape(load_data(bare, first_class=1)) == {"train": [[1, 0], []], "val": [[1]]}
    assert load_data(bare).names == ("class0", "class1", "class2")


@pytest.mark.parametrize("layout", ["images and labels", "together"])
def test_a_folder_without_splits_is_undivided(tmp_path: Path, paint: Paint, layout: str) -> None:
    images, labels = (tmp_path / "images", tmp_path / "labels") if layout == "images and labels" else [tmp_path] * 2
    labels.mkdir(exist_ok=True)
    for k in range(3):
        paint(images / f"{k}.png", 13, 17)
        (labels / f"{k}.txt").write_text(f"{k % 2} .5 .5 .1 .1\n")
    (labels / "classes.txt").write_text("猫\n狗\n", encoding="gbk")
    data = load_data(tmp_path)
    assert data.names == ("猫", "狗")
    assert _shape(data) == {"all": [[0], [1], [0]]}
    assert [problem.kind for problem in data.problems] == ["file in another encoding"]


def test_images_outside_of_the_splits_are_reported(bare: Path, paint: Paint) -> None:
    paint(bare / "images/new/d.png", 13, 17)
    (bare / "classes.txt").write_text("cat\ndog\n")
    data = load_data(bare)
    assert list(data.splits) == ["train", "val"]
    assert [(problem.kind, problem.lost) for problem in data.problems] == [("image in no split", True)]


def test_darknet_names_lists_and_names(bare: Path) -> None:
    (bare / "data").mkdir()
    lists = "train = data/train.txt\nvalid=/home/me/darknet/data/test.txt\n"
    (bare / "data/obj.data").write_text(f"classes = 2\n{lists}names = data/obj.names\nbackup = x\n")
    (bare / "data/obj.names").write_text("cat\ndog\n")
    (bare / "data/train.txt").write_text("images/train/b.png\nimages/train/a.png\n")
    (bare / "data/test.txt").write_text("/home/me/images/val/c.png\n")
    data = load_data(bare)
    assert data.names == ("cat", "dog")
    assert _shape(data) == {"train": [[], [1, 0]], "val": [[0]]}
    assert [problem.kind for problem in data.problems] == ["moved path"]
    (bare / "data/train.txt").unlink()
    with pytest.raises(RegardError, match=r"train: data/train\.txt does not exist"):
        load_data(bare)


def test_lists_in_the_folder_name_the_splits(bare: Path) -> None:
    (bare / "classes.txt").write_text("cat\ndog\n")
    (bare / "train.txt").write_text("images/val/c.png\n")
    (bare / "val.txt").write_text("images/train/a.png\nimages/train/z.png\n")
    (bare / "test.txt").write_text("this is no list\n")
    data = load_data(bare)
    assert _shape(data) == {"train": [[0]], "val": [[1, 0]]}
    assert [problem.kind for problem in data.problems] == ["missing image"]


def test_rows_that_are_no_labels_are_still_recognised_and_reported(bare: Path) -> None:
    for label in bare.glob("labels/*/*.txt"):
        label.write_text("cat,.5,.5,.1,.1\n")
    assert [problem.kind for problem in load_data(bare).problems].count("row with commas") == 3


def test_an_archive_is_named_with_the_command_that_unpacks_it(tmp_path: Path) -> None:
    file = tmp_path / "pets.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.yaml", "names: [cat]")
    for source in (file, tmp_path):
        with pytest.raises(RegardError, match="archive") as caught:
            load_data(source)
        assert f"python -m zipfile -e {file}" in str(caught.value.hint)
    with pytest.raises(RegardError, match="archive"):
        load_data(file.rename(tmp_path / "pets.7z"))


def test_a_classification_set_is_named(tmp_path: Path, paint: Paint) -> None:
    for k in range(4):
        paint(tmp_path / ("train" if k < 2 else "val") / "cd"[k % 2] / f"{k}.png", 13, 17)
    with pytest.raises(RegardError, match="classification set: images sorted into c, d"):
        load_data(tmp_path)


def test_images_and_masks_are_no_classification_set(tmp_path: Path, paint: Paint) -> None:
    for k in range(4):
        paint(tmp_path / ("images", "masks")[k % 2] / f"{k // 2}.png", 13, 17)
    with pytest.raises(RegardError, match="segmentation set: images with masks in masks"):
        load_data(tmp_path)


def test_images_without_labels_are_named(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "a.png", 13, 17)
    with pytest.raises(RegardError, match="1 image, but no labels"):
        load_data(tmp_path)


def test_a_class_id_that_no_set_has_is_an_error(bare: Path) -> None:
    (bare / "labels/val/c.txt").write_text("1e30 .5 .5 .1 .1\n")
    with pytest.raises(RegardError, match=r"class ids reach 1\d{30}"):
        load_data(bare)
