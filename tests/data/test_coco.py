from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.data.formats.coco import read as read_coco
from regard.errors import RegardError


def test_boxes_ids_areas_and_crowds(coco_file: Path) -> None:
    data = read_coco(coco_file)
    assert (data.names, data.category_ids, data.format) == (("cat", "dog"), (3, 7), "coco")
    assert list(data.splits) == ["train"]
    first, second = data.splits["train"]
    np.testing.assert_allclose(first.boxes_cxcywh, [[0.35, 0.3, 0.5, 0.4], [0.5, 0.5, 1, 1]], rtol=1e-15)
    np.testing.assert_array_equal(first.class_ids, [1, 0])
    assert first.areas is not None
    assert first.crowd is not None
    np.testing.assert_array_equal(first.areas, [31.5, 200])  # the second from its box
    np.testing.assert_array_equal(first.crowd, [False, True])
    assert (first.image_id, second.image_id) == (11, 5)
    assert (first.labelled_size, second.labelled_size) == ((10, 20), (19, 7))
    assert second.areas is not None
    assert second.boxes_cxcywh.shape == (0, 4)
    assert second.areas.shape == (0,)
    assert first.image.read().shape == (10, 20, 3)


def test_a_folder_gives_a_split_for_each_file(coco_file: Path, coco_content: dict[str, Any]) -> None:
    coco_content["images"].pop()
    (coco_file.parent / "instances_val.json").write_text(json.dumps(coco_content))
    (coco_file.parent / "captions_val.json").write_text("{}")  # instances_* go first
    data = read_coco(coco_file.parent.parent)
    assert {split: len(records) for split, records in data.splits.items()} == {"train": 2, "val": 1}


def test_a_file_without_split_in_its_name_is_both(coco_file: Path) -> None:
    data = read_coco(coco_file.rename(coco_file.with_name("labels.json")))
    assert list(data.splits) == ["train", "val"]
    assert data.splits["train"] is data.splits["val"]


def test_images_in_a_folder_named_like_the_file_go_first(tmp_path: Path, coco_file: Path, paint: Any) -> None:
    for split in ("train", "val"):
        paint(tmp_path / "images" / split / "a.png", 10, 20)
    coco_file.rename(coco_file.with_name("instances_val.json"))
    (tmp_path / "images/a.png").unlink()
    data = read_coco(tmp_path)
    assert [record.image.name for record in data.splits["val"]] == [str(tmp_path / "images/val/a.png")]
    assert [problem.kind for problem in data.problems] == ["missing image"]


def test_years_tell_folders_of_one_split_apart(tmp_path: Path, coco_file: Path, paint: Any) -> None:
    for year in ("train2014", "train2017"):
        paint(tmp_path / "images" / year / "a.png", 10, 20)
    data = read_coco(coco_file.rename(coco_file.with_name("instances_train2017.json")))
    assert data.splits["train"][0].image.name == str(tmp_path / "images/train2017/a.png")


def test_folders_per_split_with_the_json_inside(tmp_path: Path, coco_content: dict[str, Any], paint: Any) -> None:
    for split in ("train", "valid"):
        paint(tmp_path / split / "a.png", 10, 20)
        paint(tmp_path / split / "b.png", 19, 7)
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(coco_content))
    data = read_coco(tmp_path)
    assert {split: Path(records[0].image.name).parent.name for split, records in data.splits.items()} == {
        "train": "train",
        "val": "valid",
    }


def test_wrong_annotations_are_recorded(coco_file: Path, coco_content: dict[str, Any]) -> None:
    coco_content["annotations"] += [
        {"image_id": 11, "category_id": 4, "bbox": [1, 1, 2, 2]},
        {"image_id": 99, "category_id": 3, "bbox": [1, 1, 2, 2]},
        {"image_id": 5, "category_id": 3, "bbox": [1, 1, 0, 2]},
    ]
    coco_file.write_text(json.dumps(coco_content))
    data = read_coco(coco_file)
    assert sorted((problem.kind, problem.place) for problem in data.problems) == [
        ("class out of range", f"{coco_file}, annotations[2]"),
        ("unknown image", f"{coco_file}, annotations[3]"),
        ("zero-area box", f"{coco_file}, annotations[4]"),
    ]
    assert [len(record.class_ids) for record in data.splits["train"]] == [2, 0]


@pytest.mark.parametrize("width", [None, 0, -20, "wide", [20], math.inf, math.nan])
def test_a_size_that_is_none_is_read(coco_file: Path, coco_content: dict[str, Any], width: object) -> None:
    coco_content["images"][0]["width"] = width
    coco_file.write_text(json.dumps(coco_content))
    assert read_coco(coco_file).splits["train"][0].labelled_size == (10, 20)


@pytest.mark.parametrize(
    ("key", "entry", "words"),
    [
        ("annotations", {"image_id": 11, "category_id": 3, "bbox": [1, 2, 3]}, r"annotations\[2\] has bbox"),
        ("annotations", {"image_id": 11, "category_id": 3}, r"annotations\[2\] has bbox None"),
        ("annotations", {"image_id": 11, "bbox": [1, 2, 3, 4]}, r"annotations\[2\] has category_id None"),
        ("annotations", {"category_id": 3, "bbox": [1, 2, 3, 4]}, r"annotations\[2\] has image_id None"),
        ("images", {"id": 11, "file_name": "c.png"}, r"images\[2\] has the same id 11 as another"),
        ("images", {"id": 12}, r"images\[2\] has no file_name"),
        ("categories", {"id": 3, "name": "cow"}, "two have the same id"),
    ],
)
def test_a_broken_entry_is_named(
    coco_file: Path, coco_content: dict[str, Any], key: str, entry: dict[str, Any], words: str
) -> None:
    coco_content[key].append(entry)
    coco_file.write_text(json.dumps(coco_content))
    with pytest.raises(RegardError, match=words) as caught:
        read_coco(coco_file)
    assert caught.value.file == coco_file


@pytest.mark.parametrize(
    ("text", "line"), [('{\n"images": [,]}', 2), ("[]", None), ('{"images": []}', None), ("[" * 100_000, None)]
)
def test_other_json_is_refused(coco_file: Path, text: str, line: int | None) -> None:
    coco_file.write_text(text)
    with pytest.raises(RegardError) as caught:
        read_coco(coco_file)
    assert (caught.value.file, caught.value.line) == (coco_file, line)


def test_two_files_of_one_split_and_other_categories_are_refused(coco_file: Path, coco_content: dict[str, Any]) -> None:
    twin = coco_file.with_name("instances_train2.json")
    twin.write_text(coco_file.read_text())
    with pytest.raises(RegardError, match="both are train"):
        read_coco(coco_file.parent.parent)
    coco_content["categories"][0]["name"] = "horse"
    twin.rename(twin.with_name("instances_val.json")).write_text(json.dumps(coco_content))
    with pytest.raises(RegardError, match="the categories differ"):
        read_coco(coco_file.parent.parent)


def test_images_that_are_nowhere_are_an_error(coco_file: Path) -> None:
    for image in (coco_file.parent.parent / "images").iterdir():
        image.unlink()
    with pytest.raises(RegardError, match="none of the 2 images was found"):
        read_coco(coco_file)
