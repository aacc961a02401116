from __future__ import annotations

import pytest

from regard.data.formats.labels import Box, Label, clean, to_arrays


def _label(box: Box, class_id: int | None = 0) -> Label:
    return Label("a.txt", "cat", class_id, box, line=3)


def test_a_good_box_is_untouched() -> None:
    label = _label((0.1 + 0.2, 1 / 3, 1 / 7, 1 / 11))
    assert clean([label]) == ([label], [])


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        (_label((0.5, 0.5, 0.1, 0.1), None), "class out of range"),
        (_label((0.5, 0.5, 0.0, 0.1)), "zero-area box"),
        (_label((0.5, 0.5, 0.1, -0.1)), "box of negative size"),
        (_label((1.2, 0.5, 0.1, 0.1)), "box outside the image"),
        (_label((0.5, -0.05, 0.1, 0.1)), "box outside the image"),
    ],
)
def test_a_useless_box_is_dropped_and_reported(label: Label, kind: str) -> None:
    kept, problems = clean([label])
    assert kept == []
    assert [(p.kind, p.where, p.done, p.lost) for p in problems] == [(kind, "a.txt:3", "box dropped", True)]


def test_a_box_partly_outside_is_clipped() -> None:
    kept, problems = clean([_label((0.125, 0.875, 0.5, 0.5))])  # x from -0.125 to 0.375, y from 0.625 to 1.125
    assert kept[0].box_cxcywh == (0.1875, 0.8125, 0.375, 0.375)
    assert [p.kind for p in problems] == ["box partly outside the image"]


def test_rounding_beyond_the_edge_is_clipped_in_silence() -> None:
    kept, problems = clean([_label((0.5, 0.5, 1.0005, 0.5))])
    assert kept[0].box_cxcywh == (0.5, 0.5, 1.0, 0.5)
    assert problems == []


def test_only_an_exact_repetition_is_a_duplicate() -> None:
    box = (0.5, 0.5, 0.1, 0.1)
    other_class, other_box = _label(box, 1), _label((0.5, 0.5, 0.1, 0.1001))
    crowd = _label(box)._replace(crowd=True)
    kept, problems = clean([_label(box), other_class, other_box, crowd, _label(box)])
    assert kept == [_label(box), other_class, other_box, crowd]
    assert [p.kind for p in problems] == ["duplicate box"]


def test_arrays_of_nothing_have_their_shapes() -> None:
    boxes, class_ids = to_arrays([])
    assert (boxes.shape, boxes.dtype, class_ids.shape, class_ids.dtype) == ((0, 4), "float64", (0,), "int64")
