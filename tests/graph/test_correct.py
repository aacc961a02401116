"""Corrected rows in the text of a file, however the file writes its rows."""

from __future__ import annotations

import pytest

import regard
from regard.graph.correct import corrected_text, corrections
from regard.graph.renumber import integer_yaml

RIGHT = "  - [[-1, 15], 1, Concat, [1]]"


@pytest.mark.parametrize(
    ("wrong", "corrected"),
    [
        ("  - [[-1, 14], 1, Concat, [1]]  # P4", "  - [[-1, 15], 1, Concat, [1]]  # P4"),
        ("  - [[-1, 14],\n    1, Concat,  # two\n    [1]]  # P4", "  - [[-1, 15], 1, Concat, [1]]  # two  # P4"),
        (
            "  - - [-1, 14]\n    - 1  # one\n    - Concat\n    - [1]  # P4",
            "  - [[-1, 15], 1, Concat, [1]]  # one  # P4",
        ),
        ("  - - - -1\n      - 14\n    - 1\n    - Concat\n    - - 1\n", "  - [[-1, 15], 1, Concat, [1]]\n"),
    ],
)
def test_a_row_in_every_style(wrong: str, corrected: str) -> None:
    model = regard.insert("yolov5n", "SE", after="sppf", gate=False)
    text = integer_yaml(model.spec)
    assert RIGHT in text
    _, found = corrections(text.replace(RIGHT, wrong))
    (finding,) = [one for one in found if not one.note]
    assert finding.mendable
    mended = corrected_text(text.replace(RIGHT, wrong), [finding])
    assert mended == text.replace(RIGHT, corrected)
    assert corrections(mended)[1] == []


def test_a_row_with_a_name_is_not_offered() -> None:
    model = regard.insert("yolov5n", "SE", after="sppf", gate=False)
    text = integer_yaml(model.spec).replace(RIGHT, "  - cat: [[-1, 14], 1, Concat, [1]]")
    _, found = corrections(text)
    (finding,) = [one for one in found if not one.note]
    assert not finding.mendable
    with pytest.raises(regard.RegardError, match="cannot be corrected here"):
        corrected_text(text, [finding])
