"""The head of YOLOv5 behind adaptively spatial feature fusion (1911.09516) of its levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from regard.nn.asff import ASFF
from regard.nn.heads.yolov5 import YOLOv5Head


class ASFFHead(YOLOv5Head):
    """A detection head whose every level is first fused with all others; its arguments are those of `YOLOv5Head`."""

    def __init__(
        self,
        in_channels: Sequence[int],
        nc: int,
        anchors: Sequence[Sequence[float]] | int,
        attention: str | None = None,
        attention_options: Mapping[str, Any] | None = None,
        *,
        strides: Sequence[int],
    ) -> None:
        super().__init__(in_channels, nc, anchors, attention, attention_options, strides=strides)
        self.fuse = nn.ModuleList(ASFF(in_channels, level, strides=strides) for level in range(len(in_channels)))

    def outputs(self, features: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C_i, ny, nx)] -> [(B, A * (5 + nc), ny, nx)]."""
        return super().outputs([fuse(features) for fuse in self.fuse])
