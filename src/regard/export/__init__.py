"""From a detector to a file for other runtimes, measured against PyTorch, and back to something that predicts."""

from __future__ import annotations

from regard.export.compare import Deviation
from regard.export.export import ExportReport, export_detector
from regard.export.header import Format, is_exported
from regard.export.runtime import ExportedDetector, load_exported

__all__ = ["Deviation", "ExportReport", "ExportedDetector", "Format", "export_detector", "is_exported", "load_exported"]
