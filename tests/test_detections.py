"""Detections: selection, comparison, merging, tables, crops and drawings against slow obvious references."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regard import Detections, RegardError
from regard.data.images import ImageFile
from regard.drawing import SHOWN_SIDE, class_colour, encode_image

NAMES = {0: "cat", 1: "dog", 2: "cat", 5: "7"}
SIZE = (89, 113)


def _found(count: int = 11, seed: int = 3) -> Detections:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 60, (count, 2))
    boxes = np.concatenate((corners, corners + random.uniform(1, 50, (count, 2))), axis=1).astype(np.float32)
    scores = np.sort(random.uniform(0.1, 0.9, count).astype(np.float32))[::-1].copy()
    return Detections(boxes, scores, random.choice([*NAMES], count).astype(np.int64), NAMES, SIZE, "street.jpg")


def _rows(found: Detections) -> list[tuple[Any, ...]]:
    arrays = (found.boxes_xyxy, found.scores, found.class_ids)
    return [(tuple(b), s, c) for b, s, c in zip(*(a.tolist() for a in arrays), strict=True)]


def _iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width, height = (min(a[2 + i], b[2 + i]) - max(a[i], b[i]) for i in (0, 1))
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (3, [3]),
        (-1, [10]),
        (np.int64(2), [2]),
        (slice(2, 9, 3), [2, 5, 8]),
        ([7, 1], [7, 1]),
        (np.array([4, 4]), [4, 4]),
        (np.arange(11) % 2 == 0, [0, 2, 4, 6, 8, 10]),
        ([True] + [False] * 10, [0]),
        ([], []),
        (np.zeros(11, bool), []),
    ],
)
def test_an_index_selects_rows(index: Any, rows: list[int]) -> None:
    found = _found()
    chosen = found[index]
    assert _rows(chosen) == [_rows(found)[i] for i in rows]
    assert chosen.boxes_xyxy.shape == (len(rows), 4)
    assert (chosen.names, chosen.image_size, chosen.source) == (NAMES, SIZE, "street.jpg")


@pytest.mark.parametrize("index", [11, -12, [0, 11], np.ones(10, bool)])
def test_an_index_outside_is_an_error(index: Any) -> None:
    with pytest.raises(IndexError):
        _found()[index]


def test_iteration_gives_each_row_once() -> None:
    found = _found()
    assert [_rows(one)[0] for one in found] == _rows(found)
    assert next(iter(found)) == found[0]
    assert list(found[[]]) == []


def test_equality_compares_every_value() -> None:
    found = _found()
    assert found == _found()
    assert found == pickle.loads(pickle.dumps(found))
    moved = found.boxes_xyxy.copy()
    moved[4, 1] += 1
    others = [{"boxes_xyxy": moved}, {"scores": found.scores / 2}, {"class_ids": found.class_ids[::-1]}]
    for change in (*others, {"names": {}}, {"image_size": (1, 2)}, {"source": ""}):
        assert found != replace(found, **change)  # type: ignore[arg-type]
    assert found != found[:3]
    assert found != "street.jpg"


def test_filters_by_name_index_and_score() -> None:
    found = _found(43)
    rows = _rows(found)
    assert _rows(found.filter("cat")) == [row for row in rows if row[2] in (0, 2)]  # two classes of one name
    assert _rows(found.filter(["dog", 5])) == [row for row in rows if row[2] in (1, 5)]
    assert _rows(found.filter("7")) == _rows(found.filter("5")) == [row for row in rows if row[2] == 5]
    assert _rows(found.filter(conf=rows[6][1])) == rows[:7]
    assert len(found.filter([])) == 0
    for wrong in ({"classes": "dgo"}, {"classes": 3}, {"conf": 1.5}):
        with pytest.raises(RegardError, match=r"expected: (0 \(cat\)|a number)"):
            found.filter(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("agnostic", [False, True])
def test_nms_drops_what_a_better_box_overlaps(agnostic: bool) -> None:
    found = _found(61)[np.random.default_rng(2).permutation(61)]
    kept: list[tuple[Any, ...]] = []
    for row in sorted(_rows(found), key=lambda row: -row[1]):
        rivals = [other for other in kept if agnostic or other[2] == row[2]]
        overlaps = [_iou(row[0], other[0]) for other in rivals]
        if max(overlaps, default=0) <= 0.3:
            kept.append(row)
    assert _rows(found.with_nms(0.3, agnostic=agnostic)) == kept
    assert len(kept) < 61
    with pytest.raises(RegardError, match="iou"):
        found.with_nms(-1)


def test_merging_keeps_all_rows_best_first() -> None:
    one, other = _found(7), replace(_found(5, seed=4), source="other.jpg")
    merged = Detections.merge([one, other, one[[]]])
    assert _rows(merged) == sorted(_rows(one) + _rows(other), key=lambda row: -row[1])
    assert (merged.source, merged.image_size) == ("", SIZE)
    assert Detections.merge([one[4:], one[:4]]) == one
    assert len(Detections.merge([])) == 0
    with pytest.raises(RegardError, match="names differ"):
        Detections.merge([one, replace(one, names={0: "cat"})])
    with pytest.raises(RegardError, match="one image"):
        Detections.merge([one, replace(one, image_size=(3, 4))])


def test_json_says_what_the_arrays_say() -> None:
    found = _found()
    record = json.loads(found.to_json())
    assert record == found.to_dict()
    assert (record["source"], record["height"], record["width"]) == ("street.jpg", *SIZE)
    for one, (box, score, class_id) in zip(record["detections"], _rows(found), strict=True):
        np.testing.assert_allclose([*one["box_xyxy"], one["score"]], [*box, score], atol=0.006)
        assert (one["class_id"], one["name"]) == (class_id, NAMES[class_id])


def test_a_table_has_a_row_per_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=dict))  # not needed to know the columns
    found = _found()
    table = found.to_pandas()
    assert list(table) == ["source", "class_id", "name", "score", "x1", "y1", "x2", "y2"]
    columns = [*zip(*(list(column) for column in table.values()), strict=True)]
    assert columns == [
        ("street.jpg", class_id, NAMES[class_id], np.float32(score), *map(np.float32, box))
        for box, score, class_id in _rows(found)
    ]


def test_a_table_of_pandas_has_the_types_of_its_columns() -> None:
    pandas = pytest.importorskip("pandas")
    found = _found()
    table = found.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert list(table["name"]) == [NAMES[class_id] for _, _, class_id in _rows(found)]
    assert table.dtypes["score"] == table.dtypes["x1"] == np.float32
    assert (table["source"] == "street.jpg").all()
    assert _found(0).to_pandas().shape == (0, 8)


def test_a_missing_pandas_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(RegardError, match=r"regard\[pandas\]"):
        _found().to_pandas()


def test_there_and_back_through_supervision() -> None:
    supervision = pytest.importorskip("supervision")
    found = _found()
    there = found.to_supervision()
    assert Detections.from_supervision(there, NAMES, SIZE, "street.jpg") == found
    assert Detections.from_supervision(there).class_names == found.class_names
    bare = Detections.from_supervision(supervision.Detections(xyxy=np.array([[1, 2, 30, 40]])))
    assert _rows(bare) == [((1, 2, 30, 40), 1, 0)]
    assert len(Detections.from_supervision(supervision.Detections.empty())) == 0
    box = np.array([[1, 2, 30, 40]], dtype=np.float32)
    for score in (1.5, -0.1, np.nan):
        with pytest.raises(RegardError, match="score"):
            Detections.from_supervision(supervision.Detections(xyxy=box, confidence=np.array([score])))


@pytest.mark.parametrize(
    ("ids", "names", "words"),
    [
        ([1, 7], {0: "cat", 1: "dog"}, r"id 7\n.*0 \(cat\), 1 \(dog\)"),
        ([-1, 1], {0: "cat", 1: "dog"}, "id -1"),
        ([0, -1], None, r"id -1\n.*0 \(0\)"),
        ([-1, -1], None, r"id -1\n.*from 0"),
        (None, {0: "cat", 1: "dog"}, "no class ids"),
    ],
)
def test_classes_that_are_unknown_are_rejected(ids: list[int] | None, names: dict[int, str] | None, words: str) -> None:
    given = None if ids is None else np.array(ids)
    theirs = SimpleNamespace(xyxy=np.array([[1, 2, 30, 40]] * 2), confidence=None, class_id=given, data={})
    with pytest.raises(RegardError, match=words):
        Detections.from_supervision(theirs, names)


def test_crops_are_the_pixels_that_a_box_touches() -> None:
    image = np.random.default_rng(5).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    boxes = np.array([[2.5, 3.2, 7.1, 9], [-5, -5, 4, 4], [109.5, 88.5, 130, 99], [50, 50, 50, 50]], np.float32)
    found = Detections(boxes, np.ones(4, np.float32), np.zeros(4, np.int64), NAMES, SIZE)
    expected = [image[3:9, 2:8], image[:4, :4], image[88:, 109:], image[50:51, 50:51]]
    for crop, pixels in zip(found.crop(image), expected, strict=True):
        np.testing.assert_array_equal(crop, pixels)
        assert not np.shares_memory(crop, image)


def test_an_image_that_is_not_the_one_is_rejected(tmp_path: Path) -> None:
    found = _found()
    for wrong in (None, np.zeros((3, 4, 3), np.uint8), np.zeros(SIZE, np.uint8), np.zeros((*SIZE, 3))):
        for use in (found.crop, found.draw, partial(found.save, tmp_path / "drawn.png")):
            with pytest.raises(RegardError, match="image"):
                use(wrong)  # type: ignore[operator]


def test_a_drawing_is_saved_but_never_over_its_source(tmp_path: Path) -> None:
    source = tmp_path / "street.png"
    source.write_bytes(before := encode_image(np.zeros((*SIZE, 3), np.uint8), ".png"))
    boxes = np.array([[20, 30, 90, 80]], np.float32)
    one = Detections(boxes, np.ones(1, np.float32), np.ones(1, np.int64), NAMES, SIZE, str(source))
    found = replace(one, read_image=ImageFile(source).read)
    for name in ("drawn.PNG", "drawn.PNG"):  # the second time it is replaced
        drawn = ImageFile(found.save(tmp_path / name)).read()
        np.testing.assert_array_equal(drawn, found.draw())
        assert tuple(drawn[80, 50]) == class_colour(1)
    with pytest.raises(RegardError, match="the image itself"):
        found.save(tmp_path / "." / "street.png")
    with pytest.raises(RegardError, match="suffix"):
        found.save(tmp_path / "drawn.docx")
    assert source.read_bytes() == before


def test_showing_needs_a_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageShow

    shown: list[Any] = []
    monkeypatch.setattr(ImageShow, "show", lambda image: shown.append(image) or len(shown) == 1)
    image = np.zeros((*SIZE, 3), np.uint8)
    _found().show(image)
    assert shown[0].size == tuple(SHOWN_SIDE // max(SIZE) * side for side in SIZE[::-1])  # a small image, enlarged
    with pytest.raises(RegardError, match="save"):
        _found().show(image)


def test_the_repr_is_short() -> None:
    assert len(repr(_found(997))) < 100
    named = replace(_found(997), class_ids=np.arange(997), names={i: f"class{i}" for i in range(997)})
    assert len(repr(named)) < 200
    assert "\x1b" not in repr(replace(_found(), source="\x1b[2J"))


def test_lists_are_taken_as_arrays_and_names() -> None:
    found = Detections([[0, 0, 10, 10], [1, 1, 5, 5]], [0.9, 0.5], [1, 0], ["cat", "dog"])  # type: ignore[arg-type]
    assert found.class_names == ["dog", "cat"]
    assert (found.boxes_xyxy.dtype, found.scores.dtype, found.class_ids.dtype) == (np.float32, np.float32, np.int64)
    assert len(Detections([], [], [])) == 0  # type: ignore[arg-type]
    assert found.filter(found.class_ids[0]) == found[:1]
    assert found.filter(np.array([0, 1])) == found
    assert len(Detections.merge(one for one in found)) == 2


@pytest.mark.parametrize(
    ("boxes", "scores", "class_ids"),
    [([[0, 0, 1, 1]] * 2, [0.5], [0, 0]), ([[0, 0, 1]], [0.5], [0]), ([[0, 0, 1, 1]], [0.5], [0, 1])],
)
def test_arrays_that_do_not_belong_together_are_rejected(boxes: Any, scores: Any, class_ids: Any) -> None:
    with pytest.raises(RegardError, match="have the shapes"):
        Detections(boxes, scores, class_ids)


def test_a_score_has_to_be_a_number() -> None:
    with pytest.raises(RegardError, match="conf is 'x'"):
        Detections([], [], []).filter(conf="x")  # type: ignore[arg-type]


def test_what_is_no_detections_is_named() -> None:
    one = Detections(np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    with pytest.raises(RegardError, match="cannot merge int"):
        Detections.merge([one, 1])  # type: ignore[list-item]
    with pytest.raises(RegardError, match="cannot convert int"):
        Detections.from_supervision(3)
