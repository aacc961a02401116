"""An anchor-free head in one file, as a user would write it: the centre cell of a box predicts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.geometry.iou import ciou
from regard.nn.heads import ClassChannels, Head, LossContext
from regard.types import Predictions, Targets

LARGEST = 6.0
"""Largest logarithm of a side in cells, so that untrained weights cannot overflow."""


class CentreHead(Head):
    """Per level four numbers for the box and one per class in each cell (after CenterNet, arXiv:1904.07850)."""

    losses: ClassVar[tuple[str, ...]] = ("iou", "focal")

    def __init__(self, in_channels: Sequence[int], nc: int, *, strides: Sequence[int]) -> None:
        super().__init__()
        self.nc, self.strides = nc, tuple(strides)
        self.box = nn.ModuleList(nn.Conv2d(c, 4, 1) for c in in_channels)
        self.cls = nn.ModuleList(nn.Conv2d(c, nc, 1) for c in in_channels)
        for conv in self.cls:
            nn.init.constant_(conv.get_parameter("bias"), -3.0)

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [
            torch.cat((box(x), cls(x)), 1) for box, cls, x in zip(self.box, self.cls, features, strict=True)
        ]  # (B, 4 + nc, ny, nx)

    def decode(self, levels: Sequence[Tensor]) -> Predictions:
        boxes, scores = [], []
        for level, stride in zip(levels, self.strides, strict=True):
            ny, nx = level.shape[2:]
            y, x = torch.arange(ny, device=level.device), torch.arange(nx, device=level.device)
            cell = torch.stack((x.expand(ny, nx), y[:, None].expand(ny, nx)), -1)
            flat = level.float().permute(0, 2, 3, 1)
            boxes.append(torch.cat(((flat[..., :2].sigmoid() + cell), _sides(flat)), -1).flatten(1, 2) * stride)
            scores.append(flat[..., 4:].sigmoid().flatten(1, 2))
        return Predictions(torch.cat(boxes, 1), torch.cat(scores, 1))

    def criterion(self, levels: Sequence[Tensor], targets: Targets, context: LossContext) -> dict[str, Tensor]:
        strides = targets.boxes_cxcywh.new_tensor(self.strides)
        sides = (targets.boxes_cxcywh[:, 2:].prod(1) ** 0.5 * context.image_size)[:, None]
        level_of = (sides / (3 * strides)).log().abs().argmin(1)
        count = context.sum_over_processes(torch.tensor([1, len(targets)], device=levels[0].device))
        iou, focal = levels[0].new_zeros(()), levels[0].new_zeros(())
        for i, level in enumerate(levels):
            own = level_of == i
            image, class_ids = targets.image_index[own], targets.class_ids[own]
            ny, nx = level.shape[2:]
            wanted = targets.boxes_cxcywh[own] * strides.new_tensor((nx, ny, nx, ny))  # in cells
            x, y = wanted[:, 0].long().clamp(0, nx - 1), wanted[:, 1].long().clamp(0, ny - 1)
            raw = level.permute(0, 2, 3, 1).float()
            chosen = raw[image, y, x]
            predicted = torch.cat((chosen[:, :2].sigmoid() + torch.stack((x, y), 1), _sides(chosen)), 1)
            iou = iou + (1 - ciou(predicted, wanted)).sum() + 0 * raw[..., :4].sum()
            is_class = torch.zeros_like(raw[..., 4:])
            is_class[image, y, x, class_ids] = 1
            bce = F.binary_cross_entropy_with_logits(raw[..., 4:], is_class, reduction="none")
            focal = focal + ((is_class - raw[..., 4:].sigmoid()).detach() ** 2 * bce).sum()
        share = count[0] / count[1].clamp(min=1)
        return {"iou": context.settings.box * 20 * share * iou, "focal": context.settings.cls * 2 * share * focal}

    def class_channels(self) -> Mapping[str, ClassChannels]:
        return {f"cls.{i}.{name}": ClassChannels() for i in range(len(self.cls)) for name in ("weight", "bias")}


def _sides(raw: Tensor) -> Tensor:
    return raw[..., 2:4].clamp(max=LARGEST).exp()
