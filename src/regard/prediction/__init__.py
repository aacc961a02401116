"""From pictures to detections, and from detections to files."""

from __future__ import annotations

from regard.prediction.detect import predict, predict_iter
from regard.prediction.save import save_detections
from regard.prediction.sources import Frame, Source, frames

__all__ = ["Frame", "Source", "frames", "predict", "predict_iter", "save_detections"]
