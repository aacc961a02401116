from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from regard.data import convert
from regard.data.convert import convert_data
from regard.data.dataset import DetectionDataset
from regard.data.formats import load_data
from regard.errors import RegardError
from regard.system.scratch import PREFIX

Paint = Callable[[Path, int, int], Path]


def _facts(data: DetectionDataset) -> dict[str, list[tuple[Any, ...]]]:
    return {
        split: [
            (
                Path(s.image.name).name,
                s.class_ids.tolist(),
                np.round(s.boxes_cxcywh, 6).tolist(),
                s.image.read().tobytes(),
            )
            for s in samples
        ]
        for split, samples in data.splits.items()
    }


@pytest.mark.parametrize("to", ["yolo", "coco"])
def test_splits_names_boxes_and_images_are_kept(tmp_path: Path, voc_set: Path, to: str) -> None:
    data = load_data(voc_set)
    folder = tmp_path.with_name(f"{tmp_path.name}-new") / to
    done = convert_data(data, folder, to)
    again = load_data(folder)
    assert (again.format, again.names, again.problems) == (to, data.names, ())
    assert _facts(again) == _facts(data)
    assert (done.images, done.boxes) == ({"train": 1, "val": 1}, {"train": 2, "val": 1})
    assert not list(folder.parent.glob(f"{PREFIX}*.tmp"))


def test_coco_keeps_ids_areas_and_crowds_and_yolo_says_what_it_cannot(tmp_path: Path, coco_file: Path) -> None:
    data = load_data(coco_file)
    folder = tmp_path.with_name(f"{tmp_path.name}-new")
    convert_data(data, folder / "coco", "coco")
    again = load_data(folder / "coco")
    assert again.category_ids == data.category_ids
    for new, old in zip(again.splits["train"], data.splits["train"], strict=True):
        assert new.image_id == old.image_id
        np.testing.assert_allclose(new.boxes_cxcywh, old.boxes_cxcywh, rtol=1e-5)
        for key in ("areas", "crowd"):
            np.testing.assert_array_equal(getattr(new, key), getattr(old, key))
    done = convert_data(data, folder / "yolo")
    assert [(p.kind, p.found) for p in done.problems] == [("crowd", "1 boxes around groups of objects")]
    assert done.boxes == {"train": 1}
    assert sum(len(sample.class_ids) for sample in load_data(folder / "yolo").splits["train"]) == 1


@pytest.mark.parametrize("to", ["yolo", "coco"])
def test_images_without_a_split_remain_so(tmp_path: Path, voc_set: Path, to: str) -> None:
    shutil.rmtree(voc_set / "ImageSets")
    folder = tmp_path.with_name(f"{tmp_path.name}-new")
    done = convert_data(load_data(voc_set), folder, to)
    assert list(done.images.values()) == [2]
    assert len(next(iter(load_data(folder).splits.values()))) == 2


def test_images_of_one_name_are_all_kept(tmp_path: Path, paint: Paint) -> None:
    rows = ["image,x1,y1,x2,y2,class"]
    for place in ("x/a.png", "y/a.png", "y/A.bmp"):
        paint(tmp_path / "data" / place, 13, 17)
        rows.append(f"{place},{len(rows)},2,7,11,cat")
    (tmp_path / "data/labels.csv").write_text("\n".join(rows))
    data = load_data(tmp_path / "data")
    convert_data(data, tmp_path / "new")
    again = load_data(tmp_path / "new")
    lefts = sorted(
        float(s.boxes_cxcywh[0, 0] - s.boxes_cxcywh[0, 2] / 2) * 17 for v in again.splits.values() for s in v
    )
    np.testing.assert_allclose(lefts, [1, 2, 3], atol=1e-6)


def test_drawn_images_are_written(tmp_path: Path) -> None:
    data = load_data("synthetic:context?train=3&val=2&test=1")
    convert_data(data, tmp_path / "new")
    again = load_data(tmp_path / "new")
    assert {split: len(samples) for split, samples in again.splits.items()} == {"train": 3, "val": 2, "test": 1}
    for split, samples in data.splits.items():
        for old, new in zip(samples, again.splits[split], strict=True):
            np.testing.assert_array_equal(new.image.read(), old.image.read())


def test_unreadable_images_and_lost_boxes_are_in_the_report(tmp_path: Path, voc_set: Path) -> None:
    (voc_set / "JPEGImages/b.jpg").write_bytes(b"broken")
    annotation = voc_set / "Annotations/a.xml"
    annotation.write_text(annotation.read_text().replace("<xmin>2<", "<xmin>two<"))
    done = convert_data(load_data(voc_set), tmp_path.with_name(f"{tmp_path.name}-new"))
    assert [problem.kind for problem in done.problems if problem.lost] == ["broken box", "unreadable image"]
    assert done.images == {"train": 1, "val": 0}


def test_a_truncated_image_is_copied_and_reported(tmp_path: Path, voc_set: Path) -> None:
    image = voc_set / "JPEGImages/b.jpg"
    image.write_bytes(image.read_bytes()[:-20])
    done = convert_data(load_data(voc_set), tmp_path.with_name(f"{tmp_path.name}-new"))
    assert [(problem.kind, problem.place) for problem in done.problems if problem.lost] == [
        ("damaged image", str(image))
    ]
    assert done.images == {"train": 1, "val": 1}


def test_nothing_is_overwritten_and_nothing_is_left_of_a_failure(
    tmp_path: Path, voc_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, base = load_data(voc_set), tmp_path.with_name(f"{tmp_path.name}-new")
    base.mkdir()
    for what in (voc_set, voc_set / "new"):
        with pytest.raises(RegardError):
            convert_data(data, what)
    (base / "file").write_text("mine")
    with pytest.raises(RegardError, match="this is there already"):
        convert_data(data, base)
    with pytest.raises(RegardError, match="unknown format"):
        convert_data(data, base / "x", "yollo")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(convert.WRITERS, "yolo", fail)
    with pytest.raises(RegardError, match="No space left"):
        convert_data(data, base / "new")
    assert [path.name for path in base.iterdir() if not re.search("lock", path.name)] == ["file"]


def test_names_that_yaml_reads_as_something_else_are_kept(tmp_path: Path, coco_file: Path) -> None:
    content = json.loads(coco_file.read_text())
    for category, name in zip(content["categories"], ("no", "狗: #1"), strict=True):
        category["name"] = name
    coco_file.write_text(json.dumps(content))
    convert_data(load_data(coco_file), tmp_path / "new")
    assert load_data(tmp_path / "new").names == ("狗: #1", "no")


def test_an_empty_folder_is_used(tmp_path: Path, paint: Paint) -> None:
    cv2.imwrite(str(paint(tmp_path / "data/a.png", 13, 17)), np.zeros((13, 17, 3), np.uint8))
    (tmp_path / "data/x.csv").write_text("image,x1,y1,x2,y2,class\na.png,1,2,3,4,cat\n")
    (tmp_path / "new").mkdir()
    convert_data(load_data(tmp_path / "data"), tmp_path / "new")
    assert (tmp_path / "new/data.yaml").is_file()
