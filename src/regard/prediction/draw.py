"""Detections on a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regard.data.draw import draw_boxes
from regard.data.palette import class_colour
from regard.types import Detections


def draw(image: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
    """Return a copy of an (H, W, 3) uint8 RGB picture with boxes, class names and scores in the classes' colours."""
    class_ids = detections.class_ids.tolist()
    rows = zip(class_ids, detections.scores.tolist(), strict=True)
    captions = [f"{detections.names[class_id]} {score:.2f}" for class_id, score in rows]
    return draw_boxes(image, detections.boxes_xyxy, captions, [class_colour(class_id) for class_id in class_ids])
