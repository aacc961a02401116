"""Suppression inside the graph against suppression outside."""

from __future__ import annotations

import pytest
import torch

from regard.config import DetectSettings
from regard.exporting.suppression import SuppressedDetector, as_predictions, best_of_each_image, select_boxes
from regard.geometry import nms
from regard.graph.detector import Detector
from regard.types import Predictions

SETTINGS = [
    DetectSettings(),
    DetectSettings(conf=0.05, multi_label=True),
    DetectSettings(conf=0.05, iou=0.2, agnostic_nms=True, max_det=11),
    DetectSettings(conf=0.05, agnostic_nms=True, multi_label=True, classes=(0, 2)),
    DetectSettings(conf=0.1, classes=(1,), max_det=3),
    DetectSettings(conf=0.9999999),
]


def suppress(predictions: Predictions, settings: DetectSettings) -> list[torch.Tensor]:
    rows = torch.cat(predictions, dim=2).detach().numpy()
    return [torch.from_numpy(nms.suppress(own, settings)) for own in rows]


def in_any_order(rows: torch.Tensor) -> torch.Tensor:
    return torch.tensor(sorted(rows.tolist()))


@pytest.mark.parametrize("settings", SETTINGS)
def test_inside_keeps_what_outside_keeps(small: Detector, settings: DetectSettings) -> None:
    images = torch.rand(3, 3, 40, 56)
    with torch.no_grad():
        detections, *predictions = SuppressedDetector(small, settings, select_boxes)(images)
        outside = suppress(small(images), settings)
    assert all(map(torch.equal, predictions, small(images)))
    assert (sum(map(len, outside)) > 5) != (settings.conf > 0.9)
    for i, expected in enumerate(outside):
        found = detections[detections[:, 0] == i, 1:]
        torch.testing.assert_close(in_any_order(found), in_any_order(expected))
        torch.testing.assert_close(found[:, 4], expected[:, 4])  # best first
    assert detections[:, 0].tolist() == sorted(detections[:, 0].tolist())


@pytest.mark.parametrize("settings", SETTINGS)
def test_suppressing_again_changes_nothing(small: Detector, settings: DetectSettings) -> None:
    images = torch.rand(2, 3, 40, 56)
    with torch.no_grad():
        detections, *predictions = SuppressedDetector(small, settings, select_boxes)(images)
    again = suppress(as_predictions(detections, 2, small.nc), settings)
    for found, expected in zip(again, suppress(Predictions(*predictions), settings), strict=True):
        torch.testing.assert_close(in_any_order(found), in_any_order(expected))


def test_images_with_fewer_detections_are_filled_up_with_zeros() -> None:
    detections = torch.tensor([[0, 2, 4, 12, 10, 0.75, 1], [2, 0, 0, 4, 2, 0.5, 0], [2, 1, 1, 3, 5, 0.25, 1]])
    rows = torch.cat(as_predictions(detections, 4, nc=2), dim=2)
    assert rows.tolist() == [
        [[7, 7, 10, 6, 0, 0.75], [0] * 6],
        [[0] * 6, [0] * 6],
        [[2, 1, 4, 2, 0.5, 0], [2, 3, 2, 4, 0, 0.25]],
        [[0] * 6, [0] * 6],
    ]
    assert [x.shape for x in as_predictions(torch.zeros(0, 7), 2, nc=3)] == [(2, 0, 4), (2, 0, 3)]


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
