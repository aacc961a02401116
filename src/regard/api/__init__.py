"""The public functions of `regard`: loading and editing detectors, training, evaluation, prediction and export."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.api.comparison import diff as diff  # noqa: I001 - several `as` in a line: they export a name
    from regard.api.models import (
        convert as convert,
        insert as insert,
        load as load,
        remove as remove,
        replace as replace,
        save as save,
    )
    from regard.api.runs import attend as attend, export as export, predict as predict, val as val, validate as validate
    from regard.api.training import resume as resume, train as train
    from regard.diagnosis import doctor as doctor
    from regard.profiling.report import cost as cost
    from regard.training.callbacks import Callback as Callback

PLACES = {
    "api.comparison": ("diff",),
    "api.models": ("convert", "insert", "load", "remove", "replace", "save"),
    "api.runs": ("attend", "export", "predict", "val", "validate"),
    "api.training": ("resume", "train"),
    "diagnosis": ("doctor",),
    "profiling.report": ("cost",),
    "training.callbacks": ("Callback",),
}
__all__ = [name for names in PLACES.values() for name in names]


def __getattr__(name: str) -> Any:
    """Import on first use: what training needs takes as long to import as torch."""
    place = next((place for place, names in PLACES.items() if name in names), None)
    if place is None:
        raise AttributeError(f"module 'regard.api' has no attribute {name!r}")
    return getattr(import_module(f"regard.{place}"), name)
