"""Each foreign format is written for two small images, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_writers import (
    BOXES,
    FORMATS,
    HEIGHT,
    WIDTH,
    create_ml,
    keras_yolo,
    label_studio,
    label_studio_min,
    labelme,
    supervisely,
    tensorflow,
    via,
    via_1,
    write_json,
    write_text,
)

from regard.data.dataset import DetectionDataset
from regard.data.formats import load_data
from regard.data.formats.foreign import name_unreadable
from regard.errors import RegardError

Paint = Callable[[Path, int, int], Path]


def _check(data: DetectionDataset) -> None:
    assert data.names == ("cat", "dog")
    (samples,) = {id(samples): samples for samples in data.splits.values()}.values()
    assert len(samples) == 2
    for sample in samples:
        boxes = BOXES[Path(sample.image.name).stem]
        assert [data.names[k] for k in sample.class_ids] == [name for name, *_ in boxes]
        corners = np.array([box for _, *box in boxes]) / [WIDTH, HEIGHT, WIDTH, HEIGHT]
        expected = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
        np.testing.assert_allclose(sample.boxes_cxcywh, expected, rtol=1e-9)


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("folder", ["images", "."])
def test_the_boxes_are_those_that_were_written(tmp_path: Path, paint: Paint, write: Any, folder: str) -> None:
    for stem in BOXES:
        paint(tmp_path / folder / f"{stem}.png", HEIGHT, WIDTH)
    write(tmp_path)
    data = load_data(tmp_path)
    _check(data)
    assert not any(problem.lost for problem in data.problems)


def test_visdrone_has_names_and_regions_to_ignore(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "VisDrone2019-DET-val/images/a.jpg", HEIGHT, WIDTH)
    write_text(
        tmp_path / "VisDrone2019-DET-val/annotations/a.txt", "5,7,11,13,1,4,0,0\n1,2,3,4,0,0,0,0\n5,7,11,13,1,1,0,1,\n"
    )
    data = load_data(tmp_path)
    assert (data.format, data.names, list(data.splits)) == ("visdrone", ("car", "pedestrian"), ["val"])
    np.testing.assert_array_equal(data.splits["val"][0].class_ids, [0, 1])
    assert [(p.kind, p.line, p.lost) for p in data.problems] == [("ignored region", 2, False)]


@pytest.mark.parametrize(("train", "val"), [("train", "valid"), ("train_set", "val")])
def test_splits_come_from_the_names_of_files_or_folders(tmp_path: Path, paint: Paint, train: str, val: str) -> None:
    header = "filename,xmin,ymin,xmax,ymax,class\n"
    for split, stem in ((train, "a"), (val, "b")):
        paint(tmp_path / split / f"{stem}.png", HEIGHT, WIDTH)
        write_text(tmp_path / split / "_annotations.csv", f"{header}{stem}.png,1,2,30,40,cat\n")
    assert {split: len(samples) for split, samples in load_data(tmp_path).splits.items()} == {"train": 1, "val": 1}
    for split in (train, val):
        (tmp_path / split / "_annotations.csv").rename(tmp_path / f"{split}_labels.csv")
    assert {split: len(samples) for split, samples in load_data(tmp_path).splits.items()} == {"train": 1, "val": 1}


def test_every_bad_row_is_reported_and_the_others_are_read(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "a.png", HEIGHT, WIDTH)
    rows = ["a.png,1,2,30,40,cat", "a.png,1,two,30,40,cat", "a.png,1,2,nan,40,cat", "a.png,1", "c.png,1,2,3,4,cat"]
    write_text(tmp_path / "labels.csv", "\n".join(["filename,xmin,ymin,xmax,ymax,class", *rows]))
    data = load_data(tmp_path)
    (samples,) = data.splits.values() if len(data.splits) == 1 else [data.splits["train"]]
    assert [len(sample.class_ids) for sample in samples] == [1]
    assert [(p.kind, p.line) for p in data.problems if p.lost] == [
        *(("broken label", line) for line in (3, 4, 5)),
        ("missing image", None),
    ]


def test_images_without_a_file_are_background_where_each_image_has_one(tmp_path: Path, paint: Paint) -> None:
    for stem in ("a", "b", "c", "d"):
        paint(tmp_path / f"{stem}.png", HEIGHT, WIDTH)
    labelme(tmp_path)
    (tmp_path / "b.json").write_text('{"shapes": [')
    data = load_data(tmp_path)
    assert [(p.kind, Path(p.place).name) for p in data.problems] == [
        ("unreadable label file", "b.json"),
        ("missing label", "c.png"),
        ("missing label", "d.png"),
    ]
    samples = next(iter(data.splits.values()))
    assert [Path(sample.image.name).stem for sample in samples] == ["a", "c", "d"]


def test_images_that_a_table_does_not_list_are_reported_as_lost(tmp_path: Path, paint: Paint) -> None:
    for stem in ("a", "b", "c"):
        paint(tmp_path / f"{stem}.png", HEIGHT, WIDTH)
    tensorflow(tmp_path)
    (problem,) = load_data(tmp_path).problems
    assert (problem.kind, problem.place, problem.lost) == ("unlisted image", str(tmp_path / "c.png"), True)


def test_numbers_without_names_get_names_and_a_notice(tmp_path: Path, paint: Paint) -> None:
    for stem in BOXES:
        paint(tmp_path / f"{stem}.png", HEIGHT, WIDTH)
    keras_yolo(tmp_path)
    (tmp_path / "_classes.txt").unlink()
    data = load_data(tmp_path)
    assert data.names == ("class0", "class1")
    assert [p.kind for p in data.problems] == ["no class names"]


def test_one_file_is_a_data_set(tmp_path: Path, paint: Paint) -> None:
    for stem in BOXES:
        paint(tmp_path / f"{stem}.png", HEIGHT, WIDTH)
    via(tmp_path)
    _check(load_data(tmp_path / "project.json"))


def test_images_inside_the_files_of_labelme_are_named(tmp_path: Path) -> None:
    labelme(tmp_path)
    file = tmp_path / "a.json"
    write_json(file, {**json.loads(file.read_text()), "imageData": "/9j/4AAQ"})
    with pytest.raises(RegardError, match="imageData"):
        load_data(tmp_path)


def test_without_objects_or_images_there_is_no_data_set(tmp_path: Path, paint: Paint) -> None:
    labelme(tmp_path)
    with pytest.raises(RegardError, match="none of the 2 images"):
        load_data(tmp_path)
    paint(tmp_path / "a.png", HEIGHT, WIDTH)
    for stem in BOXES:
        write_json(tmp_path / f"{stem}.json", {"shapes": [], "imagePath": "a.png"})
    with pytest.raises(RegardError, match="no annotation contains an object"):
        load_data(tmp_path)


def test_a_video_of_cvat_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "annotations.xml", '<annotations><track id="0" label="cat"/></annotations>')
    with pytest.raises(RegardError, match="CVAT for video"):
        load_data(tmp_path)


def test_formats_of_other_tools_are_named(tmp_path: Path) -> None:
    assert name_unreadable(tmp_path) is None
    write_text(tmp_path / "train/cats.tfrecord", "")
    assert name_unreadable(tmp_path) == "TFRecord"
    with pytest.raises(RegardError, match="TFRecord"):
        load_data(tmp_path)


WRONG: tuple[Any, ...] = (None, True, -1, float("nan"), "x", [], {}, [[]], 10**30, [1, 2, 3, 4], "a\0b")


def _variants(value: Any) -> list[Any]:
    """All copies of a JSON value in which one value, at any depth, is a wrong one."""
    found: list[Any] = list(WRONG)
    if isinstance(value, dict):
        found += [{**value, key: other} for key in value for other in _variants(value[key])]
    if isinstance(value, list):
        found += [[*value[:i], other, *value[i + 1 :]] for i in range(len(value)) for other in _variants(value[i])]
    return found


@pytest.mark.parametrize(
    "write", [labelme, via, via_1, label_studio, label_studio_min, create_ml, supervisely], ids=lambda w: w.__name__
)
def test_a_wrong_value_anywhere_is_never_a_traceback(tmp_path: Path, paint: Paint, write: Any) -> None:
    for stem in BOXES:
        paint(tmp_path / f"{stem}.png", HEIGHT, WIDTH)
    write(tmp_path)
    file = next(file for file in sorted(tmp_path.rglob("*.json")) if file.name != "meta.json")
    variants = _variants(json.loads(file.read_text()))
    for variant in variants[:: len(variants) // 199 + 1]:
        file.write_text(json.dumps(variant))
        with suppress(RegardError):
            for samples in load_data(tmp_path).splits.values():
                assert all(np.isfinite(sample.boxes_cxcywh).all() for sample in samples)


def _labelme_line(root: Path) -> None:
    sizes = {"imageHeight": HEIGHT, "imageWidth": WIDTH, "imagePath": "a.jpg"}
    kinds = ("line", "linestrip", "points", "point", "rectangle")
    shapes = [{"label": "dog", "points": [[2, 3], [19, 41]], "shape_type": kind} for kind in kinds]
    write_json(root / "a.json", {**sizes, "shapes": shapes})


def _cvat_lines(root: Path) -> None:
    marks = "".join(f'<{kind} label="dog" points="2,3;19,41"/>' for kind in ("polyline", "points"))
    image = f'<image name="a.jpg" width="{WIDTH}" height="{HEIGHT}">{marks}<polygon label="dog" points="2,3;19,41"/>'
    write_text(root / "a.xml", f"<annotations>{image}</image></annotations>")


def _via_line(root: Path) -> None:
    points = {"all_points_x": [2, 19], "all_points_y": [3, 41]}
    regions = [
        {"shape_attributes": {"name": kind, **points}, "region_attributes": {"class": "dog"}}
        for kind in ("polyline", "polygon")
    ]
    write_json(root / "via.json", {"a": {"filename": "a.jpg", "regions": regions}})


@pytest.mark.parametrize(("write", "lost"), [(_labelme_line, 4), (_cvat_lines, 2), (_via_line, 1)])
def test_lines_and_points_have_no_box(tmp_path: Path, paint: Paint, write: Callable[[Path], None], lost: int) -> None:
    paint(tmp_path / "a.jpg", HEIGHT, WIDTH)
    write(tmp_path)
    data = load_data(tmp_path)
    assert [len(sample.class_ids) for sample in data.splits["all"]] == [1]
    assert [p.found for p in data.problems if p.lost and "has no box" in p.found] == [
        p.found for p in data.problems if p.lost
    ]
    assert sum(p.lost for p in data.problems) == lost


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("image,label,width_of_it", "none of boxes"),
        ("id,xmin,ymin,xmax,ymax,label", "none of images"),
        ("a,b,c", "none of images, such as filename; none of boxes"),
    ],
)
def test_columns_that_a_table_lacks_are_named(tmp_path: Path, paint: Paint, header: str, words: str) -> None:
    paint(tmp_path / "a.png", HEIGHT, WIDTH)
    write_text(tmp_path / "labels.csv", header + "\n" + "1," * header.count(",") + "2\n")
    for source in (tmp_path, tmp_path / "labels.csv"):
        with pytest.raises(RegardError, match=words) as caught:
            load_data(source)
        assert "labels.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"images": [], "annotations": [{"bbox": [1, 2, 3, 4]}]}, "without 'categories'"),
        ({"categories": [], "annotations": [{"bbox": [1, 2, 3, 4]}]}, "without 'images'"),
        ([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}], "results of a detector"),
    ],
)
def test_what_json_lacks_is_named(tmp_path: Path, paint: Paint, content: Any, words: str) -> None:
    paint(tmp_path / "images/a.png", HEIGHT, WIDTH)
    write_json(tmp_path / "a.json", content)
    for source in (tmp_path, tmp_path / "a.json"):
        with pytest.raises(RegardError, match=words) as caught:
            load_data(source)
        assert caught.value.file == tmp_path / "a.json"
