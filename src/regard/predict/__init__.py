"""From pictures to detections, and from detections to files."""

from __future__ import annotations

from regard.predict.detect import predict, predict_iter
from regard.predict.draw import draw
from regard.predict.save import save_detections
from regard.predict.sources import Frame, Source, frames

__all__ = ["Frame", "Source", "draw", "frames", "predict", "predict_iter", "save_detections"]
