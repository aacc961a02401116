"""Blocks around attention in a detector, in every format; each export is compared at a size that it never saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.nn.attention.sge import SGE
from regard.runtimes.export import export_detector

GRAPH = """
nc: 3
anchors: [[5,6, 8,15]]
backbone: [[-1, 1, Conv, [16, 3, 2]], [-1, 1, Conv, [16, 3, 2]], [-1, 2, {block}]]
head: [[[2], 1, Detect, [nc, anchors]]]
"""
BLOCKS = {
    "PartialSelfAttention": "PartialSelfAttention, [16]",
    "AreaAggregation": "AreaAggregation, [16]",
    "C3Attention": "C3Attention, {attention: WindowAttention, options: {window: 3, pos_embed: relative}}",
    "C2fAttention": "C2fAttention, [16, CBAM, true]",
    "SwinStage": "SwinStage, [16, 2, 2, 3]",
    "InvertedResidual": "InvertedResidual, [16, 1, 4]",
    "C3k2Attention": "C3k2Attention, {attention: ECA, placement: stack}",
}


def detector_with(block: str) -> Detector:
    torch.manual_seed(4)
    return build(parse_spec(GRAPH.replace("{block}", block), None))


SLOW = [pytest.param(block, name, marks=pytest.mark.slow) for block in BLOCKS for name in ("a.onnx", "a_openvino")]


@pytest.mark.parametrize(("block", "name"), [*((block, "a.torchscript") for block in BLOCKS), *SLOW])
def test_exported(block: str, name: str, tmp_path: Path, excite: Callable[[Detector], Detector]) -> None:
    for package in {"a.onnx": ("onnxscript", "onnxruntime"), "a_openvino": ("onnxscript", "openvino")}.get(name, ()):
        pytest.importorskip(package)
    report = export_detector(excite(detector_with(BLOCKS[block])), tmp_path / name, imgsz=32)
    assert report.passed
    assert [(d.height, d.width) for d in report.deviations] == [(32, 32), (16, 20)]


def test_attention_inside_that_cannot_be_exported_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SGE, "card", dataclasses.replace(SGE.card, obstacle="it sorts by value", instead="SE"))
    with pytest.raises(RegardError, match=r"\(SGE\) cannot be exported: it sorts by value") as caught:
        export_detector(detector_with("C3Attention, {attention: SGE}"), tmp_path / "a.onnx")
    assert caught.value.hint == "the nearest module that can is SE"
