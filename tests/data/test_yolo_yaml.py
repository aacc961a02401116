"""Data.yaml files as exports and people leave them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from regard.data.formats import load_data
from regard.errors import RegardError

YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


def _kinds(folder: Path) -> list[tuple[str, bool]]:
    return [(problem.kind, problem.lost) for problem in load_data(folder).problems]


@pytest.mark.parametrize(("inner", "name"), [("pets.v1i", "data.yaml"), ("a/pets", "data.yml"), ("pets", "pets.yaml")])
def test_the_only_yaml_below_is_used_and_named(tmp_path: Path, yolo_set: Path, inner: str, name: str) -> None:
    outer = tmp_path / "unpacked"
    (outer / inner).parent.mkdir(parents=True)
    (yolo_set / "data.yaml").rename(yolo_set / name)
    target = outer / inner
    target.mkdir(parents=True)
    for part in ("images", "labels", name):
        shutil.move(yolo_set / part, target / part)
    data = load_data(outer)
    assert (data.names, [len(samples) for samples in data.splits.values()]) == (("cat", "dog"), [2, 1])
    assert [(p.kind, p.found, p.lost) for p in data.problems] == [
        ("YAML file in a subfolder", f"{inner}/{name}", False)
    ]
    shutil.copy(target / "images/val/c.png", outer / "d.png")
    assert ("image in no split", True) in _kinds(outer)


def test_several_yamls_below_are_listed(tmp_path: Path, yolo_set: Path) -> None:
    for inner in ("one", "two"):
        shutil.copytree(yolo_set, tmp_path / "both" / inner, ignore=shutil.ignore_patterns("both"))
    with pytest.raises(RegardError, match=r"one/data\.yaml, two/data\.yaml"):
        load_data(tmp_path / "both")


def test_a_broken_yaml_below_is_named(tmp_path: Path, yolo_set: Path) -> None:
    shutil.copytree(yolo_set, tmp_path / "outer/inner", ignore=shutil.ignore_patterns("outer"))
    (tmp_path / "outer/inner/data.yaml").write_text("names: [cat\n")
    with pytest.raises(RegardError) as caught:
        load_data(tmp_path / "outer")
    assert (caught.value.file, caught.value.line) == (tmp_path / "outer/inner/data.yaml", 1)


@pytest.mark.parametrize("key", ["valid", "validation", "validate", "Val"])
def test_splits_under_another_word_are_read(yolo_set: Path, key: str) -> None:
    (yolo_set / "data.yaml").write_text(YAML.replace("val:", f"{key}:"))
    data = load_data(yolo_set)
    assert [len(samples) for samples in data.splits.values()] == [2, 1]
    assert [(p.kind, p.line, p.lost) for p in data.problems] == [("split under another key", 2, False)]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("channels: 1\naugment: true\n", [("unknown keys", False)]),
        ("valid: images/train\n", [("unknown split", True)]),
        ("test_dev: images/val\n", [("unknown split", True)]),
        ("download: x\nnc: 2\nroboflow: {a: 1}\nlicense: MIT\ntest:\nchannels: 3\n", []),
    ],
)
def test_keys_that_are_not_used_are_named(yolo_set: Path, more: str, expected: list[tuple[str, bool]]) -> None:
    (yolo_set / "data.yaml").write_text(YAML + more)
    assert _kinds(yolo_set) == expected


def test_another_yaml_with_other_classes_is_named(yolo_set: Path) -> None:
    (yolo_set / "hyp.yaml").write_text("lr0: 0.01\n")
    (yolo_set / "same.yaml").write_text((yolo_set / "data.yaml").read_text())
    assert _kinds(yolo_set) == []
    (yolo_set / "pets.yml").write_text((yolo_set / "data.yaml").read_text().replace("cat", "Katze"))
    assert _kinds(yolo_set) == [("other YAML file", False)]


def test_names_that_start_at_1_are_read_when_asked(yolo_set: Path) -> None:
    (yolo_set / "data.yaml").write_text(YAML.replace("[cat, dog]", "{2: dog, 1: cat}"))
    (yolo_set / "labels/train/a.txt").write_text("2 .5 .5 .1 .1\n1 .5 .5 .2 .1\n")
    (yolo_set / "labels/val/c.txt").write_text("1 .5 .5 .1 .1\n")
    data = load_data(yolo_set, first_class=1)
    assert data.names == ("cat", "dog")
    assert [sample.class_ids.tolist() for sample in data.splits["train"]] == [[1, 0], []]
    with pytest.raises(RegardError, match="--first-class 1"):
        load_data(yolo_set)


@pytest.mark.parametrize("names", ["\"['cat', 'dog']\"", "\"'cat', 'dog'\"", "'[\"cat\", dog]'"])
def test_names_in_text_lose_their_quotes(yolo_set: Path, names: str) -> None:
    (yolo_set / "data.yaml").write_text(YAML.replace("[cat, dog]", names))
    assert load_data(yolo_set).names == ("cat", "dog")


@pytest.mark.parametrize("path", [r"C:\Users\me\images\val", r"C:\temp\new"])
def test_backslashes_in_double_quotes_are_named(yolo_set: Path, path: str) -> None:
    (yolo_set / "data.yaml").write_text(YAML.replace("images/val", f'"{path}"'))
    with pytest.raises(RegardError, match="in double quotes") as caught:
        load_data(yolo_set)
    assert caught.value.line == 2
