"""Gather-and-distribute, cell by cell, alone and in a detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import regard
from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.nn.gather import GatherAlign, Inject

SIZES = [(16, 24), (8, 12), (4, 6), (2, 3)]
STRIDES = (4, 8, 16, 32)
CHANNELS = (2, 3, 5, 7)


def means(x: Tensor, factor: int) -> Tensor:
    y = x.new_zeros(*x.shape[:2], x.shape[2] // factor, x.shape[3] // factor)
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            square = x[:, :, i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
            y[:, :, i, j] = square.sum((2, 3)) / factor**2
    return y


def bilinear(x: Tensor, factor: int) -> Tensor:
    """Each cell from the four whose middles are around its own, those outside moved to the border."""
    height, width = x.shape[2:]
    y = x.new_zeros(*x.shape[:2], height * factor, width * factor)
    for i in range(height * factor):
        for j in range(width * factor):
            for n, m in ((n, m) for n in range(-1, height + 1) for m in range(-1, width + 1)):
                share = max(0, 1 - abs((i + 0.5) / factor - 0.5 - n)) * max(0, 1 - abs((j + 0.5) / factor - 0.5 - m))
                y[:, :, i, j] += share * x[:, :, min(max(n, 0), height - 1), min(max(m, 0), width - 1)]
    return y


def some_maps() -> list[Tensor]:
    return [torch.randn(2, c, *size, dtype=torch.float64) for c, size in zip(CHANNELS, SIZES, strict=True)]


@pytest.mark.parametrize("level", [None, 0, 1, 3])
def test_levels_are_aligned_by_means_and_between_cells(level: int | None) -> None:
    layer, maps = GatherAlign(CHANNELS, level, strides=STRIDES), some_maps()
    at = 2 if level is None else level
    expected = [
        means(x, 2 ** (at - n)) if n < at else bilinear(x, 2 ** (n - at)) if n > at else x for n, x in enumerate(maps)
    ]
    assert layer.out_channels == sum(CHANNELS)
    torch.testing.assert_close(layer(maps), torch.cat(expected, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("level", "fused"), [(1, 2), (2, 2), (3, 2), (3, 1)])
def test_an_injection_by_its_equation(level: int, fused: int) -> None:
    layer = Inject([CHANNELS[level], 12], 1, 3, strides=(STRIDES[level], STRIDES[fused])).double().eval()
    for norm in (layer.local.bn, layer.act.bn, layer.embed.bn):
        torch.nn.init.normal_(norm.bias)
    x, g = some_maps()[level], torch.randn(2, 12, *SIZES[fused], dtype=torch.float64)
    part = g[:, 4:8]

    def resize(y: Tensor) -> Tensor:
        return means(y, 2 ** (level - fused)) if level > fused else bilinear(y, 2 ** (fused - level))

    act, embed = (conv.bn(conv.conv(part)) for conv in (layer.act, layer.embed))
    gate = resize(1 / (1 + (-act).exp()))
    expected = layer.local.bn(layer.local.conv(x)) * gate + resize(embed)
    torch.testing.assert_close(layer([x, g]), expected, rtol=0, atol=1e-12)
    found = layer.attention([x, g])
    assert found.kind == "elements"
    torch.testing.assert_close(found.weights, gate, rtol=0, atol=1e-12)


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="level is 3"):
        GatherAlign([3, 5, 7], 3, strides=(8, 16, 32))
    with pytest.raises(RegardError, match="reads 3 maps"):
        Inject([3, 5, 7], strides=(8, 16, 32))
    with pytest.raises(RegardError, match="parts 2 does not divide 7 channels"):
        Inject([3, 7], 0, 2, strides=(8, 16))
    with pytest.raises(RegardError, match="part is 2"):
        Inject([3, 8], 2, 2, strides=(8, 16))


BACKBONE = """
nc: 2
{top}
backbone:
  - [-1, 1, Conv, [64, 6, 2, 2]]
  - [-1, 1, Conv, [128, 3, 2]]  # 1: p2
  - [-1, 1, Conv, [256, 3, 2]]  # 2: p3
  - [-1, 1, Conv, [512, 3, 2]]  # 3: p4
  - [-1, 1, Conv, [1024, 3, 2]]  # 4: p5
head:
  - [[1, 2, 3, 4], 1, GatherAlign, []]  # at the size of p4
  - [-1, 1, Conv, [256]]
  - [-1, 2, RepVGGBlock, [256, 3, 1]]
  - [-1, 1, Conv, [192]]  # 8: 64 and 128 channels before scaling, in three parts of 64
  - [[2, 8], 1, Inject, [0, 3]]
  - [-1, 1, RepVGGBlock, [256, 3, 1]]  # 10
  - [[3, 8], 1, Inject, [1, 3]]
  - [-1, 1, RepVGGBlock, [512, 3, 1]]  # 12
  - [[4, 8], 1, Inject, [2, 3]]
"""
FORMS = {
    "yolov5": ("depth_multiple: 0.5\nwidth_multiple: 0.25\nanchors: 3", "Detect, [nc, anchors]"),
    "ultralytics": ("scales: {n: [0.5, 0.25, 1024]}", "Detect, [nc]"),
}


def detector(form: str) -> Detector:
    top, head = FORMS[form]
    torch.manual_seed(3)
    return build(parse_spec(f"{BACKBONE.replace('{top}', top)}  - [[10, 12, 13], 1, {head}]\n", None)).eval()


def test_the_name_of_other_projects() -> None:
    top, head = FORMS["yolov5"]
    text = BACKBONE.replace("{top}", top).replace("GatherAlign", "SimFusion_4in") + f"  - [[10, 12, 13], 1, {head}]\n"
    spec = build(parse_spec(text, None)).spec
    assert (spec.layers[5].module, spec.layers[5].options) == ("GatherAlign", {"level": 2})


@pytest.mark.parametrize("form", FORMS)
def test_as_rows_in_both_forms(form: str) -> None:
    model, x = detector(form), torch.rand(1, 3, 96, 160)
    names = [row.name for row in model.spec.layers]
    info = model.spec.info
    assert [info[names[i]].stride for i in (5, 8, 9, 11, 13)] == [16, 16, 8, 16, 32]
    assert info[names[5]].out_channels == 32 + 64 + 128 + 256
    assert model(x).boxes.shape == (1, (3 if form == "yolov5" else 1) * (12 * 20 + 6 * 10 + 3 * 5), 4)
    texts = [model.spec.to_yaml(), getattr(model.spec, f"to_{form}_yaml")()]
    for text in texts:
        again = build(parse_spec(text, None)).eval()
        again.load_state_dict(model.state_dict())
        assert torch.equal(again(x).scores, model(x).scores)
    assert f"[{names[3]}, {names[8]}], 1, Inject" in texts[0], "by names"


def test_cost_attention_and_export(tmp_path: Path) -> None:
    model = detector("yolov5")
    name = model.spec.layers[9].name
    assert next(row for row in model.summary(imgsz=96).rows if row.name == name).flops > 0
    image = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    assert regard.attend(model, image, layer=name, imgsz=96).map.weights.shape == (1, 64, 8, 12)  # type: ignore[union-attr]
    assert regard.export(model, tmp_path / "m.torchscript", imgsz=64).passed


@pytest.mark.slow
def test_exported_as_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert regard.export(detector("ultralytics"), tmp_path / "m.onnx", imgsz=64).passed
