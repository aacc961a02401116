"""Stages of timm's networks against the networks themselves; the short form, weights and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import regard
from regard.errors import RegardError
from regard.graph.read import parse_spec
from regard.nn.timm_stage import TimmStage, features, strides_of
from regard.weights.timm_weights import load_backbone

timm = pytest.importorskip("timm")

GRAPH = """
nc: 3
backbone:
  - timm: {name: resnet10t, out_indices: [2, 3]}
  - p5: [-1, 1, Conv, [64, 3, 2]]
head:
  - up: [p5, 1, nn.Upsample, [null, 2, nearest]]
  - join: [[up, p4], 1, Concat, [1]]
  - detect: [[p3, join], 1, Detect, [nc, anchors]]
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    return tmp_path / "graph.yaml"


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet10t", "efficientnet_lite0", "convnext_atto"])
def test_stages_together_are_the_network(name: str) -> None:
    network = features(name).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    channels, flat = network.feature_info.channels(), {k.replace(".", "_"): v for k, v in network.state_dict().items()}
    x, before = torch.rand(2, 3, 64, 96), -1
    with torch.no_grad():
        expected = network(x)
        y = x
        for stage in range(1, len(channels)):
            piece = TimmStage(channels[before] if before >= 0 else 3, name=name, stage=stage, after=before).eval()
            piece.load_state_dict(
                {key: flat[key.removeprefix("layers.").replace(".", "_")] for key in piece.state_dict()}
            )
            y, before = piece(y), stage
            torch.testing.assert_close(y, expected[stage], rtol=0, atol=1e-6 * float(expected[stage].abs().max() + 1))
            assert 64 // y.shape[2] == strides_of(name)[stage]
    assert ("weights of timm under" in piece.note) == (len(channels) == 2)


def test_the_short_form_writes_a_row_for_each_stage(graph: Path) -> None:
    model = regard.load(graph)
    p3, p4 = model.spec.layers[:2]
    assert (p3.name, p3.inputs, dict(p3.options)) == ("p3", ("image",), {"name": "resnet10t", "stage": 2})
    assert (p4.name, p4.inputs, dict(p4.options)) == ("p4", ("p3",), {"name": "resnet10t", "stage": 3, "after": 2})
    assert model.strides == (8, 16)
    again = parse_spec(model.spec.to_yaml(), graph)
    assert again.layers == model.spec.layers
    x = torch.rand(1, 3, 64, 64)
    with_attention = regard.insert(model, "SE", after="p3")
    with torch.no_grad():
        assert torch.equal(with_attention(x).boxes, model(x).boxes)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_a_local_file(graph: Path, suffix: str) -> None:
    whole = timm.create_model("resnet10t", pretrained=False)
    for tensor in whole.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.9)
    path = graph.with_suffix(suffix)
    state = {key: tensor.contiguous() for key, tensor in whole.state_dict().items()}
    if suffix == ".pth":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    model = regard.load(graph, weights=path)
    with torch.no_grad():
        x = torch.rand(1, 3, 64, 64)
        expected = timm.create_model("resnet10t", features_only=True, out_indices=[2, 3])
        expected.load_state_dict(whole.state_dict(), strict=False)
        expected = expected.eval()(x)
        p3 = model.model[0](x)
        torch.testing.assert_close(p3, expected[0])
        torch.testing.assert_close(model.model[1](p3), expected[1])
    report = load_backbone(model, path)
    assert report is not None
    assert {"fc", "layer4"} <= {report.source_layer_of[key] for key in report.unused}


def test_weights_of_another_network_are_rejected(graph: Path) -> None:
    path = graph.with_suffix(".safetensors")
    save_file(timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict(), path)
    with pytest.raises(RegardError, match=r"is missing[\s\S]*resnet10t"):
        regard.load(graph, weights=path)


def test_a_detector_file_is_no_backbone(graph: Path) -> None:
    path = graph.with_suffix(".safetensors")
    model = regard.load(graph)
    regard.save(model, path)
    assert load_backbone(model, path) is None
    again = regard.load(graph, weights=path).state_dict()
    assert all(torch.equal(again[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("{name: resnet10}", "timm has no network 'resnet10'"),
        ("{name: vit_tiny_patch16_224}", "do not come from a chain"),
        ("{name: swin_tiny_patch4_window7_224}", "do not come from a chain"),
        ("{name: 'hf-hub:some/thing'}", "timm has no network"),
        ("{name: resnet10t, out_indices: [3, 2]}", "rising numbers of 0 to 4"),
        ("{name: resnet10t, out_indices: [2, 7]}", "rising numbers of 0 to 4"),
        ("{name: resnet10t, out: [2]}", "unknown key 'out'"),
        ("{name: 3}", "timm has the name 3"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, stated: str, message: str) -> None:
    text = GRAPH.replace("{name: resnet10t, out_indices: [2, 3]}", stated)
    with pytest.raises(RegardError, match=message) as caught:
        parse_spec(text, tmp_path / "graph.yaml")
    assert caught.value.line == 4


def test_stages_out_of_order_are_rejected() -> None:
    with pytest.raises(RegardError, match="stage 2 after 3"):
        TimmStage(64, name="resnet10t", stage=2, after=3)
    with pytest.raises(RegardError, match="reads 5 channels"):
        TimmStage(5, name="resnet10t", stage=2, after=1)


def test_a_network_is_bounded_before_its_rows_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.graph.bounded.MOST_MADE", 2**16)
    with pytest.raises(RegardError, match="too large"):
        parse_spec(GRAPH, None)
