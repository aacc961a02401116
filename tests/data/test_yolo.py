from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.data.formats.yolo import read as read_yolo
from regard.data.formats.yolo_samples import label_path
from regard.data.images import ImageFile
from regard.errors import RegardError

YAML = "path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n"


def test_boxes_classes_and_names(yolo_set: Path) -> None:
    data = read_yolo(yolo_set / "data.yaml")
    assert (data.names, data.format, list(data.splits)) == (("cat", "dog"), "yolo", ["train", "val"])
    first, second = data.splits["train"]
    np.testing.assert_array_equal(first.boxes_cxcywh, [[0.5, 0.25, 0.125, 0.5], [0.1, 0.2, 0.05, 0.07]])
    np.testing.assert_array_equal(first.class_ids, [1, 0])
    assert [first.image.name, second.image.name] == [str(yolo_set / f"images/train/{n}.png") for n in "ab"]
    assert (first.image_id, second.image_id) == (0, 1)
    assert second.boxes_cxcywh.shape == (0, 4)
    assert data.problems == ()  # an empty label file says that there is nothing


@pytest.mark.parametrize(
    "text",
    [
        YAML.replace("[cat, dog]", "{1: dog, 0: cat}"),
        YAML + "nc: 2\n",
        YAML.replace("path: .\n", ""),
        YAML.replace("images/train", "[images/train]"),
        YAML.replace("path: .", "path: ../elsewhere"),
        YAML.replace("path: .\n", "").replace("images/", "../images/"),
        YAML.replace("images/train", "train.txt"),
        YAML + "test:\n",
        YAML.replace("[cat, dog]", "{'0': cat, '1': dog}"),
        YAML.replace("[cat, dog]", "cat, dog"),
        YAML.replace("[cat, dog]", "pets.names") + "nc: '2'\n",
        YAML.replace("images/", "images\\"),
        YAML.replace("path: .", "path: ../datasets/inner"),
    ],
    ids=[
        *("names map", "nc", "no path", "list", "path off", "exported one folder up", "txt", "empty test"),
        *("keys are text", "names are text", "names in a file", "backslashes", "path as Ultralytics resolves it"),
    ],
)
def test_spellings_of_the_same_set(yolo_set: Path, text: str) -> None:
    (yolo_set / "train.txt").write_text(f"./images/train/a.png\n\n{yolo_set}/images/train/b.png\n")
    (yolo_set / "pets.names").write_text("cat\ndog\n")
    (yolo_set / "data.yaml").write_text(text)
    if "inner" in text:
        (yolo_set / "datasets/inner").mkdir(parents=True)
        for kind in ("images", "labels"):
            (yolo_set / kind).rename(yolo_set / "datasets/inner" / kind)
    data = read_yolo(yolo_set / "data.yaml")
    assert data.names == ("cat", "dog")
    assert {split: len(records) for split, records in data.splits.items()} == {"train": 2, "val": 1}
    assert [len(record.class_ids) for record in data.splits["train"]] == [2, 0]
    assert data.problems == ()


@pytest.mark.parametrize(
    ("stems", "ids"),
    [
        (("000000000009", "000000000034"), [9, 34]),  # COCO's file names
        (("7", "12"), [12, 7]),
        (("9", "b"), [0, 1]),
        (("07", "7"), [0, 1]),  # the same number twice
        (("²", "3"), [0, 1]),  # a digit to str.isdigit, but no number
    ],
)
def test_images_have_the_numbers_that_their_files_are_called_by(
    yolo_set: Path, stems: tuple[str, str], ids: list[int]
) -> None:
    for old, new in zip("ab", stems, strict=True):
        (yolo_set / f"images/train/{old}.png").rename(yolo_set / f"images/train/{new}.png")
        (yolo_set / f"labels/train/{old}.txt").rename(yolo_set / f"labels/train/{new}.txt")
    assert [record.image_id for record in read_yolo(yolo_set / "data.yaml").splits["train"]] == ids


def test_several_folders_are_read_in_order(yolo_set: Path) -> None:
    (yolo_set / "data.yaml").write_text("train: [images/val, images/train]\nnames: [cat, dog]\n")
    (records,) = read_yolo(yolo_set / "data.yaml").splits.values()
    assert [Path(record.image.name).stem for record in records] == ["c", "a", "b"]


def test_train_and_val_may_be_the_same(yolo_set: Path) -> None:
    (yolo_set / "data.yaml").write_text(YAML.replace("images/val", "images/train"))
    (yolo_set / "labels/train/b.txt").unlink()
    data = read_yolo(yolo_set / "data.yaml")
    assert data.splits["train"] is data.splits["val"]
    assert [problem.kind for problem in data.problems] == ["missing label"]


def test_labels_replace_the_last_images_folder() -> None:
    assert label_path(Path("images/x/images/train/images.jpg")) == Path("images/x/labels/train/images.txt")
    assert label_path(Path("train/a.jpg")) == Path("train/a.txt")


def test_a_polygon_gives_the_box_around_it(yolo_set: Path) -> None:
    (yolo_set / "labels/val/c.txt").write_text("1 0.5 0.5 0.25 0.25 0.75 0.875\n")
    record = read_yolo(yolo_set / "data.yaml").splits["val"][0]
    np.testing.assert_array_equal(record.boxes_cxcywh, [[0.5, 0.5625, 0.5, 0.625]])


def test_wrong_boxes_are_recorded_with_file_and_line(yolo_set: Path) -> None:
    label = yolo_set / "labels/val/c.txt"
    label.write_text("2 .5 .5 .1 .1\n\n0 .5 .5 0 .1\n0 .5 .5 .1 .1\n-1 .5 .5 .1 .1\n")
    data = read_yolo(yolo_set / "data.yaml")
    assert len(data.splits["val"][0].class_ids) == 1
    found = [(problem.kind, problem.where, problem.found[:6]) for problem in data.problems]
    assert found == [
        ("class out of range", f"{label}:1", "class "),
        ("zero-area box", f"{label}:3", "cat: c"),
        ("class out of range", f"{label}:5", "class "),
    ]


@pytest.mark.parametrize(
    "line", ["0 .5 .5 .1", "0 .5 .5 .1 .1 .9", "cat .5 .5 .1 .1", "0.5 .5 .5 .1 .1", "0 nan 0 0 0"]
)
def test_a_broken_line_is_named(yolo_set: Path, line: str) -> None:
    label = yolo_set / "labels/train/a.txt"
    label.write_text(f"0 .5 .5 .1 .1\n{line}\n")
    data = read_yolo(yolo_set / "data.yaml")
    assert len(data.splits["train"][0].class_ids) == 1
    assert [(problem.where, problem.lost) for problem in data.problems] == [(f"{label}:2", True)]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("names: [a, b\n", 1, "YAML"),
        ("- a\n", None, "no settings"),
        (YAML + "nc: 3\n", 5, "nc is 3, but there are 2 names"),
        (YAML.replace("[cat, dog]", "{1: cat, 2: dog}"), 4, "1, 2"),
        ("train: images/train\n", None, "no class names"),
        (YAML.replace("images/val", "images/vla"), 3, "images/vla does not exist"),
        ("names: [cat, dog]\n", None, "no images are named"),
        (YAML.replace("images/val", "images/vla"), 3, "did you mean 'val'"),
        (YAML.replace("images/val", "labels/val"), None, "there are no images"),
        (YAML.replace("images/val", "images/val/c.png"), None, "neither a folder nor"),
        ("!!python/object/apply:os.getcwd []\n", 1, "YAML"),
        (YAML.replace("[cat, dog]", "[yes, dog]"), 4, "a class is called True"),
        (YAML.replace("[cat, dog]", "[cat, [dog]]"), 4, r"a class is called \['dog'\]"),
    ],
)
def test_a_wrong_yaml_is_named(yolo_set: Path, text: str, line: int | None, words: str) -> None:
    (yolo_set / "data.yaml").write_text(text)
    with pytest.raises(RegardError, match=words) as caught:
        read_yolo(yolo_set / "data.yaml")
    assert caught.value.line == line


def test_labels_that_are_nowhere_are_an_error(yolo_set: Path) -> None:
    for label in yolo_set.glob("labels/*/*.txt"):
        label.rename(label.with_suffix(".text"))
    with pytest.raises(RegardError, match="none of the 3 images of train and val has a label file"):
        read_yolo(yolo_set / "data.yaml")


def test_missing_test_folder_and_listed_images_are_recorded(yolo_set: Path) -> None:
    (yolo_set / "train.txt").write_text("images/train/a.png\nimages/train/z.png\n")
    (yolo_set / "data.yaml").write_text(YAML.replace("images/train", "train.txt") + "test: images/test\n")
    data = read_yolo(yolo_set / "data.yaml")
    assert list(data.splits) == ["train", "val"]
    assert [record.image for record in data.splits["train"]] == [ImageFile(yolo_set / "images/train/a.png")]
    assert [problem.kind for problem in data.problems] == ["missing image", "missing folder"]


def test_listed_names_that_are_no_paths_are_missing_images(yolo_set: Path) -> None:
    (yolo_set / "train.txt").write_text("images/train/a.png\n" + "a" * 5000 + "\nx\0y.png\n")
    (yolo_set / "data.yaml").write_text(YAML.replace("images/train", "train.txt"))
    data = read_yolo(yolo_set / "data.yaml")
    assert len(data.splits["train"]) == 1
    assert [problem.kind for problem in data.problems] == ["missing image", "missing image"]


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("/content/pets-1/images/train", "/content/pets-1/images/val"),
        (r"C:\pets\images\train", r"C:\pets\images\val"),
        ("Images/train", "Images/VAL"),
        ("images/train", "images/valid"),
        ("images/train", "/content/images/validation"),
    ],
)
def test_paths_that_lie_elsewhere_are_found_with_a_notice(yolo_set: Path, train: str, val: str) -> None:
    (yolo_set / "data.yaml").write_text(f"train: {train}\nval: {val}\nnames: [cat, dog]\n")
    data = read_yolo(yolo_set / "data.yaml")
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 2, "val": 1}
    assert {(problem.kind, problem.lost) for problem in data.problems} == {("moved path", False)}


def test_an_end_that_any_folder_has_is_no_split(yolo_set: Path) -> None:
    (yolo_set / "data.yaml").write_text("train: images/train\nval: /content/pets/images\nnames: [cat, dog]\n")
    with pytest.raises(RegardError, match="val: /content/pets/images does not exist"):
        read_yolo(yolo_set / "data.yaml")


def test_lists_of_another_machine_are_read_with_one_notice(yolo_set: Path) -> None:
    (yolo_set / "train.txt").write_text("/home/me/images/train/a.png\nD:\\data\\images\\train\\b.png\n")
    (yolo_set / "data.yaml").write_text(YAML.replace("images/train", "train.txt"))
    data = read_yolo(yolo_set / "data.yaml")
    assert [len(sample.class_ids) for sample in data.splits["train"]] == [2, 0]
    assert [(problem.kind, problem.place) for problem in data.problems] == [("moved path", str(yolo_set / "train.txt"))]


def test_classes_without_names_are_numbered_with_a_notice(yolo_set: Path) -> None:
    (yolo_set / "data.yaml").write_text("train: images/train\nval: images/val\nnc: 3\n")
    data = read_yolo(yolo_set / "data.yaml")
    assert data.names == ("class0", "class1", "class2")
    assert [problem.kind for problem in data.problems] == ["no class names"]


def test_a_yaml_in_the_encoding_of_another_system(yolo_set: Path) -> None:
    (yolo_set / "data.yaml").write_text(YAML.replace("cat, dog", "猫, 狗"), encoding="gbk")
    data = read_yolo(yolo_set / "data.yaml")
    assert data.names == ("猫", "狗")
    assert [problem.kind for problem in data.problems] == ["file in another encoding"]


@pytest.mark.parametrize("shape", ["17", "[17]", "[17, two]", "[0, 2]", "[true, 2]"])
def test_a_wrong_kpt_shape_is_named(yolo_set: Path, shape: str) -> None:
    (yolo_set / "data.yaml").write_text(YAML + f"kpt_shape: {shape}\n")
    with pytest.raises(RegardError, match="kpt_shape is") as caught:
        read_yolo(yolo_set / "data.yaml")
    assert caught.value.line == 5
