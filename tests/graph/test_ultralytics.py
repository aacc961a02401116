"""The form of YOLOv8 and later: its stock graphs, its implicit rules, and edits by hand and by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from regard.errors import RegardError, RegardWarning
from regard.graph.build import build
from regard.graph.edit import insert
from regard.graph.read import parse_spec, read_spec

PARAMETERS = {
    "yolov8n": 3_157_200, "yolov8s": 11_166_560, "yolov8m": 25_902_640, "yolov8l": 43_691_520, "yolov8x": 68_229_648,
    "yolov8n-p2": 3_354_144, "yolov8m-p2": 25_082_496, "yolov8n-p6": 4_984_352, "yolov8x-p6": 97_423_072,
    "yolov8n-ghost": 1_865_316, "yolov8x-ghost": 22_229_308,
    "yolo11n": 2_624_080, "yolo11s": 9_458_752, "yolo11m": 20_114_688, "yolo11l": 25_372_160, "yolo11x": 56_966_176,
    "yolo12n": 2_602_288, "yolo12m": 20_199_168, "yolo12l": 26_450_784, "yolo12x": 59_210_784,
    "yolo26n": 2_572_280, "yolo26s": 10_009_784, "yolo26m": 21_896_248, "yolo26l": 26_299_704, "yolo26x": 58_993_368,
    "yolo26n-p2": 2_662_400, "yolo26l-p2": 25_815_520, "yolo26n-p6": 4_063_872, "yolo26m-p6": 32_400_096,
    "yolov10n": 2_775_520, "yolov10s": 8_128_272, "yolov10m": 16_576_768, "yolov10b": 20_574_384,
    "yolov10l": 25_888_688, "yolov10x": 31_808_960,
    "yolov9t": 2_128_720, "yolov9s": 7_318_368, "yolov9m": 20_216_160, "yolov9c": 25_590_912, "yolov9e": 58_206_592,
}  # fmt: skip
ONE_OF_EACH = ("yolov8n", "yolov8n-p2", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n")
FAST = (*ONE_OF_EACH, "yolov8n-p6", "yolov8n-ghost", "yolo26n-p2", "yolo26n-p6", "yolo12l", "yolov10s", "yolov9e")

V8 = """
nc: 80
scales:
  n: [0.33, 0.25, 1024]
  m: [0.67, 0.75, 768]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 3, C2f, [128, True]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 6, C2f, [256, True]]
  - [-1, 1, Conv, [512, 3, 2]]
  - [-1, 6, C2f, [512, True]]
  - [-1, 1, Conv, [1024, 3, 2]]
  - [-1, 3, C2f, [1024, True]]
  - [-1, 1, SPPF, [1024, 5]]
head:
  - [-1, 1, nn.Upsample, [None, 2, "nearest"]]
  - [[-1, 6], 1, Concat, [1]]
  - [-1, 3, C2f, [512]]
  - [-1, 1, nn.Upsample, [None, 2, "nearest"]]
  - [[-1, 4], 1, Concat, [1]]
  - [-1, 3, C2f, [256]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [[-1, 12], 1, Concat, [1]]
  - [-1, 3, C2f, [512]]
  - [-1, 1, Conv, [512, 3, 2]]
  - [[-1, 9], 1, Concat, [1]]
  - [-1, 3, C2f, [1024]]
  - [[15, 18, 21], 1, Detect, [nc]]
"""


def on_meta(name: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(read_spec(name)).parameters())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in PARAMETERS]
)
def test_parameters_are_the_published_ones(name: str) -> None:
    assert on_meta(name) == PARAMETERS[name]


@pytest.mark.parametrize("name", [*ONE_OF_EACH, "yolov8n-p6"])
def test_stock_graphs_survive_the_native_and_the_integer_form(name: str) -> None:
    with torch.device("meta"):
        detector = build(read_spec(name))
        again = parse_spec(detector.spec.to_yaml(), None)
        assert again == detector.spec
        plain = build(parse_spec(detector.spec.to_ultralytics_yaml(), Path(f"{name[:-1]}n.yaml")))
    assert [row.name for row in plain.spec.layers] == [row.name for row in detector.spec.layers]
    shapes = {key: t.shape for key, t in detector.state_dict().items()}
    assert {key: t.shape for key, t in plain.state_dict().items()} == shapes


def test_layers_of_a_file_by_hand_get_the_names_of_the_stock_graph() -> None:
    with pytest.warns(RegardWarning, match="no size"):
        spec = parse_spec(V8, Path("mine.yaml"))
    assert spec == read_spec("yolov8n")


@pytest.mark.parametrize(
    ("file", "letter"), [("yolov8m.yaml", "m"), ("yolo8n-mine.yaml", "n"), ("yolov8mCBAM.yaml", "m")]
)
def test_the_letter_of_the_file_is_the_size(file: str, letter: str) -> None:
    spec = parse_spec(V8, Path(file))
    assert (spec.depth_multiple, spec.width_multiple, spec.max_channels) == {
        "n": (0.33, 0.25, 1024),
        "m": (0.67, 0.75, 768),
    }[letter]


def test_a_scale_key_counts_where_the_name_has_no_letter() -> None:
    assert parse_spec(V8 + "\nscale: m\n", Path("mine.yaml")).max_channels == 768
    with pytest.raises(RegardError, match="no size 'x'"):
        parse_spec(V8, Path("yolov8x.yaml"))


def test_a_size_of_a_file_that_holds_all_sizes_is_named_like_one_of_the_zoo(tmp_path: Path) -> None:
    (tmp_path / "yolov8-mine.yaml").write_text(V8)
    assert read_spec(tmp_path / "yolov8m-mine.yaml") == parse_spec(V8, Path("yolov8m.yaml"))
    with pytest.raises(RegardError, match="no size 'x'"):
        read_spec(tmp_path / "yolov8x-mine.yaml")
    (tmp_path / "yolov8n-mine.yaml").write_text(V8.replace("SPPF, [1024, 5]", "SPPF, [1024, 3]"))
    assert read_spec(tmp_path / "yolov8n-mine.yaml").layer("sppf").args == (1024, 3)


@pytest.mark.parametrize("name", ["yolo11s", "yolo11m", "yolov9t", "yolov10b", "yolo12s"])
def test_a_file_is_written_for_the_size_in_its_name(name: str) -> None:
    detector, file = build(insert(read_spec(name), "SE", after="p4", gate=False)), Path(f"{name}-se.yaml")
    again = build(parse_spec(detector.spec.to_ultralytics_yaml(file=file), file))
    shapes = {key: t.shape for key, t in detector.state_dict().items()}
    assert {key: t.shape for key, t in again.state_dict().items()} == shapes


@pytest.mark.parametrize(("name", "file"), [("yolo11s", "yolo11m-se.yaml"), ("yolo12l", "yolo12l-se.yaml")])
def test_a_name_whose_rules_give_another_network_is_rejected(name: str, file: str) -> None:
    with pytest.raises(RegardError, match="chooses the size") as error:
        build(read_spec(name)).spec.to_ultralytics_yaml(file=Path(file))
    assert error.value.expected


def test_a_head_with_anchors_is_rejected_at_its_row() -> None:
    text = V8.replace("Detect, [nc]", "Detect, [nc, anchors]")
    with pytest.raises(RegardError, match="Detect has the arguments") as error:
        parse_spec(text, Path("yolov8n.yaml"))
    assert error.value.line == 1 + text[: text.index("Detect, [nc")].count("\n")


def test_numbers_beside_scales_are_not_ignored_without_a_word() -> None:
    with pytest.warns(RegardWarning, match="width_multiple has no effect"):
        parse_spec(f"width_multiple: 0.5{V8}", Path("yolov8n.yaml"))


def test_larger_sizes_have_other_blocks_without_saying_so() -> None:
    assert not read_spec("yolo11s").layer("p2").args[1]
    assert read_spec("yolo11m").layer("p2").args[1] is True
    assert read_spec("yolo12s").layer("p4").args == (512, True, 4)
    assert read_spec("yolo12l").layer("p4").args == (512, True, 4, True, 1.2)


def test_a_row_that_gives_pools_has_no_activation_before_them() -> None:
    assert "activation" not in read_spec("yolo11n").layer("sppf").options
    assert read_spec("yolo26n").layer("sppf").options["activation"] is False


def test_a_block_with_attention_is_as_its_row_says_and_the_head_as_for_c3k2() -> None:
    rows = V8.replace("C2f, [1024, True]", "C3k2_SE, [1024, False]")
    for file in ("yolo11n.yaml", "yolo11m.yaml"):
        spec = build(parse_spec(rows, Path(file))).spec
        assert spec.layer("p5").module == "C3k2Attention"
        assert spec.info["p5"].arguments[2:] == ("SE", False)
        assert spec.layers[-1].options["depthwise"] is True
    bare = parse_spec(V8.replace("C2f, [1024, True]", "C3k2, []"), Path("yolo11m.yaml"))
    assert bare.layers[8].options["c3k"] is True


class C2f_EMA(nn.Module):  # noqa: N801 - as users call theirs
    """A block as users write it for Ultralytics: repeats third."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, e: float = 0.5) -> None:
        super().__init__()
        self.c, self.shortcut = int(c2 * e), shortcut
        self.cv1 = nn.Conv2d(c1, self.c, 1)
        self.m = nn.ModuleList(nn.Conv2d(self.c, self.c, 3, padding=1) for _ in range(n))
        self.cv2 = nn.Conv2d(self.c, c2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        for block in self.m:
            x = x + block(x)
        return self.cv2(x)


def test_a_class_of_the_user_with_the_name_of_a_block_with_attention() -> None:
    rows = V8.replace("3, C2f, [256]", "3, C2f_EMA, [256]").replace("3, C2f, [1024]", "6, C2f_EMA, [1024, True]")
    detector = build(parse_spec(rows, Path("yolov8n.yaml")), modules={"C2f_EMA": C2f_EMA})
    small, large = detector.layer("head.p3_out"), detector.layer("head.p5_out")
    assert isinstance(small, C2f_EMA)
    assert isinstance(large, C2f_EMA)
    assert (small.cv2.out_channels, len(small.m), small.shortcut) == (64, 1, False)
    assert (large.cv2.out_channels, len(large.m), large.shortcut) == (256, 2, True)
    ours = build(parse_spec(rows, Path("yolov8n.yaml"))).spec
    assert {row.module for row in ours.layers} & {"C2fAttention", "C2f_EMA"} == {"C2fAttention"}


@pytest.mark.parametrize("row", ["CBAM, [1024]", "SimAM, []", "SE, [1024]"])
def test_attention_written_by_hand_works(row: str) -> None:
    lines = V8.replace("\nhead:", f"\n  - [-1, 1, {row}]\nhead:")
    for old, new in (("[15, 18, 21]", "[16, 19, 22]"), ("[-1, 12]", "[-1, 13]"), ("[-1, 9]", "[-1, 10]")):
        lines = lines.replace(old, new)
    detector = build(parse_spec(lines, Path("yolov8n.yaml")))
    assert detector.spec.layers[10].name.startswith("sppf.")
    assert detector.spec.layers[-1].inputs == read_spec("yolov8n").layers[-1].inputs


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo12n", "yolo26n"])
@pytest.mark.parametrize("reader", ["head.p4_concat", "head.p4_merge", "head.p5_merge", "detect"])
def test_references_left_behind_by_an_insertion_are_found(name: str, reader: str) -> None:
    with torch.device("meta"):
        stock = build(read_spec(name)).spec
        edited = build(insert(stock, "SimAM", after="p3", gate=False)).spec
        right = edited.to_ultralytics_yaml()
        file = Path(f"{name}.yaml")
        assert [row.inputs for row in parse_spec(right, file).layers] == [row.inputs for row in edited.layers]
        rows = right.splitlines()
        line = [i for i, row in enumerate(rows) if row.startswith("  - [")][edited.index(reader)]
        fixed = [edited.index(source) for source in edited.layer(reader).inputs]
        numbers = [n for n in fixed if n > edited.index("p3.simam") and n != edited.index(reader) - 1]
        for number in numbers:
            rows[line] = re.sub(rf"\b{number}\b", str(number - 1), rows[line], count=1)
        with pytest.raises(RegardError) as found:
            build(parse_spec("\n".join(rows), file))
    assert f"[{', '.join(map(str, numbers))}]" in str(found.value) or str(numbers[-1]) in str(found.value)
    assert "corrected row" in str(found.value)


@pytest.mark.parametrize(("name", "module"), [("yolov8n", "SE"), ("yolov8x", "SE"), ("yolov8n", "C2f")])
def test_layers_wider_than_the_limit_are_read_as_they_were_written(name: str, module: str) -> None:
    with torch.device("meta"):
        edited = build(insert(build(read_spec(name)).spec, module, after="head.p4_concat", gate=False)).spec
        row = edited.layers[edited.index("head.p4_concat") + 1]
        assert edited.max_channels
        assert edited.info[row.name].out_channels / edited.width_multiple > edited.max_channels
        again = build(parse_spec(edited.to_ultralytics_yaml(), Path("model.yaml"))).spec
    calls = [[one.info[layer.name].call for layer in one.layers] for one in (edited, again)]
    assert calls[0] == calls[1]


def test_a_yolov5_head_cannot_be_written_in_this_form() -> None:
    with pytest.raises(RegardError, match="YOLOv8"):
        build(read_spec("yolov5n")).spec.to_ultralytics_yaml()


@pytest.mark.parametrize("key", ["ch", "channels"])
def test_images_of_other_channels_are_rejected(key: str) -> None:
    assert parse_spec(f"{key}: 3" + V8, Path("yolov8n.yaml")).nc == 80
    with pytest.raises(RegardError, match="ch is 4"):
        parse_spec(f"{key}: 4" + V8, Path("yolov8n.yaml"))


@pytest.mark.parametrize("most", [".inf", ".nan", "0", "x"])
def test_limits_of_channels_that_are_no_numbers_are_rejected(most: str) -> None:
    with pytest.raises(RegardError, match="scales: n is"):
        parse_spec(V8.replace("0.25, 1024", f"0.25, {most}"), None)


@pytest.mark.parametrize(
    ("scales", "said"), [("[1]", "scales is"), ("{n: [1, 2]}", "n is"), ("{n: [1, 1, 9], s: 3}", "s is")]
)
def test_a_wrong_size_is_named(scales: str, said: str) -> None:
    with pytest.raises(RegardError, match=said):
        parse_spec(f"nc: 2\nscales: {scales}\nbackbone: []\nhead: [[-1, 1, Detect, [nc]]]\n", None)


def test_keys_for_a_head_reach_another_one_which_rejects_what_it_lacks() -> None:
    rows = "backbone: [[-1, 1, Conv, [8, 3, 8]]]\nhead: [[[0], 1, Own, [nc]]]\n"
    text = f"nc: 2\nscales: {{n: [1, 1, 64]}}\nreg_max: 3\n{rows}"
    assert parse_spec(text, None).layers[-1].options == {"reg_max": 3}
    with pytest.raises(RegardError, match="DecoupledDetect has no option 'reg_max'"):
        build(parse_spec(text.replace("Own, [nc]", "DecoupledDetect, [nc, 3]"), None))
