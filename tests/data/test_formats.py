from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from regard.data.formats import load_data
from regard.errors import RegardError


def test_each_format_is_recognised(yolo_set: Path) -> None:
    assert load_data(yolo_set).format == "yolo"
    assert load_data(str(yolo_set / "data.yaml")).format == "yolo"
    assert load_data("synthetic:local?train=2&val=0&test=0").format == "synthetic"


def test_voc_and_coco_folders(voc_set: Path) -> None:
    assert load_data(voc_set).format == "voc"


def test_coco_by_folder_and_file(coco_file: Path) -> None:
    assert load_data(coco_file.parent.parent).format == "coco"
    assert load_data(coco_file).format == "coco"


def test_a_yaml_of_another_name_is_found_and_two_are_rejected(yolo_set: Path) -> None:
    (yolo_set / "data.yaml").rename(yolo_set / "pets.yaml")
    (yolo_set / "hyp.yaml").write_text("lr0: 0.01\n")
    assert load_data(yolo_set).source == str(yolo_set / "pets.yaml")
    (yolo_set / "wild.yml").write_text((yolo_set / "pets.yaml").read_text())
    with pytest.raises(RegardError, match=r"several data sets: pets\.yaml, wild\.yml"):
        load_data(yolo_set)


def test_classes_are_kept_before_they_are_merged(yolo_set: Path) -> None:
    data = load_data(yolo_set, classes=["dog"], single_cls=True)
    assert data.names == ("item",)
    np.testing.assert_array_equal(data.splits["train"][0].boxes_cxcywh, [[0.5, 0.25, 0.125, 0.5]])
    np.testing.assert_array_equal(data.splits["train"][0].class_ids, [0])


def test_what_is_not_a_data_set_is_rejected(yolo_set: Path) -> None:
    with pytest.raises(RegardError, match="no data set") as caught:
        load_data(yolo_set / "data.yml")
    assert caught.value.hint == "did you mean 'data.yaml'?"
    with pytest.raises(RegardError, match="nowhere does not exist either"):
        load_data(yolo_set / "nowhere" / "data.yaml")
    with pytest.raises(RegardError, match="the folder contains train, val, which is no known format"):
        load_data(yolo_set / "labels")
    with pytest.raises(RegardError, match="not a data set"):
        load_data(yolo_set / "images" / "train" / "a.png")


def test_bccd_loads_as_it_is(shared: Path) -> None:
    data = load_data(shared / "data/bccd")
    assert (data.format, data.names) == ("voc", ("Platelets", "RBC", "WBC"))
    assert {split: len(records) for split, records in data.splits.items()} == {"train": 205, "val": 87, "test": 72}
    boxes = sum(len(record.class_ids) for records in data.splits.values() for record in records)
    assert boxes == 4888 - 2
    assert Counter(problem.kind for problem in data.problems) == {"zero-area box": 2}


def test_coco128_is_the_same_as_yolo_and_as_coco(shared: Path) -> None:
    yolo = load_data(shared / "data/coco128")
    coco = load_data(shared / "data/coco128/annotations/instances_train2017.json")
    assert (yolo.format, coco.format) == ("yolo", "coco")
    assert yolo.names == coco.names
    assert yolo.splits["train"] is yolo.splits["val"]
    assert sum(len(record.class_ids) for record in coco.splits["train"]) == 929
    assert coco.category_ids is not None
    assert (coco.category_ids[0], coco.category_ids[-1]) == (1, 90)
    by_name = {record.image.name: record for record in yolo.splits["train"]}
    for record in coco.splits["train"]:
        twin = by_name[record.image.name]
        mine = np.lexsort([*record.boxes_cxcywh.T.round(4), record.class_ids])
        other = np.lexsort([*twin.boxes_cxcywh.T.round(4), twin.class_ids])
        np.testing.assert_array_equal(record.class_ids[mine], twin.class_ids[other])
        np.testing.assert_allclose(record.boxes_cxcywh[mine], twin.boxes_cxcywh[other], atol=2e-5)
        assert record.image_id == int(Path(record.image.name).stem)


def test_an_empty_folder_is_reported_as_such(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="the folder is empty"):
        load_data(tmp_path)


def test_kinds_of_sources_that_contain_commas_are_parted_by_semicolons() -> None:
    with pytest.raises(RegardError, match="there is no data set") as caught:
        load_data("no-such-data")
    kinds = (caught.value.expected or "").split("; ")
    assert len(kinds) == 6
    assert any(", " in kind for kind in kinds)
    assert kinds[1] == "a folder with XML files of boxes (VOC)"
