"""Recognise the checkpoints that people have beside YOLOv5 detectors, to refuse them by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath

OTHER_CLASSES = (
    (r"models\.yolo\.SegmentationModel", "a YOLOv5 segmentation model"),
    (r"models\.yolo\.ClassificationModel", "a YOLOv5 classification model"),
    (r"models\.experimental\.Ensemble", "an ensemble of YOLOv5 models"),
    (r"ultralytics\..*RTDETR\w*", "an RT-DETR model of the `ultralytics` package"),
    (r"ultralytics\..*(SAM|Sam)\w*", "a SAM model of the `ultralytics` package"),
    (r"ultralytics\..*", "a model of the `ultralytics` package (yolov5nu, YOLOv8 or later)"),
    (r"torchvision\.models\..*", "a torchvision model"),
)
OTHER_HEADS = (
    (r"models\.yolo\.Segment", "a YOLOv5 segmentation model"),
    (r"models\.common\.Classify", "a YOLOv5 classification model"),
    (r"models\.yolo\.I(Detect|AuxDetect|Keypoint|Bin)", "a YOLOv7 model"),
)
OTHER_KEYS = (
    (r"model\.\d+\.(dfl|cv[234]\.\d+)\.", "the state dict of yolov5nu, YOLOv8 or later"),
    (r"model\.\d+\.proto\.", "the state dict of a segmentation model"),
    (r"model\.\d+\.linear\.", "the state dict of a classification model"),
    (r"model\.\d+\.(im|ia)\.\d+\.implicit", "the state dict of a YOLOv7 model"),
    (r"(.*\.)?(image_encoder|prompt_encoder|mask_decoder)\.", "the state dict of a SAM model"),
    (r"decoder\.(dec_score_head|dec_bbox_head|denoising_class_embed)\.", "the state dict of an RT-DETR model"),
)


def kind_of_model(dotted: str, yaml_file: object = None) -> str | None:
    """Say what a pickled model of class ``dotted`` is, if it is known to be no YOLOv5 detector.

    Args:
        dotted: the full class name.
        yaml_file: the file that the model says it was built from, which tells apart the models of one package.
    """
    kind = _first_match(OTHER_CLASSES, [dotted.removeprefix("yolov5.")])
    return f"{kind} built from {PurePath(yaml_file).name!r:.100}" if kind and isinstance(yaml_file, str) else kind


def kind_of_head(dotted: str) -> str | None:
    """Say what a model is whose last layer is of class ``dotted``, if it is known to be no YOLOv5 detector."""
    return _first_match(OTHER_HEADS, [dotted.removeprefix("yolov5.")])


def kind_of_keys(keys: Iterable[str]) -> str | None:
    """Say what a state dict is, if its keys show a known kind that is no YOLOv5 detector."""
    return _first_match(OTHER_KEYS, list(keys))


def _first_match(table: Iterable[tuple[str, str]], names: Sequence[str]) -> str | None:
    for pattern, kind in table:
        if any(re.match(pattern, name) for name in names):
            return kind
    return None
