from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hand_edits import FILE, STOCK_N, all_follow, hand_graph, insert_by_hand
from torch import nn

from regard.errors import RegardError, RegardWarning
from regard.graph.build import build
from regard.graph.edit import insert, remove, replace_layer
from regard.graph.read import parse_spec, read_spec
from regard.graph.spec import ModelSpec
from regard.graph.user_modules import import_modules

TUTORIAL_SE = """\
import torch.nn as nn

class SE(nn.Module):
    def __init__(self, c1, c2, ratio=16):
        super(SE, self).__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.l1 = nn.Linear(c1, c1 // ratio, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.l2 = nn.Linear(c1 // ratio, c1, bias=False)
        self.sig = nn.Sigmoid()

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.avgpool(x).view(b, c)
        y = self.sig(self.l2(self.relu(self.l1(y)))).view(b, c, 1, 1)
        return x * y.expand_as(x)
"""


def inputs(spec: ModelSpec) -> dict[str, tuple[str, ...]]:
    return {row.name: row.inputs for row in spec.layers}


def test_every_reader_follows_and_no_other_reference_moves() -> None:
    spec = read_spec("yolov5n")
    edited = insert(spec, "SE", after="head.p4_lateral")
    expected = inputs(spec) | {
        "head.p4_lateral.se": ("head.p4_lateral",),
        "head.p3_up": ("head.p4_lateral.se",),  # read it by -1
        "head.p4_merge": ("head.p4_down", "head.p4_lateral.se"),  # and by name
    }
    assert inputs(edited) == expected
    assert [row.name for row in edited.layers].index("head.p4_lateral.se") == 15
    assert inputs(spec)["head.p3_up"] == ("head.p4_lateral",)  # the original is unchanged


def test_an_index_means_the_row_of_the_file() -> None:
    spec = parse_spec(STOCK_N, FILE)
    assert insert(spec, "SE", after=14) == insert(spec, "SE", after="14") == insert(spec, "SE", after="head.p4_lateral")
    assert insert(spec, "SE", after=-2) == insert(spec, "SE", after="head.p5_out")


def test_readers_narrow_an_insertion() -> None:
    edited = insert(read_spec("yolov5n"), "SE", after="p4", readers=["head.p4_concat"])
    assert inputs(edited)["p5.down"] == ("p4",)
    assert inputs(edited)["head.p4_concat"] == ("head.p4_up", "p4.se")
    with pytest.raises(RegardError, match=r"'head.p4_out' does not read 'p4'\n.*one of p5.down, head.p4_concat"):
        insert(read_spec("yolov5n"), "SE", after="p4", readers=["head.p4_out"])


def test_one_reader_may_be_named_alone_and_none_is_a_slip() -> None:
    spec = read_spec("yolov5n")
    assert insert(spec, "SE", after="p4", readers="head.p4_concat") == insert(
        spec, "SE", after="p4", readers=["head.p4_concat"]
    )
    with pytest.raises(RegardError, match="no readers are named"):
        insert(spec, "SE", after="p4", readers=[])


def test_the_last_insertion_after_a_row_comes_first() -> None:
    edited = insert(insert(read_spec("yolov5n"), "SE", after="p4"), "SE", after="p4")
    names = [row.name for row in edited.layers]
    assert names[6:9] == ["p4", "p4.se_2", "p4.se"]
    assert inputs(edited)["p4.se"] == ("p4.se_2",)
    assert inputs(edited)["head.p4_concat"] == ("head.p4_up", "p4.se")
    chained = insert(insert(read_spec("yolov5n"), "SE", after="p4"), "SE", after="p4.se")
    assert inputs(chained)["head.p4_concat"] == ("head.p4_up", "p4.se.se")


def test_the_section_of_an_insertion_is_that_of_its_row() -> None:
    edited = insert(read_spec("yolov5n"), "SE", after="sppf")
    assert [row.name for row in edited.layers if not row.head][-1] == "sppf.se"


def test_a_removal_hands_its_readers_to_its_input() -> None:
    edited = remove(read_spec("yolov5n"), "sppf")
    assert inputs(edited)["head.p5_lateral"] == ("p5",)
    assert remove(insert(read_spec("yolov5n"), "SE", after="p4"), "p4.se") == read_spec("yolov5n")


@pytest.mark.parametrize(
    ("name", "message"),
    [("detect", "is the detection head"), ("head.p4_concat", "reads several layers"), ("spff", "did you mean 'sppf'")],
)
def test_what_cannot_be_removed(name: str, message: str) -> None:
    with pytest.raises(RegardError, match=message):
        remove(read_spec("yolov5n"), name)


def test_nothing_follows_the_head_and_no_name_is_given_twice() -> None:
    spec = read_spec("yolov5n")
    with pytest.raises(RegardError, match="nothing can follow 'detect'"):
        insert(spec, "SE", after="detect")
    with pytest.raises(RegardError, match="called 'p4'"):
        insert(spec, "SE", after="p3", name="p4")
    for name in ("a b", "17", "image", "-1", "a: b", "yes", ""):
        with pytest.raises(RegardError, match="cannot be the name of a layer"):
            insert(spec, "SE", after="p3", name=name)


def test_a_replacement_keeps_place_name_and_what_was_not_said() -> None:
    spec = read_spec("yolov5n")
    edited = replace_layer(spec, "p5", "C3TR")
    row = edited.layer("p5")
    assert (row.module, row.args, row.number, row.inputs) == ("C3TR", (1024,), 3, ("p5.down",))
    assert replace_layer(spec, "sppf", "SPP", options={"kernel_sizes": [3, 7]}).layer("sppf").args == (1024,)
    by_name = replace_layer(spec, "p5", "C3", args=(), options={"out_channels": 512, "shortcut": False})
    assert replace_layer(by_name, "p5", "C3TR").layer("p5").options == {"out_channels": 512, "shortcut": False}
    widened = replace_layer(by_name, "p5", "C3TR", options={"expansion": 0.25})
    assert build(widened).spec.info["p5"].out_channels == 128
    assert build(replace_layer(spec, "sppf", "SPP", options={"kernel_sizes": [3, 7]})).layer("sppf")


def test_a_replacement_takes_options_over_by_name_and_names_those_it_drops() -> None:
    spec = read_spec("yolo12n")
    with pytest.warns(RegardWarning, match="area 4") as caught:
        edited = replace_layer(spec, "p4", "C3k2")
    assert len(caught) == 1
    plain = replace_layer(spec, "p4", "C3k2", args=spec.layer("p4").args[:1])
    assert build(edited).spec.info == build(plain).spec.info
    block = replace_layer(read_spec("yolov5n"), "p5", "C3", args=[1024, False])
    edited = replace_layer(block, "p5", "C3k2")  # whose second argument is another
    assert edited.layer("p5").options == {"shortcut": False}
    assert replace_layer(edited, "p5", "C3").layer("p5").options == {"shortcut": False}
    with pytest.warns(RegardWarning, match="shortcut"):
        assert replace_layer(block, "p5", "SE").layer("p5").args == (1024,)


def test_a_class_of_ones_own_takes_over_what_its_constructor_names() -> None:
    class Own(nn.Module):
        def __init__(self, c1: int, c2: int, expansion: float = 0.5, shortcut: bool = True) -> None:
            super().__init__()
            self.mix, self.factor, self.shortcut = nn.Conv2d(c1, c2, 1), expansion, shortcut

    block = replace_layer(read_spec("yolov5n"), "p5", "C3", args=[1024, False])
    edited = replace_layer(block, "p5", "Own", modules={"Own": Own})
    assert (edited.layer("p5").args, edited.layer("p5").options) == ((1024,), {"shortcut": False})
    assert replace_layer(block, "p5", "Own").layer("p5").args == (1024, False)


def test_lists_and_numbers_in_options_survive_writing() -> None:
    spec = insert(read_spec("yolov5n"), "X", after="p3", options={"k": [3, 5], "eps": 1e-5, "mode": "yes", "s": 2.0})
    again = parse_spec(spec.to_yaml(), FILE)
    assert again == spec
    assert isinstance(again.layer("p3.x").options["s"], float)
    assert again.layer("p3.x").options == {"k": (3, 5), "eps": 1e-5, "mode": "yes", "s": 2.0}
    assert parse_spec(STOCK_N.replace("[1024, 5]", "{eps: 1e-5}"), FILE).layer("sppf").options == {"eps": 1e-5}


@pytest.mark.parametrize("args", ["[1024]", "[1024, 16]"])
def test_the_tutorial_edit_equals_the_edit_by_name(args: str, tmp_path: Path) -> None:
    hand = insert_by_hand(hand_graph(STOCK_N), [9], all_follow([9]))
    text = hand.text.replace("SE, []", f"SE, {args}")
    by_hand = parse_spec(text, FILE)
    by_name = insert(read_spec("yolov5n"), "SE", after="sppf", gate=False)
    assert inputs(by_hand) == inputs(by_name)
    file = tmp_path / "my_attention.py"
    file.write_text(TUTORIAL_SE)
    user = import_modules([f"{file}:SE"])
    torch.manual_seed(1)
    own = build(by_hand, modules=user)
    ours = build(by_name)
    assert type(own.layer("sppf.se")) is user["SE"]
    assert type(build(by_hand).layer("sppf.se")) is type(ours.layer("sppf.se"))
    ours.load_state_dict(own.state_dict())
    x = torch.rand(1, 3, 64, 64)
    assert all(map(torch.equal, ours(x), own(x)))
    assert own.spec.info["sppf.se"].arguments == ((256, 256) if args == "[1024]" else (256, 256, 16))


def test_an_insertion_is_written_as_people_write_it_by_hand() -> None:
    for options, written in (({}, "[-1, 1, SE, [1024]]"), ({"reduction": 8}, "[-1, 1, SE, [1024, 8]]")):
        spec = build(insert(read_spec("yolov5n"), "SE", after="sppf", options=options, gate=False)).spec
        text = spec.to_yolov5_yaml()
        assert f"  - {written}\n" in text
        assert "[[18, 21, 24], 1, Detect, [nc, anchors]]" in text
        assert inputs(parse_spec(text, FILE)) == inputs(spec)


def test_a_gated_row_is_rejected_in_the_integer_form_unless_ungated() -> None:
    spec = build(insert(read_spec("yolov5n"), "SE", after="sppf")).spec
    with pytest.raises(RegardError, match=r"'sppf.se' is gated.*\n.*--ungated"):
        spec.to_yolov5_yaml()
    assert "[-1, 1, SE, [1024]]" in spec.to_yolov5_yaml(ungated=True)
    assert parse_spec(spec.to_yaml(), FILE).layer("sppf.se").gate is True


def test_a_later_row_that_reads_the_image_is_rejected_in_the_integer_form() -> None:
    text = read_spec("yolov5n").to_yaml().replace("p2: [-1,", "extra: [image, 1, Conv, [8, 4, 4]]\n  - p2: [-1,")
    spec = parse_spec(text.replace("p2: [-1,", "p2: [p2.down,"), FILE)
    with pytest.raises(RegardError, match="'extra' reads the image"):
        spec.to_yolov5_yaml()


def test_a_number_that_no_file_can_hold_is_rejected() -> None:
    with pytest.raises(RegardError, match="reduction is a number of 100 bits"):
        build(insert(read_spec("odd-one-out"), "SE", after="p3", options={"reduction": 10**30}))
