"""The anchor-based detection head, and its decoding as a function (YOLO9000 1612.08242, YOLOv4 2004.10934)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.types import Predictions

PRIOR_IMAGE, PRIOR_OBJECTS, PRIOR_CLASS = 640, 8, 0.6


def decode(raw: Sequence[Tensor], anchors: Tensor, strides: Sequence[int]) -> Predictions:
    """Turn raw head outputs into boxes in input pixels and class scores: objectness times class probability.

    With s = sigmoid(raw): centre = (2 s_xy - 0.5 + cell) * stride, size = (2 s_wh)^2 * anchor.
    Always in float32: in bfloat16 a box at 640 pixels is off by up to 35.

    Args:
        raw: per level (B, A, ny, nx, 5 + nc).
        anchors: (levels, A, 2), width and height in strides.
        strides: input pixels per cell of each level.

    Returns:
        Boxes and scores of all levels in order, each flattened as anchor, row, column.
    """
    boxes, scores = [], []
    for level, level_anchors, stride in zip(raw, anchors.float(), strides, strict=True):
        _, per_cell, rows, columns, _ = level.shape
        y = torch.arange(rows, device=level.device, dtype=torch.float32)
        x = torch.arange(columns, device=level.device, dtype=torch.float32)
        cell = torch.stack((x.expand(rows, columns), y.unsqueeze(1).expand(rows, columns)), -1)  # (ny, nx, 2)
        s = level.float().sigmoid()
        centre = (2 * s[..., :2] - 0.5 + cell) * stride
        size = (2 * s[..., 2:4]) ** 2 * (level_anchors * stride).view(1, per_cell, 1, 1, 2)
        boxes.append(torch.cat((centre, size), -1).flatten(1, 3))
        scores.append((s[..., 4:5] * s[..., 5:]).flatten(1, 3))
    return Predictions(torch.cat(boxes, 1), torch.cat(scores, 1))


def default_anchors(strides: Sequence[int], per_cell: int) -> list[list[float]]:
    """Return anchors to begin with where a graph states only their number: squares of 2 to 6 cells."""
    sides = [2 + 4 * i / max(per_cell - 1, 1) for i in range(per_cell)]
    return [[side * stride for side in sides for _ in "wh"] for stride in strides]


class Detect(nn.Module):
    """One 1x1 convolution a level, from features to (box, objectness, classes) for each anchor of each cell.

    Args:
        in_channels: channels of each level.
        nc: classes.
        anchors: per level, width and height of each anchor in input pixels, flat: (w, h, w, h, ...); or how many
            a level, to begin with ``default_anchors``.
        strides: input pixels per cell of each level.

    Raises:
        RegardError: not as many levels of anchors as of features.
    """

    multi_input: ClassVar[bool] = True
    anchors: Tensor

    def __init__(
        self, in_channels: Sequence[int], nc: int, anchors: Sequence[Sequence[float]] | int, *, strides: Sequence[int]
    ) -> None:
        super().__init__()
        if isinstance(anchors, int):
            anchors = default_anchors(strides, anchors)
        if len(anchors) != len(in_channels):
            raise RegardError(f"{len(anchors)} levels of anchors for {len(in_channels)} detection levels")
        self.nc = nc
        self.strides = tuple(strides)
        self.anchors_per_cell = len(anchors[0]) // 2
        pixels = torch.tensor(anchors, dtype=torch.float32).view(len(in_channels), self.anchors_per_cell, 2)
        self.register_buffer("anchors", pixels / torch.tensor(self.strides, dtype=torch.float32).view(-1, 1, 1))
        self.m = nn.ModuleList(nn.Conv2d(c, self.anchors_per_cell * (5 + nc), 1) for c in in_channels)
        self._set_prior()

    @torch.no_grad()
    def _set_prior(self) -> None:
        """Start from few objects an image and no favourite class, as focal loss does (1708.02002, section 3.3)."""
        for conv, stride in zip(self.m, self.strides, strict=True):
            bias = conv.get_parameter("bias").view(self.anchors_per_cell, -1)
            bias[:, 4] += math.log(PRIOR_OBJECTS / (PRIOR_IMAGE / stride) ** 2)
            bias[:, 5:] += math.log(PRIOR_CLASS / (self.nc - 1 + 1e-5))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C_i, ny, nx)] -> raw levels [(B, A, ny, nx, 5 + nc)]."""
        raw = []
        for conv, x in zip(self.m, maps, strict=True):
            y = conv(x)  # (B, A * (5 + nc), ny, nx), anchor-major
            y = y.unflatten(1, (self.anchors_per_cell, 5 + self.nc))
            raw.append(y.permute(0, 1, 3, 4, 2).contiguous())
        return raw
