"""Adapters for other packages: SAHI slices a large image, this package detects in each slice, and SAHI merges them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from regard import api
from regard.config import IMGSZ, PREDICT
from regard.detections import Detections
from regard.errors import RegardError
from regard.runtimes.choose import open_predictor
from regard.runtimes.table import runtime_to_open
from regard.types import Predictor


def sahi_model(
    model: Predictor | str | Path, *, conf: float = PREDICT.conf, imgsz: int = IMGSZ, **settings: Any
) -> Any:
    """Make a ``sahi.models.base.DetectionModel`` of a detector, for ``sahi.predict.get_sliced_prediction``.

    Args:
        model: a detector, or what `regard.predict` takes.
        conf: least score of a detection.
        imgsz: size in pixels to which the long side of each slice is scaled.
        settings: other settings of `regard.predict`.

    Raises:
        RegardError: the package ``sahi`` is not installed.
    """
    if find_spec("sahi") is None:
        raise RegardError("sahi_model needs the package sahi", hint="pip install sahi")
    from sahi.models.base import DetectionModel
    from sahi.prediction import ObjectPrediction

    predictor = _opened(model)

    class RegardModel(DetectionModel):  # type: ignore[misc]
        """A detector for SAHI, whose images are RGB."""

        def load_model(self) -> None:
            self.model = predictor

        def perform_inference(self, image: np.ndarray) -> None:
            found: Any = api.predict(predictor, np.ascontiguousarray(image), conf=conf, imgsz=imgsz, **settings)
            self._original_predictions = found

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            shift, shape = _first(shift_amount_list) or [0, 0], _first(full_shape_list)
            found: Detections = self._original_predictions
            self._object_prediction_list_per_image = [
                [ObjectPrediction(**row, shift_amount=shift, full_shape=shape) for row in _rows(found)]
            ]

    return RegardModel(confidence_threshold=conf, image_size=imgsz, device="cpu")


def _opened(model: Predictor | str | Path) -> Predictor:
    """Open a file once, not for every slice."""
    if not isinstance(model, str | Path):
        return model
    return open_predictor(model) if runtime_to_open(Path(model)) else api.load(model)


def _rows(found: Detections) -> Iterator[dict[str, Any]]:
    """Detections as the arguments that SAHI has for them."""
    for box, score, class_id in zip(
        found.boxes_xyxy.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True
    ):
        name = found.names.get(class_id, str(class_id))
        yield {"bbox": box, "score": score, "category_id": class_id, "category_name": name}


def from_sahi(result: Any, names: Mapping[int, str], source: str = "") -> Detections:
    """Convert a ``sahi.prediction.PredictionResult``, best score first.

    Args:
        result: what ``get_sliced_prediction`` returns.
        names: class names, index to name.
        source: of the image.
    """
    found = sorted(result.object_prediction_list, key=lambda one: -one.score.value)
    boxes = np.array([one.bbox.to_xyxy() for one in found], np.float32).reshape(-1, 4)
    scores, ids = [one.score.value for one in found], [one.category.id for one in found]
    size = (result.image_height, result.image_width)
    return Detections(boxes, np.array(scores, np.float32), np.array(ids, np.int64), names, size, source)


def _first(values: Any) -> Any:
    """Take the entry of the only image of a list, or the value that SAHI gives instead of a list of one."""
    return values[0] if values and isinstance(values[0], list | tuple) else values
