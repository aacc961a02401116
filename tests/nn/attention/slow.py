"""Slow, obvious references that tests of several modules share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Sum over what each weight sees, one weight at a time; (B, C, H, W)."""
    k, step = conv.kernel_size[0], conv.dilation[0]
    reach = k // 2 * step
    height, width = x.shape[2:]
    wide = x.new_zeros(*x.shape[:2], height + 2 * reach, width + 2 * reach)
    wide[:, :, reach : reach + height, reach : reach + width] = x
    y = x.new_zeros(x.shape[0], conv.out_channels, height, width)
    for i in range(k):
        for j in range(k):
            seen = wide[:, :, i * step : i * step + height, j * step : j * step + width]
            y += torch.einsum("oc,bchw->bohw", conv.weight[:, :, i, j], seen)
    return y if conv.bias is None else y + conv.bias[:, None, None]


def batch_norm(x: Tensor, layer: nn.Module) -> Tensor:
    """Batch norm by the running statistics, value by value; (B, C, H, W)."""
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    scale = layer.weight / (layer.running_var + 1e-5).sqrt()
    return (x - layer.running_mean[:, None, None]) * scale[:, None, None] + layer.bias[:, None, None]
