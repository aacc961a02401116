"""NMS inside the graph against NMS outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regard.config import DetectSettings
from regard.geometry import nms
from regard.graph.detector import Detector
from regard.runtimes.base import Session
from regard.runtimes.compare import ALL
from regard.runtimes.header import Header
from regard.runtimes.with_nms import WithNMS, best_of_each_image, select_boxes

SETTINGS = [
    DetectSettings(),
    DetectSettings(conf=0.05, multi_label=True),
    DetectSettings(conf=0.05, iou=0.2, agnostic_nms=True, max_det=11),
    DetectSettings(conf=0.05, agnostic_nms=True, multi_label=True, classes=(0, 2)),
    DetectSettings(conf=0.1, classes=(1,), max_det=3),
    DetectSettings(conf=0.9999999),
]


def in_any_order(rows: torch.Tensor) -> torch.Tensor:
    return torch.tensor(sorted(rows.tolist()))


@pytest.mark.parametrize("settings", SETTINGS)
def test_inside_keeps_what_outside_keeps(small: Detector, settings: DetectSettings) -> None:
    images = torch.randint(256, (3, 3, 40, 56), dtype=torch.uint8)
    with torch.no_grad():
        detections, boxes, scores = WithNMS(small, settings, select_boxes)(images / 255)
    outside = [torch.from_numpy(nms.suppress(rows, settings)) for rows in small.predict(images.numpy(), ALL)]
    torch.testing.assert_close((boxes, scores), tuple(small(images / 255)), rtol=0, atol=0)
    assert (sum(map(len, outside)) > 5) != (settings.conf > 0.9)
    for i, expected in enumerate(outside):
        found = detections[detections[:, 0] == i, 1:]
        torch.testing.assert_close(in_any_order(found), in_any_order(expected))
        torch.testing.assert_close(found[:, 4], expected[:, 4])  # best first
    assert detections[:, 0].tolist() == sorted(detections[:, 0].tolist())


def session_with(detections: list[list[float]], settings: DetectSettings) -> Session:
    names = {0: "a", 1: "b"}
    header = Header(regard_version="0", names=names, imgsz=8, max_stride=8, strides=(8,), graph="", nms=settings)
    return Session(header, lambda _images, _outputs: [np.array(detections, np.float32).reshape(-1, 7)])


def test_a_session_gives_detections_as_predictions() -> None:
    found = session_with(
        [[0, 2, 4, 12, 10, 0.75, 1], [2, 0, 0, 4, 2, 0.5, 0], [2, 1, 1, 3, 5, 0.25, 1]], DetectSettings()
    ).predict(np.zeros((4, 3, 8, 8), np.uint8), 0.1)
    assert [rows.tolist() for rows in found] == [
        [[7, 7, 10, 6, 0, 0.75]],
        [],
        [[2, 1, 4, 2, 0.5, 0], [2, 3, 2, 4, 0, 0.25]],
        [],
    ]
    assert found[1].shape == (0, 6)
    assert session_with([], DetectSettings()).predict(np.zeros((1, 3, 8, 8), np.uint8), 0.1)[0].shape == (0, 6)


@pytest.mark.parametrize("settings", SETTINGS)
def test_nms_again_changes_nothing(small: Detector, settings: DetectSettings) -> None:
    images = torch.randint(256, (2, 3, 40, 56), dtype=torch.uint8)
    with torch.no_grad():
        detections = WithNMS(small, settings, select_boxes)(images / 255)[0]
    header = Header(
        regard_version="0", names=small.names, imgsz=8, max_stride=8, strides=(4, 8), graph="", nms=settings
    )
    session = Session(header, lambda _images, _outputs: [detections.numpy()])
    again = [nms.suppress(rows, settings) for rows in session.predict(images.numpy(), settings.conf)]
    for i, found in enumerate(again):
        expected = detections[detections[:, 0] == i, 1:]
        torch.testing.assert_close(in_any_order(torch.from_numpy(found)), in_any_order(expected))


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_the_best_of_each_image(limit: int) -> None:
    image = torch.randint(0, 5, (23,))
    image[image == 3] = 1  # an image without any
    scores = torch.rand(23)
    order = best_of_each_image(image, scores, 5, limit)
    expected = []
    for i in range(5):
        own = [k for k in range(23) if image[k] == i]
        expected += sorted(own, key=lambda k: -float(scores[k]))[:limit]
    assert order.tolist() == expected
    assert best_of_each_image(image[:0], scores[:0], 2, limit).tolist() == []
