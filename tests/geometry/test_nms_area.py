"""Boxes without area are no detections."""

from __future__ import annotations

import numpy as np
import pytest

from regard.config import DetectSettings
from regard.geometry.nms import suppress


@pytest.mark.parametrize("size", [(-3.0, 5.0), (5.0, 0.0), (-2.0, -2.0)])
def test_boxes_without_area_are_dropped(size: tuple[float, float]) -> None:
    rows = np.array([[50, 50, 20, 20, 0.5], [50, 50, *size, 0.9]], np.float32)
    assert suppress(rows, DetectSettings(conf=0.25, iou=0.45))[:, 4].tolist() == [0.5]
