"""Detection heads: one file each, with its loss, and one row in this table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from regard.nn.heads.anchor_free import AnchorFreeHead, V10Head
from regard.nn.heads.asff import ASFFHead
from regard.nn.heads.base import ClassChannels, Head, LossContext, identity_reduce, total_loss
from regard.nn.heads.decoupled import DecoupledHead
from regard.nn.heads.yolov5 import YOLOv5Head

HEADS: Mapping[str, type[Head]] = MappingProxyType(
    {
        "AnchorFreeDetect": AnchorFreeHead,
        "ASFFDetect": ASFFHead,
        "DecoupledDetect": DecoupledHead,
        "Detect": YOLOv5Head,
        "v10Detect": V10Head,
    }
)
"""Name in a model graph -> class."""

__all__ = [
    "HEADS",
    "ASFFHead",
    "AnchorFreeHead",
    "ClassChannels",
    "DecoupledHead",
    "Head",
    "LossContext",
    "V10Head",
    "YOLOv5Head",
    "identity_reduce",
    "total_loss",
]
