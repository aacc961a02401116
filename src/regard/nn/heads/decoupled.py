"""The decoupled head of YOLOX (Ge et al., 2107.08430, section 2.1, figure 2) with the anchors and loss of YOLOv5.

A 1 x 1 convolution brings a level to fewer channels, which pass two branches of two 3 x 3 convolutions each: one ends
in the classes, the other in box and objectness. YOLOX has no anchors; here each 1 x 1 output has those of every anchor
of a cell, as in model files that call this head Decoupled_Detect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.conv import Conv
from regard.nn.heads.base import ClassChannels
from regard.nn.heads.yolov5 import PRIOR_CLASS, PRIOR_IMAGE, PRIOR_OBJECTS, YOLOv5Head


class Branches(nn.Module):
    """Both branches of one level.

    Args:
        in_channels: channels of the level.
        hidden: channels of the convolutions.
        anchors: anchors per cell.
        nc: classes.
    """

    def __init__(self, in_channels: int, hidden: int, anchors: int, nc: int) -> None:
        super().__init__()
        self.anchors = anchors
        self.stem = Conv(in_channels, hidden)
        self.cls_conv = nn.Sequential(Conv(hidden, hidden, 3), Conv(hidden, hidden, 3))
        self.reg_conv = nn.Sequential(Conv(hidden, hidden, 3), Conv(hidden, hidden, 3))
        self.cls = nn.Conv2d(hidden, anchors * nc, 1)
        self.box = nn.Conv2d(hidden, anchors * 4, 1)
        self.obj = nn.Conv2d(hidden, anchors, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ny, nx) -> (B, A * (5 + nc), ny, nx): box, objectness and classes of each anchor in turn."""
        x = self.stem(x)
        reg = self.reg_conv(x)
        parts = (self.box(reg), self.obj(reg), self.cls(self.cls_conv(x)))
        return torch.cat([part.unflatten(1, (self.anchors, -1)) for part in parts], 2).flatten(1, 2)


class DecoupledHead(YOLOv5Head):
    """A detection head with separate branches for classes and boxes.

    Args:
        in_channels: channels of each level.
        nc: classes.
        anchors: as for `YOLOv5Head`.
        hidden: channels of the branches; by default the fewest of a level, which for models of YOLOX's widths are its
            256 times the width.
        attention, attention_options: as for `YOLOv5Head`.
        strides: input pixels per cell of each level.

    Raises:
        RegardError: the numbers of levels differ, or ``hidden`` is not positive.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        nc: int,
        anchors: Sequence[Sequence[float]] | int,
        hidden: int | None = None,
        attention: str | None = None,
        attention_options: Mapping[str, Any] | None = None,
        *,
        strides: Sequence[int],
    ) -> None:
        self._hidden = min(in_channels) if hidden is None else hidden
        if self._hidden < 1:
            raise RegardError(f"DecoupledDetect: hidden is {hidden}", expected="a positive number of channels")
        super().__init__(in_channels, nc, anchors, attention, attention_options, strides=strides)

    def level(self, channels: int) -> nn.Module:
        """Build both branches of a level of so many channels."""
        return Branches(channels, self._hidden, self.anchors_per_cell, self.nc)

    @torch.no_grad()
    def _set_prior(self) -> None:
        """Start from few objects per image and no favourite class, as `YOLOv5Head` does."""
        for branches, stride in zip(self.m, self.strides, strict=True):
            assert isinstance(branches, Branches)
            branches.obj.get_parameter("bias").add_(math.log(PRIOR_OBJECTS / (PRIOR_IMAGE / stride) ** 2))
            branches.cls.get_parameter("bias").add_(math.log(PRIOR_CLASS / (self.nc - 1 + 1e-5)))

    def class_channels(self) -> Mapping[str, ClassChannels]:
        """The outputs of the class branch are the classes of each anchor; see `Head.class_channels`."""
        channels = ClassChannels(self.anchors_per_cell)
        return {f"m.{i}.cls.{name}": channels for i in range(len(self.m)) for name in ("weight", "bias")}
