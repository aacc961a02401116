"""The measure itself, on graphs whose difference is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from regard.config import DetectSettings
from regard.exporting.compare import compare, example
from regard.exporting.header import ExportHeader
from regard.exporting.runtime import ExportedDetector
from regard.exporting.suppression import SuppressedDetector, select_boxes
from regard.graph.detector import Detector

IMAGES = torch.linspace(0, 1, 2 * 3 * 16 * 24).view(2, 3, 16, 24).sin()


def altered(detector: Detector, change: Tensor, nms: DetectSettings | None = None, drop: int = 0) -> ExportedDetector:
    header = ExportHeader(
        regard_version="0", names=detector.names, imgsz=16, max_stride=8, strides=(4, 8), graph="", nms=nms
    )

    def run(images: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        with torch.no_grad():
            boxes, scores = detector(images)
            found = SuppressedDetector(detector, nms, select_boxes).eval()(images)[0] if nms else boxes
        results = {"boxes": boxes + change[:4], "scores": scores + change[4:], "detections": found[drop:]}
        return [results[name] for name in outputs]

    return ExportedDetector(header, run)


def test_each_kind_of_number_is_measured(small: Detector) -> None:
    change = torch.zeros(7)
    change[2], change[6] = -0.25, 0.125
    with torch.no_grad():
        width = small(IMAGES).boxes[..., 2]
    measured = compare(small, altered(small, change), IMAGES)
    assert (measured.batch, measured.height, measured.width) == (2, 16, 24)
    assert measured.pixels == pytest.approx(0.25, rel=1e-4)
    assert measured.probability == pytest.approx(0.125, rel=1e-4)
    assert measured.relative == pytest.approx(max(0.25 / max(8, float(width.min())), 0.125), rel=1e-4)
    assert measured.within(0.13)
    assert not measured.within(0.12)
    assert compare(small, altered(small, torch.zeros(7)), IMAGES).within(0)
    assert not compare(small, altered(small, torch.full((7,), math.nan)), IMAGES).within(1e9)


def test_a_small_centre_is_held_against_the_stride(small: Detector) -> None:
    change = torch.tensor([0.004, 0, 0, 0, 0, 0, 0])
    assert compare(small, altered(small, change), IMAGES).relative == pytest.approx(0.004 / 8, rel=0.05)


def test_detections_are_measured_too(small: Detector) -> None:
    nms = DetectSettings(conf=0.2)
    same = compare(small, altered(small, torch.zeros(7), nms), IMAGES)
    assert same.detections is not None
    assert same.detections > 3
    assert same.within(1e-6)
    assert compare(small, altered(small, torch.zeros(7), nms, drop=1), IMAGES).detections_relative == math.inf


def test_the_example_fills_the_batch() -> None:
    image = torch.arange(2 * 4 * 3, dtype=torch.uint8).view(2, 4, 3)
    images = example(image.numpy(), 3, 2, 4)
    torch.testing.assert_close(images[0], image.permute(2, 0, 1) / 255)
    assert torch.equal(images[1], images[0].flip(2))
    assert torch.equal(images[2], images[0])
