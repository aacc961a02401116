"""The decoupled head by its parts, cell by cell, and in a detector: other classes, raw export, files, training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import regard
from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.nn.heads import HEADS, DecoupledHead
from regard.nn.heads.decoupled import Branches
from regard.weights.detector import replace_classes

ANCHORS = [[10, 13, 16, 30], [33, 23, 30, 61]]
GRAPH = """
nc: 2
depth_multiple: 0.33
width_multiple: 0.25
anchors: 3
backbone:
  - [-1, 1, Conv, [64, 6, 2, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 1, Conv, [512, 3, 2]]
head:
  - [[2, 3], 1, {head}]
"""


def detector(head: str = "Decoupled_Detect, [nc, anchors]") -> Detector:
    torch.manual_seed(4)
    return build(parse_spec(GRAPH.replace("{head}", head), None))


def test_every_output_of_every_anchor_by_its_own_product() -> None:
    head = DecoupledHead([3, 5], 3, ANCHORS, 7, strides=[8, 16]).double().eval()
    maps = [torch.randn(2, 3, 3, 5, dtype=torch.float64), torch.randn(2, 5, 2, 3, dtype=torch.float64)]
    for branches, raw, x in zip(head.m, head(maps), maps, strict=True):
        assert isinstance(branches, Branches)
        assert raw.shape == (2, 2, *x.shape[2:], 8)
        y = branches.stem(x)
        reg, cls = branches.reg_conv[1](branches.reg_conv[0](y)), branches.cls_conv[1](branches.cls_conv[0](y))
        for anchor in range(2):
            for channel in range(8):
                layer, source, i = (
                    (branches.box, reg, 4 * anchor + channel)
                    if channel < 4
                    else (branches.obj, reg, anchor)
                    if channel == 4
                    else (branches.cls, cls, 3 * anchor + channel - 5)
                )
                weight, bias = layer.weight[i, :, 0, 0], layer.bias[i]  # type: ignore[index]
                expected = (source * weight[:, None, None]).sum(1) + bias
                assert torch.allclose(raw[:, anchor, ..., channel], expected)


def test_it_starts_from_few_objects_and_no_favourite_class() -> None:
    head = DecoupledHead([400, 400], 4, 3, strides=[8, 32])
    for branches, stride in zip(head.m, (8, 32), strict=True):
        assert isinstance(branches, Branches)
        assert branches.obj.bias is not None
        assert branches.cls.bias is not None
        assert branches.obj.bias.mean().item() == pytest.approx(math.log(8 / (640 / stride) ** 2), abs=0.06)
        assert branches.cls.bias.mean().item() == pytest.approx(math.log(0.6 / (3 + 1e-5)), abs=0.06)


def test_channels_of_the_branches() -> None:
    assert detector().head.m[1].stem.out_channels == 64  # type: ignore[union-attr]
    assert detector("DecoupledDetect, [nc, anchors, 24]").head.m[1].stem.out_channels == 24  # type: ignore[union-attr]
    with pytest.raises(RegardError, match="hidden is 0"):
        DecoupledHead([3], 2, 3, 0, strides=[8])


def test_other_classes_keep_everything_else_and_the_class_of_the_same_name() -> None:
    before = detector()
    before.names = {0: "ball", 1: "cube"}
    after, _ = replace_classes(before, {0: "cone", 1: "cube", 2: "ring"})
    old, new = before.state_dict(), after.state_dict()
    for key in old:
        if ".cls." not in key:
            assert torch.equal(old[key], new[key]), key
    a, b = before.head.m[0].cls.weight, after.head.m[0].cls.weight  # type: ignore[union-attr]
    for anchor in range(3):
        assert torch.equal(a[2 * anchor + 1], b[3 * anchor + 1])  # type: ignore[index]


@pytest.mark.parametrize("name", ["Detect", "DecoupledDetect", "ASFFDetect"])
def test_raw_levels_of_a_compiled_model_decode_to_the_same(name: str) -> None:
    assert name in HEADS
    head = detector(f"{name}, [nc, anchors]").head
    features = [torch.randn(2, 64, 6, 10) * 3, torch.randn(2, 128, 3, 5) * 3]
    exported, decoder = head.raw_export()  # type: ignore[misc]
    with torch.no_grad():
        raw = [level.numpy() for level in exported(features)]
        expected = head.select(head(features), 0.001)
    for i, own in enumerate(expected):
        found = decoder.decode([level[i] for level in raw], 0.001)
        np.testing.assert_allclose(found, own.numpy(), rtol=1e-5, atol=1e-4)


def test_through_files_and_a_training(tmp_path: Path) -> None:
    model = detector()
    regard.save(model, tmp_path / "m.safetensors")
    image = torch.rand(1, 3, 64, 96)
    assert torch.equal(regard.load(tmp_path / "m.safetensors")(image).scores, model(image).scores)
    again = build(parse_spec(model.spec.to_yolov5_yaml(), None))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(image).scores, model(image).scores)
    data = "synthetic:local?train=8&val=4&test=0"
    run = regard.train(model, data, folder=tmp_path / "run", epochs=1, imgsz=64, batch=4, workers=0, verbose=False)
    trained = regard.load(run.folder).state_dict()
    changed = [
        key for key, value in trained.items() if "m.0." in key and "weight" in key and key.startswith("model.4.")
    ]
    old = model.state_dict()
    assert changed
    assert all(not torch.equal(trained[key][:1], old[key][:1]) for key in changed if ".cls." not in key)
