"""Classes of detector and data are matched by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.errors import RegardError, RegardWarning
from regard.evaluation import align_classes


class _Detector:
    """Predicts a box for each class, whose score for class k is (k + 1) / 10, and 0.05 for all others."""

    strides = (32,)
    max_stride = 32

    def __init__(self, *names: str) -> None:
        self.names = dict(enumerate(names))

    def predict(self, images: NDArray[np.uint8], conf: float) -> list[NDArray[np.float32]]:
        assert conf < 0.1
        rows = np.full((len(self.names), 4 + len(self.names)), 0.05, np.float32)
        rows[:, :4] = np.arange(len(self.names))[:, None]
        for k in self.names:
            rows[k, 4 + k] = (k + 1) / 10
        return [rows] * len(images)


def _scores(detector: _Detector, names: Sequence[str], conf: float = 0.07) -> list[list[float]]:
    aligned = align_classes(detector, names)
    assert list(aligned.names.values()) == list(names)
    assert aligned.max_stride == 32
    (rows,) = aligned.predict(np.zeros((1, 3, 32, 32), np.uint8), conf)
    return [[round(float(value), 2) for value in row[4:]] for row in rows]


def test_equal_names_leave_the_detector_as_it_is() -> None:
    detector = _Detector("cat", "dog", "cat")
    assert align_classes(detector, ["cat", "dog", "cat"]) is detector


def test_another_order_is_followed() -> None:
    assert _scores(_Detector("cat", "dog", "cow"), ["cow", "cat", "dog"]) == [
        [0.05, 0.1, 0.05],
        [0.05, 0.05, 0.2],
        [0.3, 0.05, 0.05],
    ]


def test_another_spelling_is_the_same_name() -> None:
    names = ["Traffic_Light", "DOG"]
    assert _scores(_Detector("dog", "traffic light"), names) == [[0.05, 0.1], [0.2, 0.05]]
    assert _scores(_Detector("dog", "Dog"), ["Dog", "dog"]) == [[0.05, 0.1], [0.2, 0.05]]  # exact names come first


def test_classes_that_only_the_detector_has_do_not_count() -> None:
    with pytest.warns(RegardWarning, match=r"2 of the detector's 3 classes.*dog"):
        scores = _scores(_Detector("cat", "dog", "cow"), ["cow", "cat"])
    assert scores == [[0.05, 0.1], [0.3, 0.05]]  # the box of the dog scores below the threshold for all others


def test_classes_that_the_detector_lacks_are_never_found() -> None:
    with pytest.warns(RegardWarning, match="does not know 1 of the 3 classes.*eel"):
        scores = _scores(_Detector("cat", "dog"), ["eel", "dog", "cat"])
    assert scores == [[0, 0.05, 0.1], [0, 0.2, 0.05]]


@pytest.mark.parametrize("names", [["eel", "bee"], ["eel"]])
def test_nothing_in_common_is_an_error_with_both_lists(names: list[str]) -> None:
    with pytest.raises(RegardError, match=rf"cat, dog.*{', '.join(names)}"):
        align_classes(_Detector("cat", "dog"), names)


def test_names_that_are_numbers_match_by_number() -> None:
    detector = _Detector("cat", "dog")
    with pytest.warns(RegardWarning, match="by number"):
        assert align_classes(detector, ["class0", "class1"]) is detector
    with pytest.raises(RegardError, match="none in common"):
        align_classes(_Detector("cat", "dog"), ["class0", "class1", "class2"])
