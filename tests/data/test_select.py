from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.data.dataset import DetectionDataset, keep_classes, merge_classes
from regard.data.formats.coco import read as read_coco
from regard.errors import RegardError


@pytest.fixture
def data(coco_file: Path) -> DetectionDataset:
    return read_coco(coco_file)


@pytest.mark.parametrize("name", ["dog", "1"])
def test_keeping_a_class_leaves_ids_names_and_images(data: DetectionDataset, name: str) -> None:
    kept = keep_classes(data, [name])
    assert (kept.names, kept.category_ids) == (data.names, data.category_ids)
    first, second = kept.splits["train"]
    np.testing.assert_array_equal(first.class_ids, [1])
    np.testing.assert_array_equal(first.boxes_cxcywh, data.splits["train"][0].boxes_cxcywh[:1])
    assert first.areas is not None
    assert first.crowd is not None
    np.testing.assert_array_equal(first.areas, [31.5])
    np.testing.assert_array_equal(first.crowd, [False])
    assert len(second.class_ids) == 0


@pytest.mark.parametrize(("name", "hint"), [("dgo", "did you mean 'dog'?"), ("2", None), ("-1", None)])
def test_an_unknown_class_is_rejected(data: DetectionDataset, name: str, hint: str | None) -> None:
    with pytest.raises(RegardError, match=f"unknown class '{name}'") as caught:
        keep_classes(data, [name])
    assert caught.value.hint == hint
    assert caught.value.expected == "an index from 0 to 1, or one of cat, dog"


def test_merging_makes_one_class(data: DetectionDataset) -> None:
    merged = merge_classes(data)
    assert (merged.names, merged.category_ids) == (("item",), None)
    np.testing.assert_array_equal(merged.splits["train"][0].class_ids, [0, 0])


def test_a_single_class_keeps_its_name(yolo_set: Path) -> None:
    one = DetectionDataset(("cell",), {}, "yolo", str(yolo_set))
    assert merge_classes(one) is one
