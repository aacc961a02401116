"""Find a recipe by name, or read one from a YOLOv5 ``hyp.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from regard.config.faults import first_fault
from regard.config.recipe import (
    DEFAULT_RECIPE,
    SCRATCH_RECIPE,
    ULTRALYTICS_RECIPE,
    YOLOV5_RECIPE,
    AugmentSettings,
    Recipe,
)
from regard.errors import RegardDeprecationWarning, RegardError, nearest, warn
from regard.system.files import is_file, reject_special
from regard.system.loaders import read_yaml

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {r.name: r for r in (DEFAULT_RECIPE, SCRATCH_RECIPE, YOLOV5_RECIPE, ULTRALYTICS_RECIPE)}
)

HYP_KEYS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "lr0": ("optim", "lr"),
        "lrf": ("optim", "final_lr_fraction"),
        "momentum": ("optim", "momentum"),
        "weight_decay": ("optim", "weight_decay"),
        "warmup_epochs": ("optim", "warmup_epochs"),
        "warmup_momentum": ("optim", "warmup_momentum"),
        "warmup_bias_lr": ("optim", "warmup_bias_lr"),
        "box": ("loss", "box"),
        "cls": ("loss", "cls"),
        "cls_pw": ("loss", "cls_positive_weight"),
        "obj": ("loss", "obj"),
        "obj_pw": ("loss", "obj_positive_weight"),
        "anchor_t": ("loss", "anchor_threshold"),
        "label_smoothing": ("loss", "label_smoothing"),
        "hsv_h": ("augment", "hsv_h"),
        "hsv_s": ("augment", "hsv_s"),
        "hsv_v": ("augment", "hsv_v"),
        "degrees": ("augment", "degrees"),
        "translate": ("augment", "translate"),
        "scale": ("augment", "scale"),
        "shear": ("augment", "shear"),
        "perspective": ("augment", "perspective"),
        "flipud": ("augment", "flipud"),
        "fliplr": ("augment", "fliplr"),
        "mosaic": ("augment", "mosaic"),
        "mixup": ("augment", "mixup"),
    }
)
WITHOUT_EFFECT = ("iou_t", "anchors")
"""Keys of YOLOv5's files that its own training ignores for a model with anchors."""
UNSUPPORTED = ("fl_gamma", "copy_paste")


def find_recipe(source: str | Path) -> Recipe:
    """Look up a built-in recipe by name, or read a YOLOv5 ``hyp.yaml``.

    Example:
        >>> find_recipe("yolov5").optim.optimizer
        'sgd'

    Raises:
        RegardError: no such recipe or file; or the file has an unknown key or a value that is out of range.
    """
    if str(source) in RECIPES:
        return RECIPES[str(source)]
    path = Path(source)
    if not is_file(path):
        reject_special(path)
        raise RegardError(
            f"there is no recipe {str(source)!r}",
            expected="a hyp.yaml file, or one of " + ", ".join(RECIPES),
            hint=nearest(source, RECIPES),
        )
    return _read_hyp(path)


def _read_hyp(path: Path) -> Recipe:
    document, lines = _mapping(path)
    values: dict[str, dict[str, Any]] = {name: getattr(YOLOV5_RECIPE, name).model_dump() for name in _GROUPS}
    for key, value in document.items():
        if key in AugmentSettings.renamed:
            new = AugmentSettings.renamed[key]
            if new in document:
                raise RegardError(f"{key!r} and {new!r} are the same", file=path, line=lines.get(key))
            warn(f"{path}: {key} is now called {new}", RegardDeprecationWarning)
            values["augment"][new] = value
        elif key in HYP_KEYS:
            group, name = HYP_KEYS[key]
            values[group][name] = value
        elif key in UNSUPPORTED:
            if value:
                warn(f"{path}: {key}: {value} is not supported and is ignored")
        elif key not in WITHOUT_EFFECT:
            what = f"unknown hyper-parameter {key!r}"
            raise RegardError(what, file=path, line=lines.get(str(key)), hint=nearest(key, HYP_KEYS))
    try:
        return Recipe.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        fault = first_fault(error)
        key = next(key for key, place in HYP_KEYS.items() if place == fault.place[:2])
        what = f"{key} {fault.found}"
        raise RegardError(what, file=path, line=lines.get(key), expected=fault.expected, hint=fault.hint) from error


def _mapping(path: Path) -> tuple[dict[Any, Any], dict[str, int]]:
    """Read a YAML mapping together with the line number of each key."""
    document, lines = read_yaml(path)
    if not isinstance(document, dict):
        raise RegardError("not a hyp.yaml", file=path, expected="a mapping of hyper-parameters")
    return document, {key: line for (key, item), line in lines.items() if item == -1}


_GROUPS = ("augment", "loss", "optim")
