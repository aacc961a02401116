"""The public functions of `regard`: loading and editing detectors, training, evaluation, prediction and export."""

from __future__ import annotations

from regard.api.comparison import diff
from regard.api.models import convert, insert, load, remove, replace, save
from regard.api.runs import attend, export, predict, resume, train, val, validate
from regard.diagnosis import doctor
from regard.profiling.report import cost
from regard.training.callbacks import Callback

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
