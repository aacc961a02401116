from __future__ import annotations

from pathlib import Path

import pytest

from regard.errors import RegardError, RegardWarning
from regard.graph.build import build
from regard.graph.read import parse_spec, spec_from_document

OLD = """nc: 3
depth_multiple: 0.33
width_multiple: 0.25
anchors:
  - [31, 61, 62, 45, 59, 119]
  - [11, 13, 16, 30, 33, 23]
backbone:
  - [-1, 1, Focus, [64, 3]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 3, BottleneckCSP, [128]]
  - [-1, 1, Conv, [256, 3, 2]]
head:
  - [-1, 3, BottleneckCSP, [256, False]]
  - [-1, 1, nn.Conv2d, [na * (nc + 5), 1, 1, 0]]
  - [-2, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 3, BottleneckCSP, [128, False]]
  - [-1, 1, nn.Conv2d, [na * (nc + 5), 1, 1, 0]]
  - [[], 1, Detect, [nc, anchors]]
"""

NEW = """nc: 3
depth_multiple: 0.33
width_multiple: 0.25
anchors:
  - [31, 61, 62, 45, 59, 119]
  - [11, 13, 16, 30, 33, 23]
backbone:
  - [-1, 1, Focus, [64, 3]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 3, BottleneckCSP, [128]]
  - [-1, 1, Conv, [256, 3, 2]]
head:
  - [-1, 3, BottleneckCSP, [256, False]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 3, BottleneckCSP, [128, False]]
  - [[4, 7], 1, Detect, [nc, anchors]]
"""


def test_the_old_form_is_the_graph_whose_head_holds_the_convolutions() -> None:
    old, new = parse_spec(OLD, None), parse_spec(NEW, None)
    assert old == new
    assert [row.origin and row.origin.sources for row in old.layers][-1] == (4, 7)
    detector = build(old)
    assert detector.strides == (8, 4)
    assert parse_spec(detector.spec.to_yolov5_yaml(), None).layers[-1].inputs == old.layers[-1].inputs


def test_rows_of_anchors_beyond_the_levels_are_reported() -> None:
    text = OLD.replace("backbone:", "  - [1, 2, 3, 4, 5, 6.5]\nbackbone:")
    with pytest.warns(RegardWarning, match=r"old\.yaml:4: 3 rows of anchors for 2 .* not used are 1, 2, 3, 4, 5, 6\.5"):
        spec = parse_spec(text, Path("old.yaml"))
    assert spec.anchors == parse_spec(NEW, None).anchors


def test_numbers_of_outputs_in_words_and_in_figures_mean_the_same() -> None:
    for text in ("24", "na*(nc+5)", "3 * (nc + 5)"):
        assert parse_spec(OLD.replace("na * (nc + 5)", text), None) == parse_spec(NEW, None)


@pytest.mark.parametrize(
    "wrong",
    [
        OLD.replace("nn.Conv2d", "Conv"),
        OLD.replace("[-2, 1, nn.Upsample", "[-1, 1, nn.Upsample"),
        OLD.replace("[[-1, 2], 1, Concat", "[[], 1, Concat"),
    ],
)
def test_what_cannot_be_read_so_is_an_error_with_its_line(wrong: str) -> None:
    with pytest.raises(RegardError):
        parse_spec(wrong, None)


@pytest.mark.parametrize("key", ["ch: 4", "scales: {n: [0.33, 0.25, 1024]}"])
def test_keys_that_change_the_network_are_rejected(key: str) -> None:
    with pytest.raises(RegardError, match=key.split(":")[0]):
        parse_spec(f"{key}\n{NEW}", None)


def test_four_channels_in_a_checkpoint_are_rejected_too() -> None:
    import yaml

    document = yaml.safe_load(NEW.replace("[None,", "['None',"))
    assert spec_from_document({**document, "ch": 3}).nc == 3
    with pytest.raises(RegardError, match="ch is 4"):
        spec_from_document({**document, "ch": 4})
