"""The public functions of `regard`: loading and editing detectors, training, evaluation, prediction and export."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.api.comparison import diff
    from regard.api.models import convert, insert, load, remove, replace, save
    from regard.api.runs import attend, export, predict, val, validate
    from regard.api.training import resume, train
    from regard.diagnosis import doctor
    from regard.profiling.report import cost
    from regard.training.callbacks import Callback

PLACES = {
    "api.comparison": ("diff",),
    "api.models": ("convert", "insert", "load", "remove", "replace", "save"),
    "api.runs": ("attend", "export", "predict", "val", "validate"),
    "api.training": ("resume", "train"),
    "diagnosis": ("doctor",),
    "profiling.report": ("cost",),
    "training.callbacks": ("Callback",),
}
__all__ = [
    "Callback",
    "attend",
    "convert",
    "cost",
    "diff",
    "doctor",
    "export",
    "insert",
    "load",
    "predict",
    "remove",
    "replace",
    "resume",
    "save",
    "train",
    "val",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Import on first use: what training needs takes as long to import as torch."""
    place = next((place for place, names in PLACES.items() if name in names), None)
    if place is None:
        raise AttributeError(f"module 'regard.api' has no attribute {name!r}")
    return getattr(import_module(f"regard.{place}"), name)
