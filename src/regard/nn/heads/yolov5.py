"""The anchor-based head of YOLOv5: box, objectness and classes for each anchor of each cell.

Sources: YOLO9000 (1612.08242) for anchors, YOLOv4 (2004.10934) for the range of the decoded centre.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.config import LossSettings
from regard.errors import RegardError
from regard.nn.heads.anchors import check_anchors
from regard.nn.heads.base import ClassChannels, Head, LossContext
from regard.nn.heads.yolov5_loss import yolov5_loss
from regard.nn.raw_levels import OTHERS, RawDecoder, centre_and_size, class_scores, least_logit
from regard.types import Predictions, Targets

VECTOR = 64
"""Upper bound of the number of float32 values in one vector instruction of a processor."""

PRIOR_IMAGE, PRIOR_OBJECTS, PRIOR_CLASS = 640, 8, 0.6


def anchors_per_cell(anchors: Sequence[Sequence[float]] | int) -> int:
    """Number of anchors of each cell, from a graph's ``anchors``: sizes per level, or that number."""
    return anchors if isinstance(anchors, int) else len(anchors[0]) // 2


def output_channels(nc: int, anchors: Sequence[Sequence[float]] | int) -> int:
    """Number of channels that the head computes per level.

    Example:
        >>> output_channels(80, 3)
        255
    """
    return anchors_per_cell(anchors) * (OTHERS + nc)


def number_of_classes(channels: int, anchors: Sequence[Sequence[float]] | int) -> int:
    """Number of classes of a head that computes ``channels`` per level; the inverse of ``output_channels``."""
    return channels // anchors_per_cell(anchors) - OTHERS


def default_anchors(strides: Sequence[int], per_cell: int) -> list[list[float]]:
    """Compute initial anchors for a graph that states only their number: squares of 2 to 6 cells."""
    sides = [2 + 4 * i / max(per_cell - 1, 1) for i in range(per_cell)]
    return [[side * stride for side in sides for _ in "wh"] for stride in strides]


class YOLOv5Head(Head):
    """One 1x1 convolution per level, from features to (box, objectness, classes) for each anchor of each cell.

    The score of a class is objectness times class probability.

    Args:
        in_channels: channels of each level.
        nc: classes.
        anchors: per level, width and height of each anchor in input pixels, flat: (w, h, w, h, ...); or their number
            per level, to start from ``default_anchors``.
        attention: what the levels pass first, behind a gate: "DyHead", or None.
        attention_options: its options.
        strides: input pixels per cell of each level.

    Attributes:
        anchors: (levels, A, 2), width and height in strides.

    Raises:
        RegardError: the numbers of levels of anchors and of features differ.
    """

    losses: ClassVar[tuple[str, ...]] = ("box", "obj", "cls")
    kept_with_other_classes: ClassVar[str] = "boxes and objectness"
    anchors: Tensor

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
        super().__init__()
        if isinstance(anchors, int):
            anchors = default_anchors(strides, anchors)
        if len(anchors) != len(in_channels):
            raise RegardError(f"{len(anchors)} levels of anchors for {len(in_channels)} detection levels")
        self.nc = nc
        self.strides = tuple(strides)
        self.anchors_per_cell = anchors_per_cell(anchors)
        pixels = torch.tensor(anchors, dtype=torch.float32).view(len(in_channels), self.anchors_per_cell, 2)
        self.register_buffer("anchors", pixels / torch.tensor(self.strides, dtype=torch.float32).view(-1, 1, 1))
        self.m = nn.ModuleList(self.level(c) for c in in_channels)
        self._set_prior()
        self.attend_first(attention, attention_options, in_channels)

    def level(self, channels: int) -> nn.Module:
        """Build what computes the outputs of a level of so many channels; variants of the head replace this."""
        return nn.Conv2d(channels, self.anchors_per_cell * (OTHERS + self.nc), 1)

    @torch.no_grad()
    def _set_prior(self) -> None:
        """Start from few objects per image and no favourite class, as focal loss does (1708.02002, section 3.3)."""
        for conv, stride in zip(self.m, self.strides, strict=True):
            bias = conv.get_parameter("bias").view(self.anchors_per_cell, -1)
            bias[:, 4] += math.log(PRIOR_OBJECTS / (PRIOR_IMAGE / stride) ** 2)
            bias[:, OTHERS:] += math.log(PRIOR_CLASS / (self.nc - 1 + 1e-5))

    def outputs(self, features: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C_i, ny, nx)] -> [(B, A * (OTHERS + nc), ny, nx)], the channels anchor-major."""
        return [conv(x) for conv, x in zip(self.m, features, strict=True)]

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C_i, ny, nx)] -> raw levels [(B, A, ny, nx, OTHERS + nc)]."""
        split = (self.anchors_per_cell, OTHERS + self.nc)
        return [torch.unflatten(y, 1, split).permute(0, 1, 3, 4, 2).contiguous() for y in self.outputs(features)]

    def decode(self, levels: Sequence[Tensor]) -> Predictions:
        """Turn raw outputs into boxes in input pixels and class scores.

        See `regard.nn.raw_levels`. Always in float32: in bfloat16 a box at 640 pixels is off by up to 35.

        Args:
            levels: per level (B, A, ny, nx, OTHERS + nc).

        Returns:
            Boxes and scores of the levels in order, each flattened as anchor, row, column.
        """
        boxes, scores = [], []
        for level, level_anchors, stride in zip(levels, self.anchors.float(), self.strides, strict=True):
            _, per_cell, rows, columns, _ = level.shape
            y = torch.arange(rows, device=level.device, dtype=torch.float32)
            x = torch.arange(columns, device=level.device, dtype=torch.float32)
            cell = torch.stack((x.expand(rows, columns), y.unsqueeze(1).expand(rows, columns)), -1)  # (ny, nx, 2)
            s = level.float().sigmoid()
            level_boxes = _boxes(s, cell, (level_anchors * stride).view(1, per_cell, 1, 1, 2), stride)
            boxes.append(level_boxes.flatten(1, 3))
            scores.append(class_scores(s).flatten(1, 3))
        return Predictions(torch.cat(boxes, 1), torch.cat(scores, 1))

    def select(self, levels: Sequence[Tensor], conf: float) -> list[Tensor]:
        """See `Head.select`. No class scores above objectness, so only cells of sufficient objectness are decoded."""
        least = least_logit(conf)
        images, rows = [], []
        for level, level_anchors, stride in zip(levels, self.anchors.float(), self.strides, strict=True):
            image, anchor, y, x = (level[..., 4].float() > least).nonzero(as_tuple=True)
            s = _sigmoid(level[image, anchor, y, x].float())
            cell = torch.stack((x, y), -1).float()
            rows.append(torch.cat((_boxes(s, cell, (level_anchors * stride)[anchor], stride), class_scores(s)), 1))
            images.append(image)
        image, row = torch.cat(images), torch.cat(rows)
        likely = row[:, 4:].amax(1) > conf
        image, row = image[likely], row[likely]
        return [row[image == i] for i in range(len(levels[0]))]

    def criterion(self, levels: Sequence[Tensor], targets: Targets, context: LossContext) -> dict[str, Tensor]:
        """See `Head.criterion` and `regard.nn.heads.yolov5_loss.yolov5_loss`."""
        return yolov5_loss(levels, targets, self.anchors, self.strides, context)

    def fit_to(self, sizes: NDArray[np.float64], *, settings: LossSettings, seed: int) -> str:
        """Fit the anchors to the boxes if the present ones match too few of them; see `Head.fit_to`."""
        strides = torch.tensor(self.strides, dtype=torch.float32).view(-1, 1, 1)
        pixels = (self.anchors.cpu() * strides).double().numpy()
        check = check_anchors(sizes, pixels, threshold=settings.anchor_threshold, seed=seed)
        if check.refitted:
            order = np.argsort(np.argsort(self.strides))  # fitted ones are for the finest level first
            self.anchors.copy_(torch.from_numpy(check.anchors[order]).float() / strides)
        return f"anchors: best possible recall {check.recall:.3f}" + (", refitted" * check.refitted)

    def class_channels(self) -> Mapping[str, ClassChannels]:
        """The classes follow box and objectness for each anchor; see `Head.class_channels`."""
        channels = ClassChannels(self.anchors_per_cell, OTHERS)
        return {f"m.{i}.{name}": channels for i in range(len(self.m)) for name in ("weight", "bias")}

    def graph_values(self) -> dict[str, Any]:
        """The anchors in input pixels, or their number where they are those to start from."""
        pixels = self._pixels(self.anchors)
        initial = default_anchors(self.strides, self.anchors_per_cell)
        is_initial = pixels == tuple(tuple(round(x, 4) for x in level) for level in initial)
        return {"anchors": self.anchors_per_cell if is_initial else pixels}

    def prefers_own(self, key: str, source: Tensor) -> bool:
        """Anchors that the graph states precede those of another detector."""
        is_alike = key == "anchors" and len(source) == len(self.strides)
        return is_alike and self.object_sizes() not in (None, self._pixels(source))

    def object_sizes(self) -> tuple[tuple[float, ...], ...] | None:
        """The anchors in input pixels, unless only their number was stated."""
        anchors = self.graph_values()["anchors"]
        return None if isinstance(anchors, int) else anchors

    def _pixels(self, anchors: Tensor) -> tuple[tuple[float, ...], ...]:
        levels = [(a.float() * s).flatten().tolist() for a, s in zip(anchors, self.strides, strict=True)]
        return tuple(tuple(round(x, 4) for x in level) for level in levels)

    def raw_export(self) -> tuple[nn.Module, RawDecoder]:
        """See `Head.raw_export`; its levels (B, A * (OTHERS + nc), ny, nx) are read where objectness is sufficient."""
        anchors = tuple(tuple((w, h) for w, h in level) for level in self.anchors.float().tolist())
        return _Outputs(self), RawDecoder(strides=self.strides, anchors=anchors)


def _boxes(s: Tensor, cell: Tensor, anchor_wh: Tensor, stride: int) -> Tensor:
    """Boxes (..., 4) in input pixels from sigmoids (..., OTHERS + nc), cells (..., 2) and anchors in pixels."""
    centre, size = centre_and_size(s, anchor_wh)
    return torch.cat(((centre + cell) * stride, size), -1)


def _sigmoid(rows: Tensor) -> Tensor:
    """Sigmoid of (n, c) rows, to the last bit as within a whole level.

    On processors the last numbers of a tensor are computed without vector instructions, which round differently.
    """
    padding = rows.new_zeros(math.ceil(VECTOR / rows.shape[1]), rows.shape[1])
    return torch.cat((rows, padding)).sigmoid()[: len(rows)]


class _Outputs(nn.Module):
    """The outputs of a head before they are rearranged: [(B, C_i, ny, nx)] -> [(B, A * (OTHERS + nc), ny, nx)]."""

    multi_input: ClassVar[bool] = True

    def __init__(self, head: YOLOv5Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return self.head.outputs(self.head.attended(maps))
