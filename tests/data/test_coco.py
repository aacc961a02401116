from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.data.dataset import DetectionDataset
from regard.data.formats import load_data
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


def test_a_file_without_split_in_its_name_is_undivided(coco_file: Path) -> None:
    data = read_coco(coco_file.rename(coco_file.with_name("labels.json")))
    assert list(data.splits) == ["all"]


def test_images_in_a_folder_named_like_the_file_go_first(tmp_path: Path, coco_file: Path, paint: Any) -> None:
    for split in ("train", "val"):
        paint(tmp_path / "images" / split / "a.png", 10, 20)
    coco_file.rename(coco_file.with_name("instances_val.json"))
    (tmp_path / "images/a.png").unlink()
    (tmp_path / "images/b.png").rename(tmp_path / "images/train/b.png")  # of another split
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
        ("annotations", {"image_id": 11, "category_id": 3, "bbox": [1, 2, 3]}, r"bbox is \[1, 2, 3\]"),
        ("annotations", {"image_id": 11, "category_id": 3}, "bbox is None"),
        ("annotations", {"image_id": 11, "category_id": 3, "segmentation": {"counts": "x"}}, "bbox is None"),
        ("annotations", {"image_id": 11, "bbox": [1, 2, 3, 4]}, "category_id is None"),
        ("annotations", {"category_id": 3, "bbox": [1, 2, 3, 4]}, "there is no image_id"),
        ("annotations", 7, "category_id is None"),
        ("images", {"id": 12}, r"images\[2\] has no file_name"),
        ("images", {"file_name": "a.png"}, r"images\[2\] has no id"),
    ],
)
def test_a_broken_entry_is_left_out_and_reported(
    coco_file: Path, coco_content: dict[str, Any], key: str, entry: object, words: str
) -> None:
    coco_content[key].append(entry)
    coco_file.write_text(json.dumps(coco_content))
    data = read_coco(coco_file)
    assert [len(sample.class_ids) for sample in data.splits["train"]] == [2, 0]
    (problem,) = data.problems
    assert problem.lost
    assert problem.place.startswith(str(coco_file))
    assert re.search(words, problem.found)


@pytest.mark.parametrize(
    ("key", "entry", "words"),
    [
        ("images", {"id": 11, "file_name": "c.png"}, r"images\[2\] has the same id 11 as another"),
        ("categories", {"id": 3, "name": "cow"}, "two have the same id"),
        ("categories", {"name": "cow"}, "two have the same id"),
    ],
)
def test_ids_that_are_not_unique_are_errors(
    coco_file: Path, coco_content: dict[str, Any], key: str, entry: dict[str, Any], words: str
) -> None:
    coco_content[key].append(entry)
    coco_file.write_text(json.dumps(coco_content))
    with pytest.raises(RegardError, match=words) as caught:
        read_coco(coco_file)
    assert caught.value.file == coco_file


def _rewrite(coco_file: Path, content: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> DetectionDataset:
    for key in ("images", "annotations"):
        for entry in content[key]:
            change(entry)
    coco_file.write_text(json.dumps(content))
    return load_data(coco_file.parent.parent)


def _text_ids(entry: dict[str, Any]) -> None:
    entry |= {key: f"p{entry[key]}" for key in ("id", "image_id") if key in entry}


def _mixed_ids(entry: dict[str, Any]) -> None:
    entry |= {"id": str(entry["id"])} | {key: float(entry[key]) for key in ("image_id", "category_id") if key in entry}


def _polygons(entry: dict[str, Any]) -> None:
    if "bbox" in entry:
        x, y, w, h = entry.pop("bbox")
        entry["segmentation"] = [[x, y, x + w / 2, y, x, y + h / 3], [x + w, y + h, x + w, y, x + w / 5, y + h]]


@pytest.mark.parametrize(
    ("change", "ids"), [(_text_ids, [0, 1]), (_mixed_ids, [11, 5]), (_polygons, [11, 5])], ids=lambda c: str(c)[:20]
)
def test_ids_of_any_kind_and_polygons(
    coco_file: Path, coco_content: dict[str, Any], change: Callable[[dict[str, Any]], object], ids: list[int]
) -> None:
    data = _rewrite(coco_file, coco_content, change)
    first, second = data.splits["train"]
    np.testing.assert_allclose(first.boxes_cxcywh, [[0.35, 0.3, 0.5, 0.4], [0.5, 0.5, 1, 1]], rtol=1e-12)
    np.testing.assert_array_equal(first.class_ids, [1, 0])
    assert ([first.image_id, second.image_id], data.category_ids) == (ids, (3, 7))
    assert first.crowd is not None
    np.testing.assert_array_equal(first.crowd, [False, True])
    assert data.problems == ()


@pytest.mark.parametrize("counts", [[21, 4, 6, 4, 165], "e0460o4"])
def test_masks_without_boxes_give_boxes(coco_file: Path, coco_content: dict[str, Any], counts: object) -> None:
    first, second = coco_content["annotations"]
    first |= {"bbox": None, "segmentation": {"size": [10, 20], "counts": counts}}
    second |= {"bbox": [], "segmentation": {"size": [20, 10], "counts": [0, 200]}}
    coco_file.write_text(json.dumps(coco_content))
    data = read_coco(coco_file)
    np.testing.assert_allclose(data.splits["train"][0].boxes_cxcywh, [[0.15, 0.3, 0.1, 0.4]], rtol=1e-12)
    assert [(problem.kind, problem.lost) for problem in data.problems] == [("broken annotation", True)]


@pytest.mark.parametrize("folder", [r"images\\", r"C:\\data\\images\\", "/home/me/pets/images/", "/x/IMAGES/"])
def test_paths_of_other_systems(coco_file: Path, coco_content: dict[str, Any], folder: str) -> None:
    for entry in coco_content["images"]:
        entry["file_name"] = folder + entry["file_name"]
    coco_file.write_text(json.dumps(coco_content))
    data = read_coco(coco_file)
    assert [len(sample.class_ids) for sample in data.splits["train"]] == [2, 0]
    assert not any(problem.lost for problem in data.problems)
    assert bool(data.problems) == (not folder.startswith("images"))


def test_two_entries_never_share_an_image_that_was_found_by_its_name(
    coco_file: Path, coco_content: dict[str, Any]
) -> None:
    for entry, folder in zip(coco_content["images"], ("x", "y"), strict=True):
        entry["file_name"] = f"/{folder}/a.png"
    coco_file.write_text(json.dumps(coco_content))
    data = read_coco(coco_file)
    assert [len(sample.class_ids) for sample in data.splits["train"]] == [2]
    assert [p.found for p in data.problems if p.kind == "missing image"] == [str(Path("/y/a.png"))]


def test_images_of_another_split_are_not_taken(tmp_path: Path, coco_file: Path, paint: Any) -> None:
    for split, name in (("train", "a"), ("train", "b"), ("val", "b")):
        paint(tmp_path / split / f"{name}.png", 10, 20)
    shutil.rmtree(tmp_path / "images")
    coco_file.rename(coco_file.with_name("instances_val.json"))
    data = read_coco(tmp_path)
    assert [sample.image.name for sample in data.splits["val"]] == [str(tmp_path / "val/b.png")]
    assert [problem.kind for problem in data.problems] == ["missing image"]


def test_a_data_set_in_a_folder_of_the_folder(coco_file: Path) -> None:
    root = coco_file.parent.parent
    for name in ("annotations", "images"):
        target = root / "outer/coco" / (name if name == "annotations" else "images/train2017")
        target.parent.mkdir(parents=True, exist_ok=True)
        (root / name).rename(target)
    assert len(load_data(root / "outer").splits["train"]) == 2


def test_stray_json_is_ignored(coco_file: Path) -> None:
    root = coco_file.parent.parent
    (coco_file.parent / "instances_settings.json").write_text("{}")
    (root / "annotations/classes.json").write_text('["cat"]')
    (root / "config.json").write_text('{"images": [')
    assert len(load_data(root).splits["train"]) == 2
    moved = coco_file.rename(root / "train.json")
    shutil.rmtree(coco_file.parent)
    assert len(load_data(root).splits["train"]) == 2
    moved.rename(root / "images/_annotations.coco.json")
    assert len(next(iter(load_data(root).splits.values()))) == 2


def test_images_that_no_file_lists_are_reported_as_lost(coco_file: Path, paint: Any) -> None:
    extra = paint(coco_file.parent.parent / "images/c.png", 10, 20)
    assert [(p.kind, p.place, p.lost) for p in load_data(coco_file.parent.parent).problems] == [
        ("unlisted image", str(extra), True)
    ]
    assert load_data(coco_file).problems == ()  # a single file is not the whole data set


@pytest.mark.parametrize(
    ("text", "line"), [('{\n"images": [,]}', 2), ("[]", None), ('{"images": []}', None), ("[" * 100_000, None)]
)
def test_other_json_is_rejected(coco_file: Path, text: str, line: int | None) -> None:
    coco_file.write_text(text)
    with pytest.raises(RegardError) as caught:
        read_coco(coco_file)
    assert (caught.value.file, caught.value.line) == (coco_file, line)


def test_two_files_of_one_split_and_other_categories_are_rejected(
    coco_file: Path, coco_content: dict[str, Any]
) -> None:
    twin = coco_file.with_name("instances_train2.json")
    twin.write_text(coco_file.read_text())
    with pytest.raises(RegardError, match=r"both .* and .* are train"):
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


@pytest.mark.parametrize(("area", "height", "is_reported"), [(False, 10, True), (True, 31, True), (False, 31, False)])
def test_boxes_by_two_corners_are_reported(
    coco_file: Path, coco_content: dict[str, Any], area: bool, height: int, is_reported: bool
) -> None:
    """In an image of 20 x 10 they leave it if they are read as sizes; in a larger one only their areas show it."""
    coco_content["annotations"] = [
        {"image_id": 11, "category_id": 7, "bbox": [x, y, r, b], **({"area": (r - x) * (b - y)} if area else {})}
        for x, y, r, b in ([2, 1, 17, 5], [3, 5, 19, 8])
    ]
    coco_content["images"][0].update(width=20 if height == 10 else 53, height=height)
    coco_file.write_text(json.dumps(coco_content))
    kinds = [p.kind for p in load_data(coco_file).problems if p.lost]
    assert kinds == ["corners instead of corner and size"] * is_reported


def test_an_area_of_the_box_is_no_evidence_of_corners(coco_file: Path, coco_content: dict[str, Any]) -> None:
    coco_content["annotations"] = [{"image_id": 11, "category_id": 7, "bbox": [2, 1, 10, 4], "area": 40}]
    coco_file.write_text(json.dumps(coco_content))
    assert not [p for p in load_data(coco_file).problems if p.lost]


def test_an_image_that_is_listed_twice_is_counted_once(coco_file: Path, coco_content: dict[str, Any]) -> None:
    coco_content["images"].append({**coco_content["images"][0], "id": 13})
    coco_content["annotations"].append({**coco_content["annotations"][0], "image_id": 13, "bbox": [3, 2, 5, 7]})
    coco_content["annotations"].append({**coco_content["annotations"][0], "image_id": 13})
    coco_file.write_text(json.dumps(coco_content))
    data = load_data(coco_file)
    assert [len(sample.class_ids) for sample in data.splits["train"]] == [3, 0]
    assert [(p.kind, p.lost) for p in data.problems] == [("repeated image", False), ("duplicate box", False)]


def test_the_number_of_classes_is_bounded(
    coco_file: Path, coco_content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from regard.data import formats

    monkeypatch.setattr(formats, "MOST_CLASSES", len(coco_content["categories"]) - 1)
    with pytest.raises(RegardError, match="classes"):
        formats.load_data(coco_file)


def test_images_that_several_folders_have_are_reported(coco_file: Path) -> None:
    assert not [p for p in read_coco(coco_file).problems if p.kind == "image in several folders"]
    shutil.copytree(coco_file.parent.parent / "images", coco_file.parent.parent / "more")
    (found,) = (p for p in read_coco(coco_file).problems if p.kind == "image in several folders")
    assert "2 of 2" in found.found
    shutil.rmtree(coco_file.parent.parent / "more")
    shutil.copytree(coco_file.parent.parent / "images", coco_file.parent.parent / "val")  # of another split
    assert not [p for p in read_coco(coco_file).problems if p.kind == "image in several folders"]
