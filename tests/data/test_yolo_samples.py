"""Where label files are found, what lies without its counterpart, and what all rows together show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regard.data.dataset import Problem
from regard.data.formats import load_data
from regard.data.formats.yolo_rows import look_like_corners, look_like_upper_left
from regard.data.formats.yolo_samples import LabelLocator
from regard.errors import RegardError

Paint = Callable[[Path, int, int], Path]


def _kinds(problems: tuple[Problem, ...]) -> list[tuple[str, str, bool]]:
    return [(problem.kind, Path(problem.place).name, problem.lost) for problem in problems]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("images/train/a.jpg", "labels/train/a.TXT"),
        ("Images/Train/A.JPG", "labels/train/a.txt"),
        ("images/train/a.jpg", "images/train/a.txt"),
        ("images/a/images/a.jpg", "labels/a/images/a.txt"),
        ("JPEGImages/a.jpg", "labels/a.txt"),
        ("train/a.jpg", "train/labels/a.txt"),
        ("train/a.jpg", "labels/train/a.txt"),
        ("img/a.jpg", "Label/a.txt"),
        ("train/a.jpg", "train/a.jpg.txt"),
        ("images/train/x/a.jpg", "labels/train/a.txt"),
        ("images/train/a.jpg", "labels/a.txt"),
        ("train_images/a.jpg", "train_labels/a.txt"),
        ("IMGs-val/a.jpg", "label-val/a.txt"),
        ("images/train/a.jpg", "annotations/train/a.txt"),
        ("train/a.jpg", "train/annotations/a.txt"),
    ],
)
def test_labels_are_found(tmp_path: Path, image: str, label: str) -> None:
    for name in (image, label):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("0 .5 .5 .1 .1\n")
    (tmp_path / "labels").mkdir(exist_ok=True)
    locator = LabelLocator([tmp_path / image])
    assert locator.has_labels
    assert locator.find(tmp_path / image) == tmp_path / label
    assert locator.find((tmp_path / image).with_name("b.jpg")) is None


@pytest.mark.parametrize("text", ["1,2,3,4,1,1,0,0\n", "cat\n", "684 12 702 12 702 33 684 33 plane 0\n"])
def test_folders_of_other_formats_have_no_labels(tmp_path: Path, text: str) -> None:
    for name in ("images/a.jpg", "annotations/a.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    assert not LabelLocator([tmp_path / "images/a.jpg"]).has_labels


def test_labels_that_are_somewhere_else_are_named(yolo_set: Path) -> None:
    (yolo_set / "labels").rename(yolo_set / "drawn")
    with pytest.raises(RegardError, match=r"drawn.train has 1 label files"):
        load_data(yolo_set)


def test_a_label_file_of_two_images_is_a_problem(yolo_set: Path) -> None:
    copy = yolo_set / "images/train/a.jpg"
    copy.write_bytes((yolo_set / "images/train/b.png").read_bytes())
    data = load_data(yolo_set)
    assert [len(sample.class_ids) for sample in data.splits["train"]] == [2, 2, 0]
    assert _kinds(data.problems) == [("label file of several images", "a.txt", True)]
    assert str(copy) in data.problems[0].found
    copy.rename(copy.with_name("d.jpg"))
    assert [kind for kind, *_ in _kinds(load_data(yolo_set).problems)] == ["missing label"]


@pytest.mark.parametrize(
    "train", ["train.txt", "[images/train, ./images/train/]", "[images/train, images/../images/train]"]
)
def test_repeated_images_are_counted_once(yolo_set: Path, train: str) -> None:
    (yolo_set / "train.txt").write_text("# all\nimages/train/a.png\n./images/train/b.png\n" * 2)
    (yolo_set / "data.yaml").write_text(f"train: {train}\nval: images/val\nnames: [cat, dog]\n")
    data = load_data(yolo_set)
    assert [len(samples) for samples in data.splits.values()] == [2, 1]
    assert [(p.kind, p.found.partition(" ")[0], p.lost) for p in data.problems] == [("repeated image", "2", False)]


def test_comments_in_label_files_are_no_rows(yolo_set: Path) -> None:
    label = yolo_set / "labels/train/a.txt"
    label.write_text("# class x y w h\n#\n" + label.read_text())
    data = load_data(yolo_set)
    assert (data.problems, len(data.splits["train"][0].class_ids)) == ((), 2)


def test_labels_without_images_and_images_that_cannot_be_read_are_reported(yolo_set: Path) -> None:
    (yolo_set / "labels/train/x.txt").write_text("0 .5 .5 .1 .1\n")
    (yolo_set / "labels/train/classes.txt").write_text("cat\ndog\n")
    (yolo_set / "labels/train/list.txt").write_text("images/train/a.png\n")
    (yolo_set / "images/train/y.heic").touch()
    (yolo_set / "labels/train/y.txt").write_text("0 .5 .5 .1 .1\n")
    (yolo_set / "images/val/z.heic").touch()
    assert sorted(_kinds(load_data(yolo_set).problems)) == [
        ("label without image", "x.txt", True),
        ("unknown image format", "y.heic", True),
        ("unknown image format", "z.heic", False),
    ]


def test_images_that_a_list_leaves_out_are_no_missing_images(yolo_set: Path) -> None:
    (yolo_set / "train.txt").write_text("images/train/a.png\n")
    (yolo_set / "data.yaml").write_text("train: train.txt\nval: images/val\nnames: [cat, dog]\n")
    assert load_data(yolo_set).problems == ()


def test_images_in_linked_folders_are_read(yolo_set: Path) -> None:
    for kind in ("images", "labels"):
        (yolo_set / "elsewhere").mkdir(exist_ok=True)
        (yolo_set / kind / "train").rename(yolo_set / "elsewhere" / kind)
        (yolo_set / kind / "train").mkdir()
        (yolo_set / kind / "train/link").symlink_to(yolo_set / "elsewhere" / kind)
    data = load_data(yolo_set)
    assert [len(sample.class_ids) for sample in data.splits["train"]] == [2, 0]
    assert data.problems == ()


def test_a_split_without_labels_is_background(yolo_set: Path) -> None:
    (yolo_set / "labels/val/c.txt").unlink()
    data = load_data(yolo_set)
    assert len(data.splits["val"][0].class_ids) == 0
    assert _kinds(data.problems) == [("missing label", "c.png", False)]


def test_ids_that_start_at_1_are_reported_and_shifted_when_asked(yolo_set: Path) -> None:
    (yolo_set / "labels/train/a.txt").write_text("1 .5 .5 .1 .1\n2 .5 .5 .1 .1\n")
    (yolo_set / "labels/val/c.txt").write_text("2 .5 .5 .1 .1\n")
    assert ("ids from 1", "data.yaml", True) in _kinds(load_data(yolo_set).problems)
    data = load_data(yolo_set, first_class=1)
    assert data.problems == ()
    assert [sample.class_ids.tolist() for split in data.splits.values() for sample in split] == [[0, 1], [], [1]]
    (yolo_set / "labels/val/c.txt").write_text("0 .5 .5 .1 .1\n")
    assert [kind for kind, *_ in _kinds(load_data(yolo_set).problems)] == ["class out of range"]


def test_keypoints_are_boxes_with_kpt_shape_and_reported_without(yolo_set: Path) -> None:
    rows = "".join(f"0 0.{x} 0.4 0.2 0.3 0.{x} 0.5 2 0 0 0\n" for x in (3, 5, 7))
    for name in ("train/a", "val/c"):
        (yolo_set / f"labels/{name}.txt").write_text(rows)
    data = load_data(yolo_set)
    assert {kind for kind, *_ in _kinds(data.problems)} == {"keypoints without kpt_shape"}
    assert len(data.problems) == 6
    config = yolo_set / "data.yaml"
    config.write_text(config.read_text() + "kpt_shape: [2, 3]\n")
    data = load_data(yolo_set)
    assert data.problems == ()
    assert data.splits["val"][0].boxes_cxcywh.tolist() == [
        [0.3, 0.4, 0.2, 0.3],
        [0.5, 0.4, 0.2, 0.3],
        [0.7, 0.4, 0.2, 0.3],
    ]


def test_boxes_by_their_corners_are_reported(yolo_set: Path) -> None:
    (yolo_set / "labels/train/a.txt").write_text("0 .1 .1 .3 .4\n1 .6 .5 .9 .8\n")
    (yolo_set / "labels/val/c.txt").write_text("1 .6 .7 .9 .8\n")
    assert _kinds(load_data(yolo_set).problems)[0] == ("corners instead of centre and size", "data.yaml", True)


def test_boxes_by_their_upper_left_corner_are_reported(yolo_set: Path) -> None:
    (yolo_set / "labels/train/a.txt").write_text("0 .1 .1 .3 .4\n1 .6 .5 .3 .3\n")
    (yolo_set / "labels/val/c.txt").write_text("1 0 .7 .3 .1\n")
    assert _kinds(load_data(yolo_set).problems)[0] == ("upper left corner instead of centre", "data.yaml", True)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ("0 .1 .1 .3 .4\n1 .6 .5 .9 .8\n0 .6 .7 .9 .8\n", "corners instead of centre and size"),
        ("0 .1 .1 .3 .4\n1 .6 .5 .3 .3\n0 0 .7 .3 .1\n", "upper left corner instead of centre"),
    ],
)
def test_one_split_may_have_been_exported_in_another_form(split: str, rows: str, kind: str, yolo_set: Path) -> None:
    for file in yolo_set.glob("labels/*/*.txt"):
        file.write_text(rows if file.parent.name == split else "0 .8 .8 .3 .3\n1 .2 .3 .1 .1\n" * 3)
    (first, *_) = load_data(yolo_set).problems
    assert (first.kind, first.lost) == (kind, True)
    assert first.found.startswith(f"boxes of {split} seem to be left, top")


def test_small_boxes_by_their_upper_left_corner_are_recognised_by_the_few_at_the_edge() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.02, 0.06, (400, 2))
    centres = sizes / 2 + rng.uniform(0, 1, (400, 2)) * (1 - sizes)
    assert look_like_upper_left(np.hstack([centres - sizes / 2, sizes]).tolist())
    assert not look_like_upper_left(np.hstack([centres, sizes]).tolist())
    centres[:20, 0] = 0  # labels of careless people extend beyond the image
    assert not look_like_upper_left(np.hstack([centres, sizes]).tolist())


SMALL = [[0.3, 0.4, 0.1, 0.1], [0.5, 0.6, 0.1, 0.2]]


@pytest.mark.parametrize(
    "boxes",
    [
        [[0.02, 0.35, 0.1, 0.1], [0.4, 0.4, 0.1, 0.1]],
        [[0.02, 0.35, 0.1, 0.1], *SMALL * 100, [0.02, 0.4, 0.1, 0.1], [0.01, 0.6, 0.1, 0.1], [0.03, 0.5, 0.1, 0.1]] * 2,
        [[0.5, 0.5, 0.95, 1.03], [0.52, 0.5, 1.02, 0.96], [0.5, 0.52, 0.97, 0.99]],
    ],
)
def test_correct_boxes_that_leave_the_image_a_little_are_in_no_other_form(boxes: list[list[float]]) -> None:
    assert not look_like_upper_left(boxes)
    assert not look_like_corners(boxes)


def test_splits_may_be_in_two_other_forms(yolo_set: Path) -> None:
    for file in yolo_set.glob("labels/*/*.txt"):
        rows = "0 0 0 .9 .8\n1 .1 .1 .9 .9\n" if file.parent.name == "train" else "0 .1 .1 .3 .4\n1 .6 .5 .9 .8\n"
        file.write_text(rows)
    found = [problem.found for problem in load_data(yolo_set).problems if problem.lost]
    assert found[:2] == [
        "boxes of val seem to be left, top, right, bottom",
        "boxes of train seem to be left, top, width, height",
    ]
