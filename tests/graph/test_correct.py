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


def test_a_row_with_a_name_keeps_it_and_a_mapping_is_not_offered() -> None:
    model = regard.insert("yolov5n", "SE", after="sppf", gate=False)
    right = integer_yaml(model.spec).replace(RIGHT, "  - cat: [[-1, 15], 1, Concat, [1]]")
    for wrong in ("14", "99"):
        text = right.replace("cat: [[-1, 15]", f"cat: [[-1, {wrong}]")
        (finding,) = [one for one in corrections(text)[1] if not one.note]
        assert corrected_text(text, [finding]) == right
    text = right.replace("cat: [[-1, 15], 1, Concat, [1]]", "{name: cat, from: [-1, 14], module: Concat, args: [1]}")
    (finding,) = [one for one in corrections(text)[1] if not one.note]
    assert not finding.mendable
    with pytest.raises(regard.RegardError, match="cannot be corrected here"):
        corrected_text(text, [finding])


def without(text: str, part: str) -> str:
    return "\n".join(line for line in text.splitlines() if part not in line)


@pytest.mark.parametrize(("model", "line", "detect"), [("yolov5n", 35, [16, 19, 22]), ("yolov8n", 29, [14, 17, 20])])
def test_a_row_was_deleted(model: str, line: int, detect: list[int]) -> None:
    """All later numbers are one too high, so the head reads itself."""
    text = without(integer_yaml(regard.load(model).spec), "SPPF")
    spec, found = corrections(text)
    wrong = [one for one in found if not one.note]
    assert len(wrong) == 3
    (head,) = [one for one in wrong if one.unreadable]
    assert (head.line, head.slots) == (line, (0, 1, 2))
    assert head.row.startswith(f"[{detect}, ")
    assert spec.layers[-1].inputs[2] == spec.layers[-1].name
    assert set(spec.info) == {row.name for row in spec.layers}
    mended = corrected_text(text, wrong)
    assert corrections(mended)[1] == []


@pytest.mark.parametrize(
    ("right", "wrong", "input_name"),
    [
        ("[[-1, 14], 1, Concat, [1]]", "[[-1, 30], 1, Concat, [1]]", "30"),
        ("[[-1, 14], 1, Concat, [1]]", "[[-1, 19], 1, Concat, [1]]", "head.p4_merge"),
        ("[-1, 1, SPPF, [1024, 5]]", "[12, 1, SPPF, [1024, 5]]", "head.p4_concat"),
        ("[[17, 20, 23], 1, Detect, [nc, anchors]]", "[[-30, 20, 99], 1, Detect, [nc, anchors]]", "-30"),
        ("[[17, 20, 23], 1, Detect, [nc, anchors]]", "[[17, 20], 1, Detect, [nc, anchors]]", "head.p3_out"),
    ],
)
def test_a_row_that_cannot_be_read_or_built_is_drawn_and_corrected(right: str, wrong: str, input_name: str) -> None:
    text = integer_yaml(regard.load("yolov5n").spec)
    assert right in text
    broken = text.replace(right, wrong)
    spec, found = corrections(broken)
    (finding,) = [one for one in found if not one.note]
    row = spec.layer(finding.layer)
    assert broken.splitlines()[finding.line - 1] == f"  - {wrong}"
    assert input_name in [row.inputs[slot] for slot in finding.slots]
    assert corrected_text(broken, [finding]) == text


def test_a_level_that_the_head_of_another_family_forgets() -> None:
    text = integer_yaml(regard.load("yolov8n").spec)
    (finding,) = corrections(text.replace("[15, 18, 21]", "[15, 18]"))[1]
    assert finding.row == "[[15, 18, 21], 1, Detect, [nc]]"


def test_a_row_that_cannot_be_built_without_a_correction() -> None:
    text = integer_yaml(regard.load("yolov5n").spec).replace("SPPF", "SPFP")
    spec, (finding,) = corrections(text)
    assert "unknown module 'SPFP'; did you mean 'SPP'" in finding.message
    assert (finding.layer, finding.mendable, finding.slots) == ("sppf", False, ())
    assert "sppf" not in spec.info
    assert spec.info["head.p5_out"].stride == 32
    with pytest.raises(regard.RegardError, match="no rows"):
        corrections("nc: 1\nbackbone: []\nhead: []\n")
