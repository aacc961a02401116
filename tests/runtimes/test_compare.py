"""The measure itself, on sessions whose difference is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regard.config import DetectSettings
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.runtimes.base import Session
from regard.runtimes.compare import ALL, compare, example_images
from regard.runtimes.header import Header
from regard.runtimes.with_nms import WithNMS, select_boxes

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 24), dtype=np.uint8)


def altered(
    detector: Detector, change: Sequence[float] = (0.0,) * 7, nms: DetectSettings | None = None, drop: int = 0
) -> Session:
    header = Header(regard_version="0", names=detector.names, imgsz=16, max_stride=8, strides=(4, 8), graph="", nms=nms)
    added = torch.tensor(change)

    def run(images: NDArray[np.float32], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        with torch.no_grad():
            boxes, scores = detector(torch.from_numpy(images))
            results = {"boxes": boxes + added[:4], "scores": scores + added[4:]}
            if nms:
                results["detections"] = WithNMS(detector, nms, select_boxes).eval()(torch.from_numpy(images))[0][drop:]
        return [results[name].numpy() for name in outputs]

    return Session(header, run)


def test_each_kind_of_number_is_measured(small: Detector) -> None:
    width = np.stack(small.predict(IMAGES, ALL))[..., 2]
    measured = compare(small, altered(small, [0, 0, 0.25, 0, 0, 0, 0.125]), IMAGES)
    assert (measured.batch, measured.height, measured.width) == (2, 16, 24)
    assert measured.pixels == pytest.approx(0.25, rel=1e-4)
    assert measured.probability == pytest.approx(0.125, rel=1e-4)
    assert measured.relative == pytest.approx(max(0.25 / max(8, float(width.min())), 0.125), rel=1e-4)
    assert measured.within(0.13)
    assert not measured.within(0.12)
    assert compare(small, altered(small), IMAGES).within(0)
    with pytest.raises(RegardError, match="not finite"):
        compare(small, altered(small, [math.nan] * 4 + [0.0] * 3), IMAGES)


def test_a_small_centre_is_compared_with_the_stride(small: Detector) -> None:
    change = [0.004, 0, 0, 0, 0, 0, 0]
    assert compare(small, altered(small, change), IMAGES).relative == pytest.approx(0.004 / 8, rel=0.05)


def test_detections_are_measured_too(small: Detector) -> None:
    nms = DetectSettings(conf=0.2)
    same = compare(small, altered(small, nms=nms), IMAGES)
    assert same.detections is not None
    assert same.detections > 3
    assert same.within(1e-6)
    assert compare(small, altered(small, nms=nms, drop=1), IMAGES).detections_relative == math.inf


def test_the_example_fills_the_batch() -> None:
    image = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    images = example_images(image, 3, 2, 4)
    np.testing.assert_array_equal(images[0], image.transpose(2, 0, 1))
    np.testing.assert_array_equal(images[1], images[0][:, :, ::-1])
    np.testing.assert_array_equal(images[2], images[0])
