"""Attention anywhere in a YOLO detector by name, and ablation studies that show whether it improves AP."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard import nn
    from regard.api import (
        Callback,
        attend,
        convert,
        cost,
        diff,
        doctor,
        export,
        insert,
        load,
        predict,
        remove,
        replace,
        resume,
        save,
        train,
        val,
        validate,
    )
    from regard.detections import Detections
    from regard.errors import RegardError, RegardWarning
    from regard.publish import push_to_hub
    from regard.studio.notebook import studio

# OpenCV reads these when it is loaded: the largest image that it decodes, in pixels (a file of 600 bytes may claim any
# size), and silence about what is wrong with a video, for which there are errors of our own.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # it prints the names of files as they are

__version__ = "0.1.0"
__all__ = [
    "Callback",
    "Detections",
    "RegardError",
    "RegardWarning",
    "attend",
    "convert",
    "cost",
    "diff",
    "doctor",
    "export",
    "insert",
    "load",
    "nn",
    "predict",
    "push_to_hub",
    "remove",
    "replace",
    "resume",
    "save",
    "studio",
    "train",
    "val",
    "validate",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``regard --help`` need not wait for torch; a module is not left half imported."""
    from regard.system.interrupts import interrupts_deferred

    with interrupts_deferred():
        return _first_use(name)


def _first_use(name: str) -> Any:
    if name == "studio":
        return import_module("regard.studio")  # a package that can be called
    if name == "nn":
        import_module("regard.nn.attention")  # so that regard.nn.attention.ATTENTION is there
        return import_module("regard.nn")
    if name in __all__:
        rooms = {
            "Detections": "detections",
            "RegardError": "errors",
            "RegardWarning": "errors",
            "push_to_hub": "publish",
        }
        room = rooms.get(name, "api")
        return getattr(import_module(f"regard.{room}"), name)
    raise AttributeError(f"module 'regard' has no attribute {name!r}")
