from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from regard.data.synthetic import COLOURS, Scene, scene
from regard.data.synthetic import read as synthetic
from regard.errors import RegardError


def _scenes(count: int, colours: int = 3) -> list[Scene]:
    return [scene(1, "train", index, colours) for index in range(count)]


def test_defaults_and_names() -> None:
    data = synthetic("synthetic:context")
    assert {split: len(records) for split, records in data.splits.items()} == {"train": 2000, "val": 300, "test": 300}
    assert data.names == ("ordinary", "odd")
    assert synthetic("synthetic:local?train=3&val=0&test=0").names == ("circle", "square")


def test_options() -> None:
    data = synthetic("synthetic:local?train=5&val=3&test=0&colours=2&seed=7")
    assert {split: len(records) for split, records in data.splits.items()} == {"train": 5, "val": 3}
    assert data.splits["val"][2].image.name == "synthetic/7/val/00002"


def test_a_scene_is_a_function_of_seed_split_and_index() -> None:
    first, again = scene(3, "val", 5), scene(3, "val", 5)
    np.testing.assert_array_equal(first.read(), again.read())
    np.testing.assert_array_equal(first.read(), first.read())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).read(), again.read())
    for other in (scene(4, "val", 5), scene(3, "test", 5), scene(3, "val", 6)):
        assert (other.read() != first.read()).any()
    name = "synthetic:context?train={}&val=0&test=0"
    few, many = (synthetic(name.format(count)).splits["train"] for count in (3, 5))
    np.testing.assert_array_equal(few[2].boxes_cxcywh, many[2].boxes_cxcywh)


def test_twins_share_scenes_and_differ_in_labels() -> None:
    context, local = (
        synthetic(f"synthetic:{task}?train=40&val=0&test=0").splits["train"] for task in ("context", "local")
    )
    for one, other in zip(context, local, strict=True):
        np.testing.assert_array_equal(one.boxes_cxcywh, other.boxes_cxcywh)
        assert one.class_ids.sum() == 1
    assert any((one.class_ids != other.class_ids).any() for one, other in zip(context, local, strict=True))
    np.testing.assert_array_equal(context[7].image.read(), local[7].image.read())


def test_boxes_are_tight_around_what_is_drawn() -> None:
    for index, record in enumerate(synthetic("synthetic:context?train=23&val=0&test=0").splits["train"]):
        image = record.image.read().astype(float)
        coloured = (image.max(axis=2) - image.min(axis=2)) > 55  # the ground is grey up to noise of 5
        corners = np.stack([record.boxes_cxcywh[:, :2] - record.boxes_cxcywh[:, 2:] / 2] * 2, axis=1) * 128
        for (left, top), (w, h) in zip(corners[:, 0], record.boxes_cxcywh[:, 2:] * 128, strict=True):
            inside = coloured[round(top) : round(top + h), round(left) : round(left + w)]
            assert inside[[0, -1]].any(axis=1).all(), index
            assert inside[:, [0, -1]].any(axis=0).all(), index
            assert inside.mean() > 0.7, index  # a disc fills pi / 4 of its box
            coloured[round(top) : round(top + h), round(left) : round(left + w)] = False
        assert coloured.sum() < 5, index


def test_objects_are_as_designed() -> None:
    scenes = _scenes(300)
    for drawn in scenes:
        assert 3 <= len(drawn.sides) <= 5
        assert drawn.sides.min() >= 15
        assert drawn.sides.max() <= 24
        assert drawn.corners.min() >= 0
        assert (drawn.corners + drawn.sides[:, None]).max() <= 128
        centres = drawn.corners + drawn.sides[:, None] / 2
        for i in range(len(centres)):
            for j in range(i):
                gap = np.abs(centres[i] - centres[j]).max()
                assert gap > (drawn.sides[i] + drawn.sides[j]) / 2 + 5
    squares = np.concatenate([drawn.is_square for drawn in scenes])
    assert 0.45 < squares.mean() < 0.55


def test_one_object_has_another_colour_and_any_colour_may_be_odd() -> None:
    odd: Counter[int] = Counter()
    for drawn in _scenes(300):
        nearest = np.abs(drawn.colours[:, None] - COLOURS[None]).max(axis=2)
        assert nearest.min(axis=1).max() <= 18
        kinds = nearest.argmin(axis=1)
        assert len(set(kinds[~drawn.is_odd])) == 1
        assert kinds[drawn.is_odd] != kinds[~drawn.is_odd][0]
        odd[int(kinds[drawn.is_odd][0])] += 1
    assert sorted(odd) == [0, 1, 2]
    assert min(odd.values()) > 70


def test_the_ground_is_grey_shaded_and_noisy() -> None:
    image = scene(0, "train", 0).read().astype(float)
    assert image.shape == (128, 128, 3)
    grey = image[(image.max(axis=2) - image.min(axis=2)) < 40]
    assert 60 < grey.mean() < 170
    between_channels = (grey - grey.mean(axis=1, keepdims=True)).std() * np.sqrt(3 / 2)
    assert 4.8 < between_channels < 5.2


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("synthetic:contxt", "did you mean 'context'"),
        ("synthetic:", "unknown synthetic task ''"),
        ("synthetic:local?trian=3", "did you mean 'train'"),
        ("synthetic:local?train=many", "train is 'many'"),
        ("synthetic:local?train=-3", "train is '-3'"),
        ("synthetic:local?colours=5", "2 to 4"),
        ("synthetic:local?val=100001", "at most 100,000"),
        ("synthetic:local?train=" + "9" * 5000, "nine digits"),
        ("synthetic:local?train=0&val=0&test=0", "no images"),
    ],
)
def test_wrong_names_are_rejected(source: str, words: str) -> None:
    with pytest.raises(RegardError, match=words):
        synthetic(source)
