"""Rows of label files: boxes with exact values, and every other row reported with its line and what it looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.data.formats.labels import Box
from regard.data.formats.yolo_rows import RowReader, look_like_corners, look_like_keypoints, look_like_upper_left


def _boxes(file: Path, text: str, kpt_shape: tuple[int, int] | None = None, first_class: int = 0) -> list[Box]:
    file.write_text(text)
    labels, problems = RowReader(("cat", "dog"), first_class, kpt_shape).read(file)
    assert problems == []
    return [label.box_cxcywh for label in labels]


def test_ids_may_be_floats_and_may_start_at_another_number(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("1.0 .5 .5 .1 .1\n2 .5 .5 .1 .3\n0 .5 .5 .1 .2\n")
    for first_class, ids in ((0, [1, None, 0]), (1, [0, 1, None])):
        reader = RowReader(("cat", "dog"), first_class)
        assert [label.class_id for label in reader.read(file)[0]] == ids
        assert reader.ids == (0, 2)


def test_the_box_of_a_row_with_keypoints_comes_first(tmp_path: Path) -> None:
    row = "0 0.3 0.4 0.2 0.1"
    assert _boxes(tmp_path / "a.txt", f"{row} .9 .9 .1 .2 .05 .07\n{row}\n", (3, 2)) == [(0.3, 0.4, 0.2, 0.1)] * 2
    assert _boxes(tmp_path / "a.txt", f"{row} 9 99 2\n", (1, 3)) == [(0.3, 0.4, 0.2, 0.1)]


def test_a_row_without_kpt_shape_is_a_polygon(tmp_path: Path) -> None:
    (box,) = _boxes(tmp_path / "a.txt", "1 0.5 0.5 0.25 0.25 0.75 0.875\n")
    np.testing.assert_allclose(box, (0.5, 0.5625, 0.5, 0.625))


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("0,0.5,0.5,0.1,0.1", "row with commas"),
        ("0; 0,5; 0,5; 0,1; 0,1", "row with commas"),
        ("Dog 0.5 0.5 0.1 0.1", "class name in row"),
        ("traffic light 0.5 0.5 0.1 0.1", "class name in row"),
        ("0 0.5 0.5 0.1 0.1 0.87", "row of six values"),
        ("0 80 60 24 20", "pixels instead of fractions"),
        ("0 80 60 24 20 30 40", "pixels instead of fractions"),
        ("0 .5 .5 .2 .2 .4 .4 2", "keypoints without kpt_shape"),
        ("10 20 30 20 30 40 10 40 dog 0", "row of DOTA"),
        ("Car 0.00 0 -1.57 10 20 30 40 1.5 1.6 3.9 1.8 1.5 8.4 -1.6", "row of KITTI"),
        ("0 .5 .5 .1", "broken row"),
        ("0.5 .5 .5 .1 .1", "broken row"),
        ("0 nan .5 .1 .1", "broken row"),
        ("path/to/a.jpg", "broken row"),
    ],
)
def test_what_a_row_looks_like(tmp_path: Path, row: str, kind: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"0 .5 .5 .1 .1\n\n{row}\n1 .5 .5 .1 .1\n{row}\n")
    labels, problems = RowReader(("cat", "dog")).read(file)
    assert [label.class_id for label in labels] == [0, 1]
    assert [(p.kind, p.where, p.lost) for p in problems] == [(kind, f"{file}:{line}", True) for line in (3, 5)]
    assert all("dropped: " in p.done for p in problems)


def test_the_number_of_a_class_name_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("DOG .5 .5 .1 .1\n")
    (problem,) = RowReader(("cat", "dog")).read(tmp_path / "a.txt")[1]
    assert "write 1 instead" in problem.done


def test_a_row_of_another_length_than_kpt_shape_states(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 .5 .5 .1 .1 .5 .5 .5 .5\n")
    (problem,) = RowReader(("cat",), kpt_shape=(3, 2)).read(tmp_path / "a.txt")[1]
    assert "has 11 values" in problem.done


def test_a_file_in_no_text_encoding_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"0 .5 .5 .1 .1\n\xff .5 .5 .1 .1\n")
    labels, problems = RowReader(("cat",)).read(tmp_path / "a.txt")
    assert labels == []
    assert [(p.kind, p.line, p.lost) for p in problems] == [("unreadable label file", 2, True)]


def _pose(rng: np.random.Generator, points: int, size: int) -> list[float]:
    cx, cy, w, h = *rng.uniform(0.4, 0.6, 2), *rng.uniform(0.05, 0.3, 2)
    keypoints = [
        [cx + w * rng.uniform(-0.5, 0.5), cy + h * rng.uniform(-0.5, 0.5), float(rng.integers(3))][:size]
        for _ in range(points)
    ]
    return [cx, cy, w, h, *np.ravel(keypoints).tolist()]


@pytest.mark.parametrize(("points", "size"), [(2, 2), (3, 2), (4, 3), (17, 3), (5, 2)])
def test_keypoints_are_told_from_polygons(points: int, size: int) -> None:
    rng = np.random.default_rng(points)
    assert look_like_keypoints([_pose(rng, points, size) for _ in range(13)])


@pytest.mark.parametrize("corners", [4, 5, 7])
@pytest.mark.parametrize("scale", [0.02, 0.2])
def test_polygons_are_no_keypoints(corners: int, scale: float) -> None:
    rng = np.random.default_rng(corners)
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    shape = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rows = [(rng.uniform(0.25, 0.75, 2) + shape * rng.uniform(0.3, 1, 2) * scale).ravel().tolist() for _ in range(29)]
    assert not look_like_keypoints(rows)
    assert not look_like_keypoints([*rows, rows[0] + [0.5, 0.5]])
    assert not look_like_keypoints([])


def test_four_corners_in_any_order_are_a_polygon() -> None:
    rows = [
        [x, y, x + 0.2, y + 0.1, x + 0.2, y, x, y + 0.1] for x, y in np.random.default_rng(0).uniform(0, 0.7, (7, 2))
    ]
    assert not look_like_keypoints(rows)


def test_boxes_by_their_corners() -> None:
    rng = np.random.default_rng(3)
    low, size = rng.uniform(0, 0.6, (31, 2)), rng.uniform(0.05, 0.4, (31, 2))
    assert look_like_corners(np.concatenate([low, low + size], axis=1).tolist())
    assert not look_like_corners(np.concatenate([low + size / 2, size], axis=1).tolist())
    assert not look_like_corners([[0.45, 0.5, 0.9, 0.9]] * 5)  # large boxes that lie within the image


def test_boxes_by_their_upper_left_corner() -> None:
    rng = np.random.default_rng(5)
    low, size = rng.uniform(0, 0.6, (31, 2)), rng.uniform(0.05, 0.4, (31, 2))
    assert look_like_upper_left(np.concatenate([low, size], axis=1).tolist())
    assert not look_like_upper_left(np.concatenate([low + size / 2, size], axis=1).tolist())
    assert not look_like_upper_left(np.concatenate([low, low + size], axis=1).tolist())
