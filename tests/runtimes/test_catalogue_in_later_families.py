"""Every attention of the catalogue inside yolo11n exports and agrees; and every family exports with and without NMS."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import regard
from regard.graph.detector import Detector
from regard.nn.attention import ATTENTION
from regard.runtimes.export import export_detector

EXPORTABLE = [name for name, kind in ATTENTION.items() if not kind.card.obstacle]
SAMPLED = ("SE", "MultiHeadSelfAttention", "DeformableAttention")
FAMILIES = ("yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n")
SLOW = pytest.mark.slow


def answering(detector: Detector) -> Detector:
    """Let a fresh detector answer each cell otherwise: measured batch norms, and class scores around one half."""
    norms = [m for m in detector.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.99  # all but measured: channels that hardly vary would let rounding grow in YOLOv9
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if name.endswith("gamma"):  # half open: what is small alone would let rounding grow behind batch norms
                parameter.fill_(0.5)
        detector.train()(torch.rand(4, 3, 128, 160))
        for name, parameter in detector.head.named_parameters():
            if "cv3" in name and name.endswith("2.bias"):
                parameter.fill_(-1)
    return detector.eval()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *((module, "a.torchscript") for module in SAMPLED),
        *(
            pytest.param(module, name, marks=SLOW)
            for module in EXPORTABLE
            for name in ("b.torchscript", "b.onnx", "b_openvino")
        ),
    ],
)
def test_the_catalogue_inside_yolo11n(module: str, name: str, tmp_path: Path) -> None:
    detector = answering(regard.insert("yolo11n", module, after="p4"))
    report = export_detector(detector, tmp_path / name, imgsz=128, tolerance=1e-3)
    assert [(d.height, d.width) for d in report.deviations] == [(128, 128), (64, 96)]


@pytest.mark.parametrize(
    ("family", "nms", "name"),
    [
        ("yolo26n", True, "a.torchscript"),
        ("yolov10n", False, "a.torchscript"),
        *(
            pytest.param(family, nms, name, marks=SLOW)
            for family in FAMILIES
            for nms in (None, True, False)
            for name in ("a.onnx", "a_openvino", "a.torchscript")
            if nms is not False or family in ("yolov10n", "yolo26n")
        ),
    ],
)
def test_every_family(family: str, nms: bool | None, name: str, tmp_path: Path) -> None:
    report = export_detector(answering(regard.load(family)), tmp_path / name, imgsz=128, nms=nms, tolerance=1e-3)
    assert all((d.detections is not None) == (nms is True) for d in report.deviations)
