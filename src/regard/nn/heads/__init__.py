"""Detection heads: one file each, with its loss, and one row in this table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from regard.nn.heads.base import ClassChannels, Head, LossContext, identity_reduce, total_loss
from regard.nn.heads.yolov5 import YOLOv5Head

HEADS: Mapping[str, type[Head]] = MappingProxyType({"Detect": YOLOv5Head})
"""Name in a model graph -> class."""

__all__ = ["HEADS", "ClassChannels", "Head", "LossContext", "YOLOv5Head", "identity_reduce", "total_loss"]
