"""From a detector to a file for other runtimes, measured against PyTorch, and back to something that predicts."""

from __future__ import annotations

from regard.exporting.compare import Deviation
from regard.exporting.export import ExportReport, export_detector
from regard.exporting.header import Format, is_exported
from regard.exporting.runtime import ExportedDetector, load_exported, warn_of_suppression

__all__ = [
    "Deviation",
    "ExportReport",
    "ExportedDetector",
    "Format",
    "export_detector",
    "is_exported",
    "load_exported",
    "warn_of_suppression",
]
