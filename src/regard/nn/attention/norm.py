"""Norms of maps that may shrink to a single value, which torch's own layers reject."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.conv import BATCHNORM_EPS, BATCHNORM_MOMENTUM


class MapNorm(nn.BatchNorm2d):
    """Batch norm that accepts a single value per channel in training, where others raise an error.

    One value has no variance: it is normalised by the running statistics, which it leaves unchanged.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def map_norm(channels: int) -> MapNorm:
    """`MapNorm` with the parameters of YOLOv5's training."""
    return MapNorm(channels, eps=BATCHNORM_EPS, momentum=BATCHNORM_MOMENTUM)


class MapGroupNorm(nn.GroupNorm):
    """Group norm that accepts a single value per group, of which nothing remains but the offset."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
