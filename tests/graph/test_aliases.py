"""Names and argument forms of public model files, and what they become."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from regard.errors import RegardError, RegardWarning
from regard.graph.aliases import ALIASES, find_class, own_name
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.graph.summary import summarize
from regard.nn.table import LAYERS

GRAPH = """
nc: 2
depth_multiple: 0.33
width_multiple: 0.25
anchors: 3
backbone:
  - [-1, 1, Conv, [32, 6, 2, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - attend: [-1, {number}, {row}]
  - [-1, 1, Conv, [256, 3, 2]]
head:
  - [[3, 4], 1, Detect, [nc, anchors]]
"""


def of_row(row: str, number: int = 1, **modules: type[nn.Module]) -> Detector:
    """Build a small model with a row on 32 channels."""
    text = GRAPH.replace("{row}", row).replace("{number}", str(number))
    return build(parse_spec(text, Path("fork.yaml")), modules=modules)


def row_of(detector: Detector) -> tuple[str, tuple[object, ...]]:
    row = detector.spec.layers[3]
    return row.module, detector.spec.info[row.name].arguments


@pytest.mark.parametrize("name", ALIASES)
def test_every_other_name_is_built(name: str) -> None:
    detector = of_row(f"{name}, [128]")
    assert row_of(detector)[0] == ALIASES[name]
    assert type(detector.model[3]) is LAYERS[ALIASES[name]]


@pytest.mark.parametrize(
    ("row", "module", "arguments"),
    [
        ("CoordAtt, [128, 128, 16]", "CoordinateAttention", (32, 16)),
        ("CA, [128, 16]", "CoordinateAttention", (32, 16)),
        ("SELayer, [128, 8]", "SE", (32, 8)),
        ("SEAttention, [128, 128, 8]", "SE", (32, 8)),
        ("SELayer, [32, 8]", "SE", (32, 8)),  # channels as they are, unscaled
        ("eca_layer, [128]", "ECA", (32, 3)),
        ("eca_layer, [128, 5]", "ECA", (32, 5)),
        ("ECAAttention, [3]", "ECA", (32, 3)),
        ("ECA, [5]", "ECA", (32, 5)),
        ("ECA, [128, 128]", "ECA", (32,)),
        ("ECA, [128, 128, 5]", "ECA", (32, 5)),
        ("SimAM, [1e-4]", "SimAM", (32, 1e-4)),
        ("SimAM, [1.0e-5]", "SimAM", (32, 1e-5)),
        ("SimAM, [128, 1e-5]", "SimAM", (32, 1e-5)),
        ("CBAM, [128, False]", "CBAM", (32,)),
        ("CBAM, [128, 8]", "CBAM", (32, 8)),
        ("CBAM, [128, 8, 3]", "CBAM", (32, 8, 3)),
        ("CBAM, [128, 128, 8, 3]", "CBAM", (32, 8, 3)),
        ("CBAM, [128, {reduction: 7}]", "CBAM", (32, 7)),
        ("C3SE, [128]", "C3Attention", (32, 32, "SE")),
        ("C3CA, [128, False]", "C3Attention", (32, 32, "CoordinateAttention", False)),
        ("CBAMC3, [128, True]", "C3Attention", (32, 32, "CBAM", True)),
        ("C3_ECA, []", "C3Attention", (32, 32, "ECA")),
        ("C3SimAM, [128]", "C3Attention", (32, 32, "SimAM")),
        ("C2f_EMA, [128]", "C2fAttention", (32, 32, "EMAttention")),
        ("C2fSE, [128, True]", "C2fAttention", (32, 32, "SE", True)),
        ("SimAM_C2f, [128, True, 1, 0.25]", "C2fAttention", (32, 32, "SimAM", True, 1, 0.25)),
        ("C3k2_CBAM, [128, False, 0.25]", "C3k2Attention", (32, 32, "CBAM", False, 0.25)),
        ("C3k2CoordAtt, []", "C3k2Attention", (32, 32, "CoordinateAttention")),
    ],
)
def test_forms_of_arguments(row: str, module: str, arguments: tuple[object, ...]) -> None:
    detector = of_row(row)
    assert row_of(detector) == (module, arguments)
    again = build(parse_spec(detector.spec.to_yaml(), None))
    assert row_of(again) == (module, arguments)
    assert row_of(build(parse_spec(again.spec.to_yolov5_yaml(), None)))[1] in (arguments, (32, 7, 7))
    assert f"{module} " in summarize(detector).to_markdown() + " "


def test_a_kernel_of_the_paper_is_read_as_the_kernel_and_reported() -> None:
    with pytest.warns(RegardWarning, match=r"fork\.yaml:\d+: .* kernel_size 7; for a reduction of 7, write"):
        detector = of_row("CBAM, [128, 7]")
    assert row_of(detector)[1] == (32, 7)
    assert detector.model[3].conv.kernel_size == (7, 7)  # type: ignore[union-attr]
    assert detector.model[3].hidden == 2


@pytest.mark.parametrize(
    ("row", "first", "second"),
    [
        ("CBAM, [128, 5]", "[128, {kernel_size: 5}]", "[128, {reduction: 5}]"),
        ("CBAM, [128, 128]", "[128, {reduction: 128}]", "CBAM, [128] if both"),
        ("CBAM, [128, 128, 3]", "[128, {reduction: 128, kernel_size: 3}]", "[128, {kernel_size: 3}]"),
        ("SELayer, [128, 128]", "SE, [128, {reduction: 128}]", "SE, [128] if both"),
        ("CoordAtt, [128, 128]", "CoordinateAttention, [128, {reduction: 128}]", "CoordinateAttention, [128] if both"),
    ],
)
def test_two_meanings_are_asked_about(row: str, first: str, second: str) -> None:
    with pytest.raises(RegardError, match=r"fork\.yaml:\d+: layer 'attend': .* two meanings") as caught:
        of_row(row)
    assert first in str(caught.value)
    assert second in str(caught.value)
    for answer in str(caught.value).split("expected: ")[1].split("; "):
        of_row(answer.rpartition(" if ")[0])


def test_a_shortcut_that_does_not_exist_is_not_ignored() -> None:
    with pytest.raises(RegardError, match="CBAM adds no shortcut"):
        of_row("CBAM, [128, True]")


def test_repeats_stay_inside_c3() -> None:
    assert len(of_row("C3SE, [128]", number=9).model[3].m) == 3  # type: ignore[arg-type]


class CoordAtt(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.channels = in_channels

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_class_of_the_user_goes_first() -> None:
    assert type(of_row("CoordAtt, [128]", CoordAtt=CoordAtt).model[3]) is CoordAtt


def test_names_that_are_none() -> None:
    assert own_name("C3Nothing") == ("C3Nothing", None)
    assert own_name("C3TR") == ("C3TR", None)
    with pytest.raises(RegardError, match="did you mean 'CoordAtt'"):
        of_row("CoordAt, [128]")
    with pytest.raises(RegardError, match="CoordinateAttention: reduction is 'x'"):
        of_row("CoordAtt, [128, x]")


def test_the_same_network_as_by_its_own_name() -> None:
    image = torch.rand(1, 3, 64, 64)
    torch.manual_seed(3)
    ours = of_row("CoordinateAttention, [128, 8]")
    torch.manual_seed(3)
    theirs = of_row("CoordAtt, [128, 128, 8]")
    assert torch.equal(ours(image).boxes, theirs(image).boxes)


JOINS = GRAPH.replace(
    "  - attend: [-1, {number}, {row}]", "  - [-1, 1, Conv, [128, 1]]\n  - attend: [[-1, 2], 1, {row}]"
)


def of_join(row: str) -> Detector:
    """Build a small model with a row that joins two maps of 32 channels."""
    text = JOINS.replace("{row}", row).replace("[[3, 4], 1, Detect", "[[4, 5], 1, Detect")
    return build(parse_spec(text, Path("fork.yaml")))


@pytest.mark.parametrize(
    ("row", "channels", "convolution"),
    [
        ("BiFPN_Concat2, [1]", 64, False),
        ("Concat_bifpn, [1]", 64, False),
        ("BiFPN_Add2, [128, 128]", 32, True),
        ("BiFPN, []", 32, False),
    ],
)
def test_weighted_joins(row: str, channels: int, convolution: bool) -> None:
    detector = of_join(row)
    layer = detector.spec.layers[4]
    assert (layer.module, detector.spec.info[layer.name].out_channels) == ("BiFPN", channels)
    assert (detector.model[4].conv is not None) is convolution
    written = build(parse_spec(detector.spec.to_yolov5_yaml(), None))
    assert written.state_dict().keys() == detector.state_dict().keys()


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ("BiFPN_Concat3, [1]", "reads 2 layers"),
        ("BiFPN_Concat2, [2]", "on dimension 2"),
        ("BiFPN_Add2, [128, 64]", "turns 128 channels into 64"),
        ("Concat_bifpn, [128, 128]", "two meanings"),
        ("BiFPN_Concat2, [1, 2]", "takes 1 arguments"),
    ],
)
def test_joins_that_mean_something_else(row: str, match: str) -> None:
    with pytest.raises(RegardError, match=match):
        of_join(row)


@pytest.mark.parametrize(
    ("row", "module", "arguments"),
    [
        ("conv_bn_hswish, [128, 1]", "ConvHardswish", (32, 32, 1)),
        ("Shuffle_Block, [128, 1]", "ShuffleUnit", (32, 32, 1)),
        ("MobileNet_Block, [128, 72, 3, 1, 0, 1]", "MobileNetV3Block", (32, 32, 72, 3, 1, 0, 1)),
        ("ShuffleNetV2, [128, 1]", "ShuffleUnit", (32, 32, 1)),
        ("InvertedResidual, [128, 1, 6]", "InvertedResidual", (32, 32, 1, 6)),
        ("InvertedResidual, [128, 72, 3, 1, 0, 1]", "MobileNetV3Block", (32, 32, 72, 3, 1, 0, 1)),
        ("SwinStage, [128, 2, 4, 7]", "SwinStage", (32, 32, 2, 4, 7)),
        ("involution, [128, 5, 1]", "Involution", (32, 5, 1)),
        ("GAM_Attention, [128, 128]", "GAM", (32,)),
        ("GAMAttention, [128, 128, 8]", "GAM", (32, 8)),
        ("GSConv, [128, 3]", "GSConv", (32, 32, 3)),
        ("VoVGSCSP, [128, False]", "VoVGSCSP", (32, 32, False)),
    ],
)
def test_forms_of_blocks(row: str, module: str, arguments: tuple[object, ...]) -> None:
    assert row_of(of_row(row)) == (module, arguments)


def test_blocks_that_change_the_size() -> None:
    text = GRAPH.replace("{number}", "1")
    for down in ("space_to_depth, [1]", "SPD, [1]", "SPDConv, [128]", "PatchMerging, [128]", "PatchEmbed, [128, 2]"):
        spec = parse_spec(text.replace("attend: [-1, 1, {row}]", f"attend: [-1, 1, {down}]"), None)
        assert build(spec).strides == (16, 32)
    for up in ("CARAFE, [3, 5]", "CARAFE, [128, 3, 5]", "CARAFE, []"):
        spec = parse_spec(text.replace("attend: [-1, 1, {row}]", f"attend: [-1, 1, {up}]"), None)
        assert build(spec).strides == (4, 8)


def test_inverted_residuals_of_two_networks_are_asked_about() -> None:
    with pytest.raises(RegardError, match="several meanings") as caught:
        of_row("InvertedResidual, [128, 1]")
    for answer in ("ShuffleUnit, [128, 1]", "InvertedResidual, [128, 1, 6]"):
        assert answer in str(caught.value)
        of_row(answer)
    written = of_row("InvertedResidual, [128, {stride: 1}]").spec.to_yolov5_yaml()
    assert build(parse_spec(written, None)).spec.layers[3].module == "InvertedResidual"


def test_a_model_of_yolov7_is_called_so() -> None:
    for row in ("MP, []", "SPPCSPC, [128]"):
        with pytest.raises(RegardError, match=r"fork\.yaml:\d+: .*a layer of YOLOv7"):
            of_row(row)


@pytest.mark.parametrize(("row", "said"), [("CPCA, [32, 32]", "reduction 32"), ("ScSE, [32, 32]", "reduction 32")])
def test_numbers_that_may_both_be_channels_are_said(row: str, said: str) -> None:
    with pytest.warns(RegardWarning, match=said):
        of_row(row)
    for other in ("CPCA, [32]", "CPCA, [32, 16]", "CPCA, [32, {reduction: 32}]"):
        of_row(other)


@pytest.mark.parametrize("own", [len, lambda x: x, nn.ReLU(), "Mine", int])
def test_what_is_given_as_a_layer_must_be_a_class_of_layers(own: object) -> None:
    with pytest.raises(RegardError, match=r"modules\['Mine'\] is") as caught:
        find_class("Mine", {"Mine": own})  # type: ignore[dict-item]
    assert "torch.nn.Module" in str(caught.value)
