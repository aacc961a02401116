"""All settings and their defaults, in one place; options, signatures and documentation are generated from here."""

from __future__ import annotations

from regard.config.base import Option, Settings, checked, describe, flattened, part_of, require_positive
from regard.config.commands import (
    DEVICE,
    EVALUATE,
    IMGSZ,
    PREDICT,
    DetectSettings,
    ExportSettings,
    ModelSettings,
    PredictSettings,
    SaveSettings,
    Thresholds,
    TrainSettings,
    ValSettings,
    detect_settings,
)
from regard.config.hyp import find_recipe
from regard.config.recipe import (
    DEFAULT_RECIPE,
    SCRATCH_RECIPE,
    ULTRALYTICS_RECIPE,
    YOLOV5_RECIPE,
    AugmentSettings,
    LossSettings,
    OptimSettings,
    Recipe,
)

__all__ = [
    "DEFAULT_RECIPE",
    "DEVICE",
    "EVALUATE",
    "IMGSZ",
    "PREDICT",
    "SCRATCH_RECIPE",
    "ULTRALYTICS_RECIPE",
    "YOLOV5_RECIPE",
    "AugmentSettings",
    "DetectSettings",
    "ExportSettings",
    "LossSettings",
    "ModelSettings",
    "OptimSettings",
    "Option",
    "PredictSettings",
    "Recipe",
    "SaveSettings",
    "Settings",
    "Thresholds",
    "TrainSettings",
    "ValSettings",
    "checked",
    "describe",
    "detect_settings",
    "find_recipe",
    "flattened",
    "part_of",
    "require_positive",
]
