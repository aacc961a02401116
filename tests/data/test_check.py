from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from regard.cli import app
from regard.data.check import SHOWN, CheckReport, also_in_train, check_data
from regard.data.formats import load_data


def _kinds(report: CheckReport) -> Counter[str]:
    return Counter(problem.kind for problem in report.problems)


def test_a_sound_set_has_only_its_counts(yolo_set: Path) -> None:
    (yolo_set / "labels/val/c.txt").write_text("0 .3 .7 .11 .13\n1 .3 .7 .2 .2\n")
    report = check_data(load_data(yolo_set))
    assert report.problems == ()
    train = report.splits["train"]
    assert (train.images, train.background, train.boxes) == (2, 1, (1, 1))


def _rotate(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(file).convert("RGB").save(file, exif=exif)


def _cut(file: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (97, 89, 3), dtype=np.uint8))[1]
    file.write_bytes(jpeg.tobytes()[: len(jpeg) // 2])


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda file: file.write_bytes(b"no image"), "unreadable image"),
        (lambda file: file.write_bytes(b""), "unreadable image"),
        (_cut, "damaged image"),
        (_rotate, "EXIF rotation"),
        (lambda file: cv2.imwrite(str(file), np.zeros((13, 17), np.uint8)), "grayscale image"),
        (lambda file: cv2.imwrite(str(file), np.zeros((13, 17, 4), np.uint8)), "RGBA image"),
        (lambda file: cv2.imwrite(str(file), np.zeros((13, 17, 3), np.uint16)), "16-bit image"),
        (lambda file: shutil.copy(file.parents[1] / "val/c.png", file), "duplicate image between splits"),
        (lambda file: shutil.copy(file.with_name("b.png"), file), "duplicate image"),
    ],
)
def test_what_is_wrong_with_an_image(yolo_set: Path, spoil: Callable[[Path], object], kind: str) -> None:
    (yolo_set / "labels/val/c.txt").write_text("0 .3 .7 .11 .13\n1 .3 .7 .2 .2\n")
    spoil(yolo_set / "images/train/a.png")
    report = check_data(load_data(yolo_set))
    assert _kinds(report) == {kind: 1}
    assert report.problems[0].done


def test_unreadable_images_are_not_duplicates(yolo_set: Path) -> None:
    for stem in "ab":
        (yolo_set / f"images/train/{stem}.png").write_bytes(b"no image")
    assert _kinds(check_data(load_data(yolo_set)))["unreadable image"] == 2
    assert not any("duplicate" in kind for kind in _kinds(check_data(load_data(yolo_set))))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0 .3 .7 .0 .13\n", "zero-area box"),
        ("0 .9 .7 .4 .13\n", "box partly outside the image"),
        ("0 1.9 .7 .4 .13\n", "box outside the image"),
        ("2 .3 .7 .1 .13\n", "class out of range"),
        ("0 .3 .7 .1 .1\n0 .3 .7 .1 .1\n", "duplicate box"),
        (None, "missing label"),
    ],
)
def test_what_is_wrong_with_labels(yolo_set: Path, text: str | None, kind: str) -> None:
    (yolo_set / "labels/val/c.txt").write_text("0 .3 .7 .11 .13\n1 .3 .7 .2 .2\n")
    label = yolo_set / "labels/train/b.txt"
    label.unlink() if text is None else label.write_text(text)
    assert _kinds(check_data(load_data(yolo_set))) == {kind: 1}


def test_empty_splits_and_classes_without_boxes(yolo_set: Path) -> None:
    (yolo_set / "labels/val/c.txt").write_text("")
    report = check_data(load_data(yolo_set))
    assert [(p.kind, p.found) for p in report.problems] == [
        ("empty set", "val has no boxes"),
        ("class without boxes", "no box of 'cat' in val"),
        ("class without boxes", "no box of 'dog' in val"),
    ]


def test_a_set_without_one_readable_image_is_still_reported(yolo_set: Path) -> None:
    for image in yolo_set.glob("images/*/*.png"):
        image.write_bytes(b"broken")
    assert _kinds(check_data(load_data(yolo_set)))["unreadable image"] == 3


def test_a_class_name_that_is_there_twice(yolo_set: Path) -> None:
    config = yolo_set / "data.yaml"
    config.write_text(config.read_text().replace("[cat, dog]", "[cat, cat]"))
    problems = [p for p in check_data(load_data(yolo_set)).problems if p.kind == "repeated class name"]
    assert [problem.found for problem in problems] == ["2 classes are 'cat'"]


def test_a_size_that_is_not_the_images(voc_set: Path, paint: Callable[[Path, int, int], Path]) -> None:
    paint(voc_set / "JPEGImages/a.jpg", 20, 9)
    problems = [p for p in check_data(load_data(voc_set)).problems if p.kind == "wrong size in labels"]
    assert [problem.found for problem in problems] == ["9 x 20, but labelled as 20 x 10"]


@pytest.mark.parametrize("order", [("train", "val", "test"), ("test", "val", "train")])
def test_images_of_train_are_counted_in_whatever_order_the_splits_are(order: tuple[str, ...]) -> None:
    data = load_data("synthetic:local?train=5&val=3&test=2")
    train, val, test = (data.splits[name] for name in ("train", "val", "test"))
    splits = {"train": train, "val": (*val, *train[:2]), "test": (*test, val[0], train[0])}
    assert also_in_train(replace(data, splits={name: splits[name] for name in order})) == {"val": 2, "test": 1}
    assert also_in_train(data) == {}


def test_overlapping_splits_are_one_problem(shared: Path) -> None:
    report = check_data(load_data(shared / "data/coco128"))
    assert [p.found for p in report.problems if p.kind == "splits overlap"] == ["128 images of val are also in train"]
    counts = {
        "missing label": 2,
        "label without image": 2,
        "splits overlap": 1,
        "grayscale image": 1,
        "class without boxes": 9,
    }
    assert _kinds(report) == counts


def test_bccd(shared: Path) -> None:
    report = check_data(load_data(shared / "data/bccd"))
    assert _kinds(report) == {"zero-area box": 2, "near-duplicate between splits": 1}
    assert sum(report.splits["train"].boxes) == 2804


def test_the_report_prints(yolo_set: Path) -> None:
    (yolo_set / "labels/train/b.txt").write_text("7 .5 .5 .1 .1\n")
    console = Console(width=120, file=io.StringIO())
    with console.capture() as printed:
        console.print(check_data(load_data(yolo_set)))
    text = printed.get()
    for words in ("2 classes", "train", "class out of range", "labels/train/b.txt:1", "box dropped", "cat"):
        assert words in text


def test_every_problem_is_listed_or_counted(yolo_set: Path) -> None:
    (yolo_set / "labels/train/b.txt").write_text("".join(f"7 .5 .5 .1 .{k}\n" for k in range(11, 64)))
    report = check_data(load_data(yolo_set))
    console = Console(width=200, file=io.StringIO())
    with console.capture() as printed:
        console.print(report)
    lines = printed.get().splitlines()
    assert sum("labels/train/b.txt:" in line for line in lines) == SHOWN
    assert any(f"and {53 - SHOWN} more" in line for line in lines)
    assert report.lost == 53


def test_the_json_form_has_all(yolo_set: Path) -> None:
    (yolo_set / "labels/train/b.txt").write_text("".join(f"7 .5 .5 .1 .{k}\n" for k in range(11, 64)))
    content = json.loads(json.dumps(check_data(load_data(yolo_set)).to_dict()))
    assert (content["schema"], content["format"], content["names"], content["lost"]) == (1, "yolo", ["cat", "dog"], 53)
    assert content["splits"]["train"]["images"] == 2
    assert [one["name"] for one in content["splits"]["train"]["boxes"]] == ["cat", "dog"]
    bad = [problem for problem in content["problems"] if problem["kind"] == "class out of range"]
    assert [problem["line"] for problem in bad] == list(range(1, 54))
    assert set(bad[0]) == {"kind", "place", "line", "found", "handling", "lost"}


def test_a_recompressed_image_in_another_split_is_found(yolo_set: Path) -> None:
    areas = np.random.default_rng(0).integers(0, 256, (11, 13, 3), dtype=np.uint8)
    photo = cv2.resize(areas, (173, 131), interpolation=cv2.INTER_CUBIC)
    (yolo_set / "images/val/c.png").unlink()
    cv2.imwrite(str(yolo_set / "images/train/a.png"), photo)
    cv2.imwrite(str(yolo_set / "images/val/c.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 60])
    (problem,) = (p for p in check_data(load_data(yolo_set)).problems if "duplicate" in p.kind)
    assert problem.kind == "near-duplicate between splits"
    assert problem.place == f"{yolo_set / 'images/val/c.jpg'} in val"
    assert str(yolo_set / "images/train/a.png") in problem.found


def test_the_phantom_class_of_roboflow_is_named(coco_file: Path) -> None:
    content = json.loads(coco_file.read_text())
    content["categories"].append({"id": 0, "name": "pets", "supercategory": "none"})
    coco_file.write_text(json.dumps(content))
    problems = check_data(load_data(coco_file)).problems
    assert {p.kind: p.lost for p in problems} == {"no split": False, "phantom class": False}


def test_labels_of_the_unrotated_photo_are_named(voc_set: Path, paint: Callable[[Path, int, int], Path]) -> None:
    paint(voc_set / "JPEGImages/a.jpg", 20, 10)
    (problem,) = (p for p in check_data(load_data(voc_set)).problems if p.kind == "wrong size in labels")
    assert "EXIF" in problem.found


@pytest.mark.parametrize(("label", "code"), [("0 .5 .5 .1 .1\n", 0), ("7 .5 .5 .1 .1\n", 1)])
def test_the_exit_code_says_whether_something_is_lost(
    yolo_set: Path, monkeypatch: pytest.MonkeyPatch, label: str, code: int
) -> None:
    monkeypatch.chdir(yolo_set)
    (yolo_set / "labels/train/b.txt").write_text(label)
    result = CliRunner().invoke(app, ["data", "check", str(yolo_set), "--json"])
    assert result.exit_code == code
    assert json.loads(result.stdout)["lost"] == code
    assert not (yolo_set / "data_check.jpg").exists()


def test_the_command_converts(voc_set: Path, tmp_path: Path) -> None:
    folder = tmp_path.with_name(f"{tmp_path.name}-new")
    result = CliRunner().invoke(app, ["data", "convert", str(voc_set), str(folder), "--to", "coco"])
    assert result.exit_code == 0, result.output
    assert "train: 1 image, 2 boxes" in result.stdout
    assert load_data(folder).format == "coco"


@pytest.mark.parametrize(
    ("names", "count"),
    [("[cat, Cat]", 1), ("[traffic light, traffic_light]", 1), ("[cat, cats]", 0), ("[cat, cat]", 0)],
)
def test_names_that_differ_only_in_spelling_are_reported(yolo_set: Path, names: str, count: int) -> None:
    (yolo_set / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {names}\n")
    kinds = [problem.kind for problem in check_data(load_data(yolo_set)).problems]
    assert kinds.count("similar class names") == count
