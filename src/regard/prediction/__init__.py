"""From images to detections, and from detections to files."""

from __future__ import annotations

from regard.prediction.detect import predict, predict_iter
from regard.prediction.films import Frame
from regard.prediction.save import save_detections
from regard.prediction.sources import Reading, Source, frames, holds_one_image

__all__ = ["Frame", "Reading", "Source", "frames", "holds_one_image", "predict", "predict_iter", "save_detections"]
