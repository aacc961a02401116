"""The anchor-free heads of YOLOv8 to YOLO26: four distances and class scores for each cell, without objectness.

Distances are distributions over cells (GFL, 2006.04388) or, where ``reg_max`` is 1, numbers. Heads with ``end2end``
have a second branch of the same form that learns one prediction per object (YOLOv10, Wang et al., 2405.14458, section
3.1), which needs no suppression. State-dict keys are those of the published checkpoints.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.geometry.boxes import xyxy_to_cxcywh
from regard.nn.conv import Conv, DWConv
from regard.nn.heads.anchor_free_loss import (
    KEEP_ONE_TO_ONE,
    TOPK_ONE_TO_ONE,
    Branch,
    anchor_free_losses,
    boxes_in_cells,
    expected_distances,
    flatten_levels,
    make_grid,
)
from regard.nn.heads.base import ClassChannels, Head, LossContext
from regard.nn.raw_levels import DistanceDecoder, least_logit
from regard.types import Predictions, Targets

SIDES, LEAST_BOX_CHANNELS, MOST_CLASS_CHANNELS = 4, 16, 100
PRIOR_IMAGE, PRIOR_OBJECTS, PRIOR_DISTANCE = 640, 5, 2.0
FIRST_SHARE, LAST_SHARE = 0.8, 0.1
"""Share of the one-to-many branch in the loss, in the first and in the last epoch."""


class AnchorFreeHead(Head):
    """Two branches of convolutions per level: distances to the four sides of a box, and class scores.

    Args:
        in_channels: channels of each level.
        nc: classes.
        reg_max: bins of the distribution of each distance; 1 for the distance itself.
        end2end: whether there is a second branch, which predicts each object once.
        depthwise: whether the class branch is of depth-wise and 1x1 convolutions (YOLO11 and later).
        hidden_classes: channels inside the class branch; by the published rule where None.
        attention: what the levels pass first, behind a gate: "DyHead", or None.
        attention_options: its options.
        strides: input pixels per cell of each level.

    Attributes:
        one_to_one: which branch predicts: the second, without suppression, or the first.
    """

    losses: ClassVar[tuple[str, ...]] = ("box", "cls", "dfl")
    whole_pixels: ClassVar[bool] = True
    per_level: ClassVar[tuple[str, ...]] = ("cv2", "cv3", "one2one_cv2", "one2one_cv3")

    def __init__(
        self,
        in_channels: Sequence[int],
        nc: int,
        reg_max: int = 16,
        end2end: bool = False,
        depthwise: bool = False,
        hidden_classes: int | None = None,
        attention: str | None = None,
        attention_options: Mapping[str, Any] | None = None,
        *,
        strides: Sequence[int],
    ) -> None:
        super().__init__()
        if reg_max < 1:
            raise RegardError(f"reg_max is {reg_max}", expected="at least 1")
        self.nc, self.reg_max, self.strides = nc, reg_max, tuple(strides)
        hidden = max(LEAST_BOX_CHANNELS, in_channels[0] // 4, SIDES * reg_max)
        wide = hidden_classes or hidden_class_channels(in_channels, nc)
        self.cv2 = nn.ModuleList(_box_branch(c, hidden, SIDES * reg_max) for c in in_channels)
        self.cv3 = nn.ModuleList(_class_branch(c, wide, nc, depthwise) for c in in_channels)
        if reg_max > 1:
            self.dfl = Bins(reg_max)
        self._set_prior()
        if end2end:
            self.one2one_cv2, self.one2one_cv3 = copy.deepcopy(self.cv2), copy.deepcopy(self.cv3)
        self.attend_first(attention, attention_options, in_channels)

    @property
    def end2end(self) -> bool:
        """Whether there is a branch that predicts each object once."""
        return hasattr(self, "one2one_cv2")

    @torch.no_grad()
    def _set_prior(self) -> None:
        """Start from two cells to each side, and a few objects per image of every class."""
        for box, cls, stride in zip(self.cv2, self.cv3, self.strides, strict=True):
            box.get_parameter("2.bias").fill_(PRIOR_DISTANCE)
            cls.get_parameter("2.bias").fill_(math.log(PRIOR_OBJECTS / self.nc / (PRIOR_IMAGE / stride) ** 2))

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Per level (B, 4 * reg_max + nc, H, W); in training the levels of the second branch follow, if there is one.

        The second branch trains only itself: it reads the feature maps without gradient.
        """
        if not self.end2end:
            return _run(self.cv2, self.cv3, features)
        if self.training:
            detached = [x.detach() for x in features]
            second = _run(self.one2one_cv2, self.one2one_cv3, detached)
            return _run(self.cv2, self.cv3, features) + second
        if self.one_to_one:
            return _run(self.one2one_cv2, self.one2one_cv3, features)
        return _run(self.cv2, self.cv3, features)

    def decode(self, levels: Sequence[Tensor]) -> Predictions:
        """See `Head.decode`; of training outputs with two branches the one that predicts is decoded."""
        levels = self._branches(levels)[-1 if self.one_to_one else 0]
        bins, logits = flatten_levels(levels, self.nc)
        grid = make_grid(levels, self.strides)
        # With a size of one for the batch: OpenCV broadcasts only between equal numbers of dimensions.
        corners = boxes_in_cells(expected_distances(bins), grid.points[None]) * grid.strides[None]
        return Predictions(xyxy_to_cxcywh(corners), logits.sigmoid())

    def select(self, levels: Sequence[Tensor], conf: float) -> list[Tensor]:
        """See `Head.select`; only the cells are decoded of which some class scores high enough."""
        levels = self._branches(levels)[-1 if self.one_to_one else 0]
        images, rows = [], []
        for level, stride in zip(levels, self.strides, strict=True):
            image, y, x = (level[:, -self.nc :].float().amax(1) > least_logit(conf)).nonzero(as_tuple=True)
            own = level[image, :, y, x].float()
            points = torch.stack((x, y), 1).float() + 0.5
            corners = boxes_in_cells(expected_distances(own[:, : -self.nc]), points) * stride
            rows.append(torch.cat((xyxy_to_cxcywh(corners), own[:, -self.nc :].sigmoid()), 1))
            images.append(image)
        image, row = torch.cat(images), torch.cat(rows)
        likely = row[:, 4:].amax(1) > conf
        image, row = image[likely], row[likely]
        return [row[image == i] for i in range(len(levels[0]))]

    def raw_export(self) -> tuple[nn.Module, DistanceDecoder]:
        """See `Head.raw_export`: the levels (B, 4 * reg_max + nc, H, W) of the branch that predicts."""
        return self, DistanceDecoder(strides=self.strides, bins=self.reg_max)

    def criterion(self, levels: Sequence[Tensor], targets: Targets, context: LossContext) -> dict[str, Tensor]:
        """See `Head.criterion` and `anchor_free_losses`; with two branches the weighted sum of both."""
        raw = self._branches(levels)
        branches = [Branch(*flatten_levels(raw[0], self.nc))]
        shares = [1.0]
        if len(raw) > 1:
            branches.append(Branch(*flatten_levels(raw[1], self.nc), TOPK_ONE_TO_ONE, KEEP_ONE_TO_ONE))
            share = FIRST_SHARE - (FIRST_SHARE - LAST_SHARE) * min(context.progress, 1.0)
            shares = [share, 1 - share]
        found = anchor_free_losses(branches, make_grid(raw[0], self.strides), self.strides, targets, context)
        return {name: torch.stack([s * f[name] for s, f in zip(shares, found, strict=True)]).sum() for name in found[0]}

    def class_channels(self) -> Mapping[str, ClassChannels]:
        """The last convolution of each class branch; see `Head.class_channels`."""
        return {
            f"{branch}.{i}.2.{name}": ClassChannels()
            for branch in ("cv3", "one2one_cv3")[: 1 + self.end2end]
            for i in range(len(self.cv3))
            for name in ("weight", "bias")
        }

    def class_parameters(self) -> list[nn.Parameter]:
        """All of both class branches; see `Head.class_parameters`."""
        branches = [self.cv3, self.one2one_cv3] if self.end2end else [self.cv3]
        return [parameter for branch in branches for parameter in branch.parameters()]

    def kept_options(self, in_channels: Sequence[int], nc: int) -> dict[str, Any]:
        """The width of the class branch, where the rule for ``nc`` classes gives another; see `Head.kept_options`."""
        wide = self.cv3[0].get_parameter("2.weight").shape[1]
        return {} if wide == hidden_class_channels(in_channels, nc) else {"hidden_classes": wide}

    def _branches(self, levels: Sequence[Tensor]) -> list[Sequence[Tensor]]:
        n = len(self.strides)
        return [levels[i : i + n] for i in range(0, len(levels), n)]


class V10Head(AnchorFreeHead):
    """The head of YOLOv10: 16 bins, two branches, and depth-wise convolutions in the class branches.

    Args:
        in_channels: channels of each level.
        nc: classes.
        hidden_classes: channels inside the class branches; by the published rule where None.
        attention, attention_options: as for `AnchorFreeHead`.
        strides: input pixels per cell of each level.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        nc: int,
        hidden_classes: int | None = None,
        attention: str | None = None,
        attention_options: Mapping[str, Any] | None = None,
        *,
        strides: Sequence[int],
    ) -> None:
        super().__init__(in_channels, nc, 16, True, True, hidden_classes, attention, attention_options, strides=strides)


class Bins(nn.Module):
    """The number of cells that each bin of a distribution stands for, as the published checkpoints hold it.

    Args:
        count: number of bins.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(count, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data.copy_(torch.arange(count, dtype=torch.float32).view(1, count, 1, 1))


def hidden_class_channels(in_channels: Sequence[int], nc: int) -> int:
    """Channels inside the class branch by the published rule, of levels with ``in_channels``."""
    return max(in_channels[0], min(nc, MOST_CLASS_CHANNELS))


def _box_branch(channels: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(Conv(channels, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, out, 1))


def _class_branch(channels: int, wide: int, nc: int, depthwise: bool) -> nn.Sequential:
    if not depthwise:
        return nn.Sequential(Conv(channels, wide, 3), Conv(wide, wide, 3), nn.Conv2d(wide, nc, 1))
    return nn.Sequential(
        nn.Sequential(DWConv(channels, channels, 3), Conv(channels, wide)),
        nn.Sequential(DWConv(wide, wide, 3), Conv(wide, wide)),
        nn.Conv2d(wide, nc, 1),
    )


def _run(boxes: nn.ModuleList, classes: nn.ModuleList, features: Sequence[Tensor]) -> list[Tensor]:
    return [torch.cat((box(x), cls(x)), 1) for box, cls, x in zip(boxes, classes, features, strict=True)]
