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


def test_a_row_that_reads_what_is_not_before_it_is_drawn_and_said() -> None:
    lines = integer_yaml(regard.load("yolov5n").spec).splitlines()
    gone = next(i for i, line in enumerate(lines) if "SPPF" in line)
    text = "\n".join([*lines[:gone], *lines[gone + 1 :]])
    spec, found = corrections(text)
    assert len(spec.layers) == 24
    (detect,) = [one for one in found if one.unreadable]
    assert detect.message == "row 23 reads row 23, which is not before it"
    assert (detect.line, detect.slots) == (len(text.splitlines()), (2,))
    with pytest.raises(regard.RegardError, match="row 23 reads row 23"):
        corrections(
            text.replace("[[17, 20, 23], 1, Detect, [nc, anchors]]", "d: [[17, 20, 23], 1, Detect, [nc, anchors]]")
        )
    twice = text.replace("[17, 20, 23]", "[-30, 20, 99]")
    (detect,) = [one for one in corrections(twice)[1] if one.unreadable]
    assert detect.slots == (0, 2)
